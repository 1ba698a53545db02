"""The child: puts the wall around itself, then hands over to the runner of its program's language.

A runner is a module with one function, `answer(channel, frame_bytes)`, as run_python.py has. It reads
requests from the channel and writes answers, until the host closes it. It is called behind the wall, with the
channel and /dev/null as its only open files, so it may as well compile the program in the folder that it
stands in, and become what came of that. policy.LANGUAGES names the runners.
"""

import json
import os
import socket
import sys

import confine
import policy
import seccomp

CHANNEL = 3  # the file descriptor of the channel; 0, 1 and 2 are /dev/null


def live(limits, channel, report, config, wall):
    """Puts the wall around this process, then answers the host's requests. Does not return."""
    try:
        enclose(limits, channel, config, wall)
    except OSError as error:
        report.send(json.dumps({"error": str(error)}).encode())
        os._exit(1)
    try:
        runner = sys.modules[policy.LANGUAGES[limits["language"]]]
        runner.answer(socket.socket(fileno=CHANNEL), limits["frame_bytes"])
    finally:
        os._exit(0)


def enclose(limits, channel, config, wall):
    """Puts the whole wall in force. Raises OSError where any part of it cannot be had."""
    folder = config["folder"] or "/tmp"
    os.setsid()  # else kill(0, ...) would reach the process group outside
    if wall["namespaces"]:
        confine.enter_namespaces()
        confine.mount_private_folder(folder, limits["disk_bytes"], limits["files"])
    os.chdir(folder)
    os.umask(0o077)
    if config["uid"] is not None:
        confine.become(config["uid"])
    confine.die_with_parent()  # becoming another user would have undone it
    confine.drop_privileges()
    if wall["landlock"] is not None:
        confine.enforce_landlock(wall["landlock"], folder)
    confine.set_limits(limits, limits["processes"] + limits["processes_outside"])
    if wall["seccomp"] is not None and wall["signals_leak"]:
        seccomp.install(seccomp.assemble(shared_user=True, own_pid=os.getpid()))
    elif wall["seccomp"] is not None:
        seccomp.install(wall["seccomp"])
    for number in (0, 1, 2):
        os.dup2(wall["null"], number)
    os.dup2(channel, CHANNEL, inheritable=False)
    os.closerange(CHANNEL + 1, 1024)
