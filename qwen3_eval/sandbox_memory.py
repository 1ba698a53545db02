"""How much memory a worker's processes hold together: a cgroup where one can be had, else a look at /proc.

The kernel's limits per process do not bound the sum: 32 processes under 4 GiB each are 128 GiB. A cgroup (v1
or v2) bounds it exactly, and the kernel ends what goes over. Where none can be written, the resident sizes
are summed up every 50 ms, and what goes over is ended then.

Source: Linux, Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst.
"""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

_SLACK_BYTES = 64 * 1024**2  # the zygote and the supervisor count too
_TOO_LITTLE = 1024**3  # a limit to try with
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Outlives the host, however that ends: the end of its input is the host's end, or its farewell.
_JANITOR = """
read -r _
n=0
while [ $n -lt 300 ]; do
    rmdir "$1" 2>/dev/null
    [ -e "$1" ] || exit 0
    n=$((n + 1))
    sleep 0.1
done
"""


class MemoryGroup:
    """One cgroup for one worker, deleted when the host is gone."""

    def __init__(self, folder: Path, janitor: "subprocess.Popen[bytes]") -> None:
        self._folder, self._janitor = folder, janitor
        self._limit = 0
        v2 = (folder / "memory.max").exists()
        self._limit_file = "memory.max" if v2 else "memory.limit_in_bytes"
        self._swap_file = "memory.swap.max" if v2 else "memory.memsw.limit_in_bytes"
        self._events_file = "memory.events" if v2 else "memory.oom_control"
        self._events = -1

    @classmethod
    def create(cls, name: str) -> "MemoryGroup | None":
        """Returns a group of that name, tried out; None where no cgroup can be written."""
        for parent in _parents():
            folder = parent / name
            try:
                folder.mkdir()
            except OSError:
                continue
            janitor = subprocess.Popen(
                ["/bin/sh", "-c", _JANITOR, "sh", str(folder)],
                stdin=subprocess.PIPE,
                start_new_session=True,
                cwd="/",
                env={"PATH": "/usr/bin:/bin"},
            )
            group = cls(folder, janitor)
            try:
                group.limit(_TOO_LITTLE)
                group.kills()
                return group
            except (OSError, ValueError, KeyError):
                group.close()
        return None

    def limit(self, memory_bytes: int) -> None:
        """Sets what the group may hold, swap included where that is counted. Raises OSError."""
        if memory_bytes == self._limit:
            return
        limit, swap = str(memory_bytes + _SLACK_BYTES), self._folder / self._swap_file
        with suppress(OSError):  # memory with swap can never be less than without, so raising begins here
            swap.write_text("0" if swap.name == "memory.swap.max" else limit)
        (self._folder / self._limit_file).write_text(limit)
        with suppress(OSError):  # and lowering ends here; a kernel may keep no account of swap
            swap.write_text("0" if swap.name == "memory.swap.max" else limit)
        self._limit = memory_bytes

    def add(self, pid: int) -> None:
        """Moves a process in; what it starts from now on is in too. Raises OSError."""
        (self._folder / "cgroup.procs").write_text(str(pid))

    def kills(self) -> int:
        """Returns how many processes the kernel has ended here for want of memory. Raises OSError."""
        if self._events < 0:
            self._events = os.open(self._folder / self._events_file, os.O_RDONLY)
        lines = os.pread(self._events, 4096, 0).decode().splitlines()  # the kernel writes it anew each time
        return int(dict(line.split(maxsplit=1) for line in lines)["oom_kill"])

    def close(self) -> None:
        """Has the group deleted, once its processes are gone."""
        if self._events >= 0:
            os.close(self._events)
            self._events = -1
        assert self._janitor.stdin is not None
        with suppress(OSError):
            self._janitor.stdin.write(b"\n")  # a fork of the host may keep its end open
            self._janitor.stdin.close()
        self._janitor.wait()


def _parents() -> list[Path]:
    """Returns the folders of cgroups in which one of ours could be made: our own, and the one above it."""
    found = []
    with suppress(OSError, ValueError):
        own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            left, right = line.split(" - ", 1)
            root, mount = left.split()[3:5]
            kind, _, options = right.split(maxsplit=2)
            if kind == "cgroup2":
                path = own.get("", "/")
            elif kind == "cgroup" and "memory" in options.split(","):
                path = next((path for names, path in own.items() if "memory" in names.split(",")), "/")
            else:
                continue
            inside = os.path.relpath(path, root) if (path + "/").startswith(root.rstrip("/") + "/") else "."
            group = Path(mount, inside).resolve()
            found.append(group)
            if group != Path(mount):
                found.append(group.parent)
    # With v1 and v2 side by side only one of them has the memory controller.
    names = ("memory.limit_in_bytes", "memory.max", "cgroup.subtree_control")
    return [group for group in found if any((group / name).exists() for name in names)]


def resident_bytes(pid: int) -> int:
    """Returns the memory of a process and all its descendants that is neither shared nor of a file."""
    total, found, at = 0, [pid], 0
    while at < len(found):
        with suppress(OSError, ValueError):
            _, resident, shared = map(int, Path(f"/proc/{found[at]}/statm").read_text().split()[:3])
            total += (resident - shared) * _PAGE_BYTES
        found += children(found[at])
        at += 1
    return total


def descendants(pid: int) -> list[int]:
    """Returns a process and all its descendants, as far as /proc tells."""
    found, at = [pid], 0
    while at < len(found):
        found += children(found[at])
        at += 1
    return found


def children(pid: int) -> list[int]:
    """Returns the PIDs of a process' children; none where it has ended."""
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):
                found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return found


def tasks_of(uid: int) -> int:
    """Returns how many threads a user has on this machine: what RLIMIT_NPROC is held against."""
    total = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == uid:
                    total += len(os.listdir(f"/proc/{name}/task"))
    return total
