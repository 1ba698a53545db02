"""Comparison by math-verify (sympy) in a worker process that no expression can outlast.

math-verify's own time limit is a Python signal handler: it works in the main thread only, and a bigint loop
such as 9^9^9^9 never returns to the interpreter to run it. Here the kernel ends the worker when one
comparison has used its CPU seconds (so a busy machine changes no verdict) or its memory, and the next
comparison starts a fresh one. This file is also the worker's program.
"""

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

CPU_SECONDS = 3.0  # the slowest of MATH-500 takes 0.4
MEMORY_BYTES = 2 << 30
_WALL_SECONDS = 120.0  # for a worker that sleeps, or a machine so busy that importing sympy takes long
_EXIT_MEMORY = 77


@dataclass(frozen=True)
class Comparison:
    """Whether two expressions are equal; `failure` says why that could not be found out, "" where it was."""

    equal: bool
    failure: str = ""


class SymbolicWorker:
    """One long-lived process that compares; safe to share between threads, which take turns."""

    def __init__(self, cpu_seconds: float = CPU_SECONDS, memory_bytes: int = MEMORY_BYTES) -> None:
        self._limits = (cpu_seconds, memory_bytes)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def compare(self, answer: str, target: str) -> Comparison:
        """Compares two LaTeX or plain expressions as math-verify does; equality is not symmetric there.

        Raises RuntimeError where no worker can be started: that is the machine's doing, not the answer's.
        """
        with self._lock:
            process = self._process or self._start()
            try:
                assert process.stdin is not None
                process.stdin.write(json.dumps([answer, target]).encode() + b"\n")
                process.stdin.flush()
                reply = json.loads(_read_line(process, _WALL_SECONDS))
            except (BrokenPipeError, EOFError, TimeoutError) as error:
                return Comparison(False, self._explain_end(error))
        return Comparison(bool(reply["equal"]), reply["failure"])

    def close(self) -> None:
        """Ends the process. The next comparison starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        cpu_seconds, memory_bytes = self._limits
        # -P: the script's own folder must not be searched for modules, or its math.py would hide Python's.
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(cpu_seconds), str(memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C at the terminal is the run's to handle
            env={**os.environ, "PYTHONHASHSEED": "0"},  # sympy's order of terms follows the hashes
        )
        self._process = process
        try:
            ready = json.loads(_read_line(process, _WALL_SECONDS))["failure"]
        except (EOFError, TimeoutError) as error:
            ready = self._explain_end(error)
        if ready:
            self.close()
            raise RuntimeError(f"the comparison process cannot start: {ready}")
        return process

    def _explain_end(self, error: Exception) -> str:
        """Buries a process that gave no answer, and says what happened to it."""
        process = self._process
        assert process is not None
        if isinstance(error, TimeoutError):
            process.kill()
        code = process.wait()
        self.close()
        if isinstance(error, TimeoutError) or code == -signal.SIGPROF:
            return f"took longer than {self._limits[0]:g} s to compare"
        if code == _EXIT_MEMORY:
            return f"needed more than {self._limits[1] / (1 << 30):g} GiB or too deep a recursion to compare"
        return f"ended the comparison process (exit code {code})"


@cache
def shared_worker() -> SymbolicWorker:
    """Returns the worker that every scorer of this process uses; it starts at its first comparison."""
    worker = SymbolicWorker()
    atexit.register(worker.close)
    return worker


def _read_line(process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    """Returns one line of output. Raises EOFError where the worker ended, TimeoutError where it hangs."""
    assert process.stdout is not None
    deadline = time.monotonic() + timeout_s
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        chunk = os.read(process.stdout.fileno(), 65_536)
        if not chunk:
            raise EOFError
        line += chunk
    return line


def _serve(cpu_seconds: float, memory_bytes: int) -> None:
    """The worker: a JSON line [answer, target] in, a JSON line {equal, failure} out, until input ends."""
    import logging
    import resource

    logging.disable(logging.CRITICAL)
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nothing that a library prints may reach the replies
    try:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # Imported now to pay for it once, before the first clock runs.
        import math_verify  # noqa: F401

        failure = ""
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
    print(json.dumps({"failure": failure}), file=replies, flush=True)
    for line in sys.stdin:
        answer, target = json.loads(line)
        # No handler is installed: SIGPROF's default is that the kernel ends the process, C loop or not.
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        try:
            reply = {"equal": _verify(answer, target), "failure": ""}
        except (MemoryError, RecursionError):
            os._exit(_EXIT_MEMORY)  # what is left of this heap or stack is not to be trusted
        except Exception as error:
            reply = {"equal": False, "failure": f"cannot be compared ({type(error).__name__})"}
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(reply), file=replies, flush=True)


def _verify(answer: str, target: str) -> bool:
    from math_verify import verify

    read_target, read_answer = _parse(target), _parse(answer)
    if not read_target:
        raise ValueError("the target is no expression")
    return bool(verify(read_target, read_answer, timeout_seconds=None, raise_on_error=False))


@lru_cache(maxsize=4096)
def _parse(expression: str) -> list[Any]:
    """Returns math-verify's readings of one expression, put in a box so that it takes all of it."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    configs = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    boxed = f"\\boxed{{{expression}}}"
    return list(parse(boxed, extraction_config=configs, parsing_timeout=None))


if __name__ == "__main__":
    _serve(float(sys.argv[1]), int(sys.argv[2]))
