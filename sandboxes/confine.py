"""Puts the policy into force on one process: namespaces, Landlock, limits, privileges, calls.

Every function raises OSError where the kernel refuses: a wall with a hole is not used.

Source: the man pages unshare(2), mount(2), capabilities(7), landlock(7), prctl(2), setrlimit(2), and
linux/landlock.h for the bits.
"""

import ctypes
import errno
import glob
import os
import resource
import signal
import struct
import sys

import policy

_libc = ctypes.CDLL(None, use_errno=True)

_NEW_MOUNTS, _NEW_IPC, _NEW_PIDS = 0x00020000, 0x08000000, 0x20000000
_NOSUID_NODEV, _RECURSIVE, _PRIVATE = 2 | 4, 0x4000, 0x40000

# Rights on files that Landlock can withhold, by the version of its interface that brought them.
_FILE_RIGHTS = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 5: 0xFFFF}
_READ_AND_RUN = 0x1 | 0x4 | 0x8  # EXECUTE, READ_FILE, READ_DIR
_READ_AND_WRITE_FILE = 0x2 | 0x4
_READ_DIR = 0x8
_OF_FOLDERS = 0x3FF8  # READ_DIR, REMOVE_*, MAKE_*, REFER: have no meaning on a file
_SET_MOUNT = 442
_CREATE, _ADD, _RESTRICT = 444, 445, 446  # these numbers are the same on every machine


def _check(result, what):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def die_with_parent():
    """Has the kernel kill this process when the thread that started it is gone."""
    _check(_libc.prctl(1, signal.SIGKILL, 0, 0, 0), "PR_SET_PDEATHSIG")


def adopt_orphans():
    """Makes this process the parent of whatever its descendants leave behind."""
    _check(_libc.prctl(36, 1, 0, 0, 0), "PR_SET_CHILD_SUBREAPER")


def give_next_child_a_pid_namespace(own):
    """Has the next child begin a PID namespace; `own` is a pidfd of this process, whose own stays as it is.

    A process may unshare one only after it has asked for that of a living process again. Needs Linux 5.8.
    """
    _check(_libc.setns(own, _NEW_PIDS), "setns to its own PID namespace")
    _check(_libc.unshare(_NEW_PIDS), "unshare a PID namespace")


def enter_namespaces():
    """Gives this process its own mounts and IPC."""
    _check(_libc.unshare(_NEW_MOUNTS | _NEW_IPC), "unshare mounts and IPC")


def make_all_private():
    """Has no mount that is made from here on be seen in another namespace."""
    _check(_libc.mount(None, b"/", None, _RECURSIVE | _PRIVATE, None), "mount --make-rprivate /")


def make_all_read_only():
    """Makes every mount of this process' namespace read-only, for all that it starts. Needs Linux 5.12."""
    attributes = struct.pack("4Q", 0x1, 0, 0, 0)  # MOUNT_ATTR_RDONLY is to be set
    result = _libc.syscall(_SET_MOUNT, -100, b"/", 0x8000, attributes, len(attributes))  # AT_RECURSIVE
    _check(result, "mount_setattr")


def mount_private_folder(path, size_bytes, files):
    """Covers a folder with an empty file system in memory, of that size and that many files."""
    options = f"size={size_bytes},nr_inodes={files},mode=1777".encode()
    _check(_libc.mount(b"tmpfs", path.encode(), b"tmpfs", _NOSUID_NODEV, options), f"tmpfs on {path}")


def drop_privileges():
    """Gives up every capability, and for good the gaining of any."""
    _check(_libc.prctl(38, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
    header = struct.pack("Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    _check(_libc.capset(header, bytes(24)), "capset")


def set_limits(limits, processes):
    """Sets the limits that the kernel keeps per process, and that on how many there are of its user."""
    cpu_s = int(limits["total_s"]) + 2
    for name, value in (
        ("AS", limits["memory_bytes"]),
        ("CPU", cpu_s),
        ("NPROC", processes),
        ("FSIZE", limits["file_bytes"]),
        ("NOFILE", policy.OPEN_FILES),
        ("CORE", 0),
        ("MEMLOCK", 0),
        ("MSGQUEUE", 0),
    ):
        which = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # One second between SIGXCPU, which says what happened, and SIGKILL, which cannot be ignored.
        resource.setrlimit(which, (value - 1 if name == "CPU" else value, value))
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    stack = policy.STACK_BYTES if hard == resource.RLIM_INFINITY else min(policy.STACK_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_STACK, (stack, stack))


def landlock_version():
    """Returns the version of the kernel's Landlock, 0 where it has none."""
    return max(0, _libc.syscall(_CREATE, None, 0, 1))


def prepare_landlock():
    """Returns what `enforce_landlock` needs of the policy's readable paths, opened once for all children."""
    version = landlock_version()
    if version == 0:
        raise OSError(
            errno.ENOSYS, "the kernel has no Landlock (it came with Linux 5.13, and can be switched off)"
        )
    rights = _FILE_RIGHTS[max(v for v in _FILE_RIGHTS if v <= version)]
    network = 0x3 if version >= 4 else 0  # BIND_TCP, CONNECT_TCP: no rule allows any
    scope = 0x3 if version >= 6 else 0  # abstract sockets and signals stay inside
    fields = (rights, network, scope)[: 1 if version < 4 else 2 if version < 6 else 3]
    rules = [_rule(path, rights & _READ_AND_RUN) for path in _readable()]
    # Importing lists the folder that it looks in.
    rules += [_rule(path, rights & _READ_DIR) for path in sys.path]
    rules += [_rule(path, rights & _READ_AND_WRITE_FILE) for path in policy.LANDLOCK_DEVICES]
    return {
        "attributes": struct.pack(f"{len(fields)}Q", *fields),
        "rights": rights,
        "rules": [rule for rule in rules if rule is not None],
    }


def enforce_landlock(prepared, temporary):
    """Puts the rules over this process and all it starts, for good; `temporary` is where it may write.

    Needs no_new_privs. A rule holds for what is mounted now, so a folder is covered before, not after.
    """
    attributes = prepared["attributes"]
    rules = _check(_libc.syscall(_CREATE, attributes, len(attributes), 0), "landlock_create_ruleset")
    writable = [_rule(path.format(temporary=temporary), prepared["rights"]) for path in policy.LANDLOCK_WRITE]
    if None in writable:
        raise OSError(errno.EACCES, f"a program's user cannot get to {temporary}")
    for rule in (*prepared["rules"], *writable):
        _check(_libc.syscall(_ADD, rules, 1, rule, 0), "landlock_add_rule")
    _check(_libc.syscall(_RESTRICT, rules, 0), "landlock_restrict_self")


def _readable():
    """Returns the policy's readable paths; the libraries one by one, so that packages are left out."""
    found = []
    for path in policy.LANDLOCK_READ:
        if path == "{libraries}":
            version = "python{}.{}".format(*sys.version_info)
            for folder in dict.fromkeys(("/usr/lib", "/lib", f"{sys.base_prefix}/lib")):
                found += [p for p in glob.glob(f"{folder}/*") if not os.path.basename(p).startswith("python")]
            for folder in dict.fromkeys((f"/usr/lib/{version}", f"{sys.base_prefix}/lib/{version}")):
                found += [p for p in glob.glob(f"{folder}/*") if not p.endswith("-packages")]
        else:
            found.append(path)
    binary = os.path.realpath(sys.executable)
    return [*found, binary]


def _rule(path, rights):
    """Returns a struct landlock_path_beneath_attr with the path opened; None where there is no such path."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    if not os.path.isdir(path):
        rights &= ~_OF_FOLDERS
    return struct.pack("=Qi", rights, place)


def become(uid):
    """Becomes another user, with no group but one of the same number."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
