"""What runs inside the wall: one parent per worker that imports once, and a fork of it for each program.

    host ─ control ─ zygote ─┬─ supervisor ─ child: runs one program, then dies
      ╰──── channel ─────────│───────────────╯   requests in, values out (codec.py)
      ╰──── status ──────────╯                   how the child ended; closing it ends the child

The zygote and the supervisor run no code but ours. Where a program has a PID namespace, which ends all that
it started, the zygote is its supervisor; elsewhere a fork of it is, which adopts what the program leaves
behind. The child puts the wall around itself before it reads the program, and whatever it sends afterwards
may be a lie: the host believes no more than that a value came. Standard library only. The files of this
folder are sent over the control socket and need not lie anywhere that the wall lets in.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
from contextlib import suppress

import child
import confine
import policy
import seccomp

# Imported once, before the forks: what programs of this kind use.
PRELOADED = (
    "abc", "array", "ast", "base64", "binascii", "bisect", "calendar", "cmath", "collections",
    "collections.abc", "contextlib", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions",
    "functools", "hashlib", "heapq", "inspect", "io", "itertools", "json", "math", "numbers", "operator",
    "pprint", "queue", "random", "re", "statistics", "string", "struct", "tempfile", "textwrap", "threading",
    "time", "traceback", "types", "typing", "unicodedata", "uuid", "zlib",
)  # fmt: skip


def serve(control, config):
    """Has a program run for each message of the host, until the host is gone.

    `config` holds `tier`, `folder` (where programs may write, in tiers without namespaces, else None),
    `uid` (whom a child becomes in those tiers, None for nobody else) and `die_with_parent`.
    """
    if config["die_with_parent"]:
        confine.die_with_parent()
    os.nice(policy.NICENESS)
    wall = prepare(config)
    if not wall["namespaces"]:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    folder = config["folder"] or "/tmp"
    os.environ.update(HOME=folder, TMPDIR=folder)
    preload()
    gc.collect()
    gc.freeze()  # else every child would copy the pages that its first collection writes to
    control.send(b"ready")
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 2)
        if not message:
            break
        channel, status = descriptors
        if wall["namespaces"]:
            with socket.socket(fileno=status) as report:
                supervise(json.loads(message), channel, report, config, wall, host=control)
            continue
        if os.fork() == 0:
            try:
                control.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                confine.adopt_orphans()  # and outlive the zygote, to end them
                with socket.socket(fileno=status) as report:
                    supervise(json.loads(message), channel, report, config, wall)
            finally:
                os._exit(0)
        os.close(channel)
        os.close(status)
    if config["folder"] is not None:
        with suppress(ChildProcessError):
            os.wait()  # returns, by an error, when every supervisor has ended its program
        empty(config["folder"], itself=True)


def preload():
    """Imports what programs use. A page that a child need not write to is a page that it need not copy."""
    register, os.register_at_fork = os.register_at_fork, lambda **when: None
    try:
        importlib.import_module("random").seed(0)  # it would be seeded anew, and differently, in every child
    finally:
        os.register_at_fork = register
    for name in PRELOADED:
        importlib.import_module(name)


def prepare(config):
    """Returns what all children of a worker share: rules, filter and /dev/null, opened or made once."""
    tier = policy.TIERS[config["tier"]]
    folder = config["folder"]
    if folder is not None:
        os.mkdir(folder, 0o700)
        if config["uid"] is not None:
            os.chown(folder, config["uid"], config["uid"])
    if tier["namespaces"]:
        confine.make_all_private()  # so that what a child mounts stays its own
    if tier["namespaces"] and tier["landlock"]:
        confine.make_all_read_only()  # Landlock does not look at chmod and its like
    shared_user = not tier["namespaces"] and config["uid"] is None
    return {
        "namespaces": tier["namespaces"],
        "self": os.pidfd_open(os.getpid()),
        "landlock": confine.prepare_landlock() if tier["landlock"] else None,
        "seccomp": seccomp.assemble(shared_user=shared_user) if tier["seccomp"] else None,
        "signals_leak": shared_user and confine.landlock_version() < 6,
        "null": os.open(os.devnull, os.O_RDWR),
    }


def supervise(limits, channel, report, config, wall, host=None):
    """Runs one child, ends it when it ends or the host says so or is gone, and reports how."""
    try:
        if wall["namespaces"]:
            confine.give_next_child_a_pid_namespace(wall["self"])
        program = os.fork()
    except OSError as error:
        os.close(channel)
        report.send(json.dumps({"error": str(error)}).encode())
        return
    if program == 0:
        child.live(limits, channel, report, config, wall)
    os.close(channel)
    alive = os.pidfd_open(program)
    poller = select.poll()
    poller.register(alive, select.POLLIN)
    poller.register(report, select.POLLIN)
    if host is not None:
        poller.register(host, 0)  # its end alone
    poller.poll()
    os.close(alive)
    with suppress(ProcessLookupError):
        os.kill(program, signal.SIGKILL)  # a namespace's first process takes the rest with it
    _, ended, usage = os.wait4(program, 0)
    if not wall["namespaces"]:
        sweep(config["uid"])
        empty(config["folder"])
    how = {"exit": os.waitstatus_to_exitcode(ended), "cpu_s": usage.ru_utime + usage.ru_stime}
    with suppress(OSError):  # the host is gone
        report.send(json.dumps(how).encode())


def sweep(uid):
    """Ends whatever a program has left running, and returns when nothing of it does."""
    if uid is not None:
        kill_all_of(uid)
    while True:
        left = [] if uid is not None else descendants(os.getpid())
        for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped ones start no others meanwhile
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        try:
            os.waitpid(-1, 0)  # the orphans are this process' children now
        except ChildProcessError:
            return


def kill_all_of(uid):
    """Kills every process of a user, as that user. The kernel does it in one step that no fork escapes."""
    killer = os.fork()
    if killer == 0:
        try:
            confine.become(uid)
            os.kill(-1, signal.SIGKILL)  # all that this user may signal but the caller itself
        finally:
            os._exit(0)
    os.waitpid(killer, 0)


def descendants(pid):
    """Returns the PIDs of all that came of a process, nearest first."""
    found, at = [pid], 0
    while at < len(found):
        try:
            for thread in os.listdir(f"/proc/{found[at]}/task"):
                with open(f"/proc/{found[at]}/task/{thread}/children") as file:
                    found += map(int, file.read().split())
        except OSError:
            pass  # it ended meanwhile
        at += 1
    return found[1:]


def empty(folder, itself=False):
    """Deletes what a folder holds, or the folder. The tools cope with depths that Python's do not."""
    if itself or os.listdir(folder):
        delete = ["rm", "-rf", folder] if itself else ["find", folder, "-mindepth", "1", "-delete"]
        for command in (["chmod", "-R", "u+rwX", folder], delete):
            quiet = subprocess.DEVNULL
            subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, check=False)
