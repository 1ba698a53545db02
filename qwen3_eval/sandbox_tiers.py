"""The tiers of the wall, strongest first, and the command that starts a worker in each.

bubblewrap   an own root with nothing of the host's but /usr, and namespaces for each program
unshare      namespaces for each program; the host's files withheld by Landlock instead
landlock     no namespaces: Landlock, and under a root host a user of its own for each worker
unsafe       a process with limits, and no wall at all
"""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from qwen3_eval.errors import SandboxError
from qwen3_eval.sandboxes import policy

TIERS = ("bubblewrap", "unshare", "landlock")
UNSAFE = "unsafe"
ADVICE = {
    "bubblewrap": "install bubblewrap (apt install bubblewrap) and allow user namespaces (sysctl "
    "user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns=0, or in Docker "
    "--security-opt seccomp=unconfined --security-opt apparmor=unconfined)",
    "unshare": "allow user namespaces as for bubblewrap, on a kernel with Landlock (Linux 5.13)",
    "landlock": "a kernel with Landlock (Linux 5.13, lsm=landlock) and seccomp, on x86_64 or aarch64",
}
MODULES = (
    "policy",
    "codec",
    "frames",
    "seccomp",
    "confine",
    *policy.LANGUAGES.values(),
    "child",
    "runner",
)  # each imports those before it only
# The interpreter gets the modules' sources over the control socket, so no file of ours need be readable
# inside. -E is left out for PYTHONHASHSEED: the environment is ours alone.
_PYTHON = ("-s", "-S", "-B", "-X", "utf8", "-c")
_BOOT = """
import sys
sys.path[:] = [path for path in sys.path if path]
import json, socket, types
control = socket.socket(fileno=0)
message = json.loads(control.recv(1 << 20))
for name, source in message["modules"]:
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name + ".py", "exec"), module.__dict__)
sys.modules["runner"].serve(control, message["config"])
"""


@dataclass(frozen=True)
class TierReport:
    """Whether programs can be run in a tier here, as found by running one; if not, why, and what to do."""

    name: str
    works: bool
    reason: str = ""
    advice: str = ""


@dataclass(frozen=True)
class Interpreter:
    """A Python that can run inside: its real path, its `sys.base_prefix`, its version as `3.11`."""

    path: str
    prefix: str
    version: str

    @property
    def in_usr(self) -> bool:
        return Path("/usr") in Path(self.path).parents and Path("/usr") in [
            Path(self.prefix),
            *Path(self.prefix).parents,
        ]


@cache
def find_interpreters() -> tuple[Interpreter, ...]:
    """Returns the Pythons to try, those of the host's version first, then those that lie in /usr."""
    found: dict[str, Interpreter] = {}
    ask = "import json, sys; print(json.dumps([sys.base_prefix, *sys.version_info[:2]]))"
    own = getattr(sys, "_base_executable", sys.executable)
    for path in ("/usr/bin/python3", "/usr/local/bin/python3", own):
        real = os.path.realpath(path)
        try:
            command = [real, "-I", "-S", "-c", ask]
            answer = subprocess.run(command, capture_output=True, timeout=30, check=True).stdout
            prefix, major, minor = json.loads(answer)
        except (OSError, ValueError, subprocess.SubprocessError):
            continue
        if (major, minor) >= (3, 9):  # socket.recv_fds, os.pidfd_open
            found.setdefault(real, Interpreter(real, prefix, f"{major}.{minor}"))
    own_version = "{}.{}".format(*sys.version_info)
    return tuple(sorted(found.values(), key=lambda i: (i.version != own_version, not i.in_usr)))


def read_sources() -> list[tuple[str, str]]:
    """Returns the names and sources of what runs inside, in the order of their imports."""
    folder = files("qwen3_eval.sandboxes")
    return [(name, folder.joinpath(f"{name}.py").read_text(encoding="utf-8")) for name in MODULES]


def choose_uid(index: int) -> int | None:
    """Returns the user that a worker is to run as, under a root host; None under any other."""
    if os.geteuid() != 0:
        return None
    first, last = policy.UIDS
    chosen: int = first + (os.getpid() * 16 + index) % (last - first + 1)
    return chosen


def choose_folder(tier: str, index: int, uid: int | None) -> str | None:
    """Returns where a worker's programs may write, in tiers without a mount of their own; else None."""
    if policy.TIERS[tier]["namespaces"]:
        return None
    parents = [tempfile.gettempdir(), "/tmp", "/var/tmp"]
    if uid is not None:  # another user than ours has to get there
        parents = [parent for parent in parents if _is_open_to_all(Path(parent))]
    if not parents:
        raise SandboxError("there is no folder for temporary files that every user can get to; set TMPDIR")
    return os.path.join(parents[0], f"qwen3_eval-{os.getpid()}-{index}-{os.urandom(4).hex()}")


def _is_open_to_all(folder: Path) -> bool:
    with suppress(OSError):
        return all(path.stat().st_mode & stat.S_IXOTH for path in (folder, *folder.parents))
    return False


def build_command(tier: str, interpreter: Interpreter, uid: int | None) -> list[str]:
    """Returns the command that starts a worker. Raises SandboxError where a program for it is missing."""
    python = [interpreter.path, *_PYTHON, _BOOT]
    if not policy.TIERS[tier]["namespaces"]:
        return python
    dropped = [_find("setpriv"), "--no-new-privs", "--pdeathsig", "KILL"]
    if uid is not None:  # root's own files, and its exemption from the limit on processes, stay outside
        dropped += [f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    if tier == "unshare":
        flags = ["-U", "-r", "-p", "-m", "-n", "-i", "-u", "--fork", "--kill-child"]
        return [*dropped, _find("unshare"), *flags, *python]
    wall = [_find("bwrap"), "--unshare-all", "--die-with-parent", "--new-session"]
    for action, *paths in policy.MOUNTS:
        if action == "--symlink" and not os.path.islink(paths[1]):
            # An older layout, where /lib is a folder of its own; or no such folder at all.
            action, paths = "--ro-bind", [paths[1], paths[1]]
            if not os.path.exists(paths[0]):
                continue
        wall += [action, *paths]
    if not interpreter.in_usr:
        wall += ["--ro-bind", interpreter.prefix, interpreter.prefix]
    for path in find_hidden(interpreter):
        wall += ["--tmpfs", path, "--remount-ro", path]
    wall += ["--remount-ro", "/", "--chdir", "/tmp", "--clearenv"]
    for name, value in policy.ENVIRONMENT.items():
        wall += ["--setenv", name, value]
    return [*dropped, *wall, "--uid", "0", "--gid", "0", "--cap-add", "CAP_SYS_ADMIN", *python]


def find_hidden(interpreter: Interpreter) -> list[str]:
    """Returns the policy's hidden folders that are there, and that the interpreter does not live in."""
    found = []
    for pattern in policy.HIDDEN:
        path = pattern.format(prefix=interpreter.prefix, version=interpreter.version)
        lives_there = Path(path) in Path(interpreter.path).parents
        if os.path.isdir(path) and not os.path.islink(path) and not lives_there:
            found.append(path)
    return [path for path in found if not any(Path(other) in Path(path).parents for other in found)]


def _find(program: str) -> str:
    path = shutil.which(program, path="/usr/bin:/bin:/usr/sbin:/sbin:" + os.environ.get("PATH", ""))
    if path is None:
        raise SandboxError(f"there is no {program} on this machine")
    return path
