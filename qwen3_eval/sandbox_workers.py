"""A worker: one zygote behind one wall, and one program at a time in a fork of it."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress

from qwen3_eval.errors import SandboxError
from qwen3_eval.sandbox_memory import MemoryGroup, descendants, resident_bytes, tasks_of
from qwen3_eval.sandbox_program import Limits, Program
from qwen3_eval.sandbox_tiers import Interpreter, build_command, choose_folder, choose_uid, read_sources
from qwen3_eval.sandboxes import policy

_START_S = 30.0
_COUNTED_BY_NAMESPACE = tuple(int(n) for n in re.findall(r"\d+", os.uname().release)[:2]) >= (5, 14)
"""Whether each user namespace counts a user's processes apart: since Linux 5.14 (UCOUNT_RLIMIT_NPROC)."""
_WATCH_S = 0.05
_WATCH_DISK_EVERY = 5


class Worker:
    """Starts programs, one at a time. Not thread-safe; start it in a thread that outlives it.

    The kernel ends the wall when the thread that started it is gone (PR_SET_PDEATHSIG counts threads).
    """

    def __init__(self, tier: str, interpreter: Interpreter, index: int) -> None:
        self.tier, self.interpreter, self._index = tier, interpreter, index
        self._process: subprocess.Popen[bytes] | None = None
        self._memory: MemoryGroup | None = None
        self._kills = 0
        self.current: tuple[Program, Limits] | None = None

    def start(self) -> None:
        """Starts the wall and the zygote in it. Raises SandboxError with what they say, where they cannot."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Begins to start, so that several workers can do so together; `wait_until_ready` is to follow."""
        self._uid = choose_uid(self._index)
        self._folder = choose_folder(self.tier, self._index, self._uid)
        command = build_command(self.tier, self.interpreter, self._uid)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=dict(policy.ENVIRONMENT),
                cwd="/",
                start_new_session=True,
            )
        namespaces = policy.TIERS[self.tier]["namespaces"]
        config = {
            "tier": self.tier,
            "folder": self._folder,
            "uid": None if namespaces else self._uid,
            "die_with_parent": namespaces,
        }
        self._control.settimeout(_START_S)
        with suppress(OSError):  # what it says then is read below
            self._control.send(json.dumps({"modules": read_sources(), "config": config}).encode())

    def wait_until_ready(self) -> None:
        """Waits for what `launch` began. Raises SandboxError."""
        try:
            ready = self._control.recv(64)
        except OSError as error:
            ready = str(error).encode()
        if ready != b"ready":
            reason = self._read_complaint() or ready.decode() or "it ended at once"
            self.close()
            raise SandboxError(f"a worker of the tier {self.tier} did not start: {reason}")
        self._join_memory_group()

    def begin(self, source: str, entry_point: str, limits: Limits) -> Program:
        """Starts a program in a new fork. Raises SandboxError where the worker is gone, or has no wall."""
        asked = vars(limits) | {"processes_outside": self._count_outside()}
        if self._memory is not None:
            try:
                self._memory.limit(limits.memory_bytes)
                self._kills = self._memory.kills()
            except OSError as error:  # what a program before it left may not be freed yet
                raise SandboxError(f"a worker's memory cannot be limited: {error}") from error
        channel, their_channel = socket.socketpair()
        status, their_status = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with their_channel, their_status:
            descriptors = [their_channel.fileno(), their_status.fileno()]
            try:
                socket.send_fds(self._control, [json.dumps(asked).encode()], descriptors)
            except OSError as error:
                channel.close()
                status.close()
                raise SandboxError(f"a worker of the tier {self.tier} is gone: {error}") from error
        program = Program(channel, status, limits)
        self.current = (program, limits)
        try:
            program.start(source, entry_point)
        except BaseException:
            self.end(program)
            raise
        return program

    def end(self, program: Program) -> bool:
        """Ends a program and waits until nothing of it runs. Returns False where that is not certain."""
        self.current = None
        return program.close()

    def close(self) -> None:
        """Ends the wall and all that is in it; the worker can be started again."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()
        try:
            process.wait(10 if self._folder else 1)  # it may have files to delete
        except subprocess.TimeoutExpired:
            for pid in descendants(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
        if process.stderr is not None:
            process.stderr.close()
        if self._folder is not None and os.path.exists(self._folder):  # the zygote was killed before it could
            for delete in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
                subprocess.run([*delete, self._folder], stderr=subprocess.DEVNULL, check=False)
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def watch(self, *, disk: bool) -> None:
        """Stops the program where it holds too much memory, or, asked to look, too much disk."""
        current, process = self.current, self._process
        if current is None or process is None:
            return
        program, limits = current
        memory = self._memory
        with suppress(OSError):
            if memory is None:
                over = resident_bytes(process.pid) > limits.memory_bytes
            else:
                over = memory.kills() > self._kills
            if over:
                program.exceeded = ("out_of_memory", f"more than {limits.memory_bytes} bytes in all")
                program.stop()
        if disk and self._folder is not None and _is_over(self._folder, limits):
            most = f"{limits.disk_bytes} bytes or {limits.files} files"
            program.exceeded = ("forbidden", f"more than {most} in its folder")
            program.stop()

    def _join_memory_group(self) -> None:
        assert self._process is not None
        self._memory = MemoryGroup.create(f"qwen3_eval-{os.getpid()}-{self._index}-{os.urandom(4).hex()}")
        if self._memory is not None:
            for pid in descendants(self._process.pid):
                with suppress(OSError):
                    self._memory.add(pid)

    def _count_outside(self) -> int:
        """Returns how many processes count against a program's limit that are not its own."""
        namespaces = policy.TIERS[self.tier]["namespaces"]
        if self._uid is None and not (namespaces and _COUNTED_BY_NAMESPACE):
            return tasks_of(os.geteuid()) + 4  # the wall, the zygote, the supervisor: not all are there yet
        return 4 if namespaces else 1

    def _read_complaint(self) -> str:
        """Returns the last line that a process which did not start has written."""
        assert self._process is not None
        assert self._process.stderr is not None
        with suppress(subprocess.TimeoutExpired):
            _, complaint = self._process.communicate(timeout=2)
            lines = complaint.decode(errors="replace").strip().splitlines()
            return lines[-1] if lines else ""
        return ""


def _is_over(folder: str, limits: Limits) -> bool:
    """Returns whether a folder holds more than a program may, or what cannot be looked at."""
    files = size = 0
    waiting = [folder]
    try:
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    files += 1
                    found = entry.stat(follow_symlinks=False)
                    size += found.st_blocks * 512
                    if files > limits.files or size > limits.disk_bytes:
                        return True
                    if stat.S_ISDIR(found.st_mode):
                        waiting.append(entry.path)
    except FileNotFoundError:
        return False  # it is being deleted meanwhile
    except OSError:
        return True  # a path too long, or closed to us: hidden, at any rate
    return False


class Watch:
    """A thread that looks after the workers every 50 ms, until it is stopped."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = workers
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sandbox-watch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        turn = 0
        while not self._stopped.wait(_WATCH_S):
            turn += 1
            for worker in self._workers:
                worker.watch(disk=turn % _WATCH_DISK_EVERY == 0)

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
