"""Running programs that a model wrote, behind a wall: the host's side. What runs inside is in `sandboxes/`.

    with Sandbox() as sandbox, sandbox.load("def f(x): return x + 1", "f") as program:
        program.call(1)  # Outcome("returned", value=2)

What it covers. A program cannot read the host's files (but for the interpreter's own, in /usr), its
environment or its processes; cannot write anywhere but to a folder of its own, which is deleted; cannot open
a socket, trace, signal or outlive anything; and has limits of time, memory, processes, files and output. A
verdict cannot be forged: the check runs in the host, and what a program returns is rebuilt as plain
builtins, so no `__eq__`, frame or exit code of its own has a say. The exception is `Program.run`, which runs
the check inside, where the program can lie to it.

What it does not cover. An error in the kernel, which every program shares with the host (under gVisor or
Firecracker it would not). What can be learned from timing, from /usr, and, but for the tier bubblewrap, from
the names, sizes and dates of files. A check in the host that is slow on a value it gets: give the judge a
time limit of its own. In the tier `landlock` disk is watched, not bounded, so that for a quarter of a second
more may be used; and under a host that is not root the programs run as its own user there, held by Landlock
and seccomp alone. Where no cgroup can be written, memory is watched too. The tier `unsafe` has limits but no
wall.
"""

import os
import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from qwen3_eval.errors import SandboxError
from qwen3_eval.sandbox_program import Batch, Limits, Outcome, Program, Status
from qwen3_eval.sandbox_tiers import ADVICE, TIERS, UNSAFE, TierReport, find_interpreters
from qwen3_eval.sandbox_workers import Watch, Worker
from qwen3_eval.sandboxes import policy

__all__ = ["Batch", "Limits", "Outcome", "Program", "Sandbox", "Status", "TierReport", "probe_tiers"]

# Tries what a wall must prevent, and names what it could do all the same.
_PROBE = """
def probe():
    import os, socket
    done = []
    def attempt(name, function, *arguments):
        try:
            function(*arguments)
        except OSError:
            return
        done.append(name)
    attempt("open a socket", socket.socket)
    for path in ("/etc/passwd", "/proc/self/environ", "/proc/1/environ"):
        attempt("read " + path, open, path)
    for path in ("/root", "/home"):
        attempt("list " + path, os.listdir, path)
    attempt("write to /usr", open, "/usr/qwen3_eval_probe", "w")
    if os.getppid():
        attempt("signal its parent", os.kill, os.getppid(), 0)
    open("mine", "w").close()  # this it may
    return done
"""
_PROBE_INDEX = 15  # beside those of workers, which count from 0


class Sandbox:
    """Workers behind the strongest wall to be had. Thread-safe; each program holds one worker.

    `workers` defaults to one per core, and all run at low priority. `tier` asks for one by name; `unsafe`
    allows no wall at all, where there is none to be had. Raises SandboxError.
    """

    tier: str
    """Which wall it is: "bubblewrap", "unshare", "landlock" or "unsafe"."""

    def __init__(self, *, workers: int | None = None, tier: str | None = None, unsafe: bool = False) -> None:
        if workers is not None and workers < 1:
            raise SandboxError(f"workers={workers}: a sandbox needs at least 1")
        # Walls end with the thread that started them, so one thread starts them all and stays.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="sandbox-starter")
        try:
            first = self._starter.submit(_choose, tier, unsafe).result()
            self.tier = first.tier
            n = workers or len(os.sched_getaffinity(0))
            others = [Worker(first.tier, first.interpreter, index) for index in range(1, n)]
            self._workers = [first, *others]
            self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
            self._watch = Watch(self._workers)
        except BaseException:
            self._starter.shutdown()
            raise
        try:
            for worker in others:
                self._starter.submit(worker.launch).result()
            for worker in others:
                worker.wait_until_ready()
            for worker in self._workers:
                self._idle.put(worker)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends all workers and what runs in them."""
        self._watch.stop()
        for worker in self._workers:
            worker.close()
        self._starter.shutdown()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextmanager
    def load(self, program: str, entry_point: str, limits: Limits | None = None) -> Iterator[Program]:
        """Yields a program whose body has been run, and ends it. Waits for a worker that is idle.

        The program may have failed already: `loaded` says so. Raises SandboxError where the machine fails, or
        has no runner for the language.
        """
        limits = limits or Limits()
        if limits.language not in policy.LANGUAGES:
            known = ", ".join(policy.LANGUAGES)
            raise SandboxError(
                f"language '{limits.language}' has no runner in the sandbox; there are: {known}"
            )
        worker = self._idle.get()
        try:
            try:
                loaded = worker.begin(program, entry_point, limits)
            except SandboxError:
                self._restart(worker)  # something ended the worker; the program is not to suffer for it
                loaded = worker.begin(program, entry_point, limits)
            clean = False
            try:
                yield loaded
            finally:
                clean = worker.end(loaded)
                if not clean:
                    self._restart(worker)
        finally:
            self._idle.put(worker)

    def _restart(self, worker: Worker) -> None:
        worker.close()
        self._starter.submit(worker.start).result()


def probe_tiers() -> list[TierReport]:
    """Returns for each tier, strongest first, whether it works here: a program is run in it, for 0.2 s."""
    reports = []
    with ThreadPoolExecutor(1) as starter:
        for name in TIERS:
            report, worker = starter.submit(_probe, name, _PROBE_INDEX).result()
            reports.append(report)
            if worker is not None:
                worker.close()
    return reports


def _choose(tier: str | None, unsafe: bool) -> Worker:
    """Returns the first worker, started, of the tier to use. Raises SandboxError."""
    if tier is not None and tier not in (*TIERS, UNSAFE):
        raise SandboxError(f"sandbox tier '{tier}' not found; there are {', '.join((*TIERS, UNSAFE))}")
    if tier == UNSAFE and not unsafe:
        raise SandboxError(
            "sandbox tier 'unsafe' has no wall; to run programs so, set sandbox.unsafe=true too"
        )
    failed = []
    for name in TIERS if tier is None else () if tier == UNSAFE else (tier,):
        report, worker = _probe(name, 0)
        if worker is not None:
            return worker
        failed.append(report)
    if unsafe:
        report, worker = _probe(UNSAFE, 0)
        if worker is not None:
            return worker
        failed.append(report)
    reasons = "".join(f"\n  {report.name}: {report.reason}; {report.advice}" for report in failed)
    raise SandboxError(
        f"programs written by a model are run behind a wall only, and none can be had here:{reasons}\n"
        "Mend one of these, or, if nothing on this machine is worth keeping, set sandbox.unsafe=true"
    )


def _probe(tier: str, index: int) -> tuple[TierReport, Worker | None]:
    """Returns whether a tier works, and if so a worker of it. Runs a program in it that tries to get out."""
    reasons = []
    for interpreter in find_interpreters():
        worker = Worker(tier, interpreter, index)
        try:
            worker.start()
            program = worker.begin(_PROBE, "probe", Limits(call_s=20))
            outcome = program.call()
            worker.end(program)
        except (SandboxError, OSError) as error:
            worker.close()
            reasons.append(str(error))
            continue
        if outcome.status != "returned":
            reasons.append(f"a program in it {outcome.status}: {outcome.detail}")
        elif outcome.value and tier != UNSAFE:
            worker.close()
            reasons = [f"a program in it could {', '.join(outcome.value)}"]
            break
        else:
            return TierReport(tier, True), worker
        worker.close()
    reason = reasons[0] if reasons else "no Python 3.9 or later was found to run inside"
    return TierReport(tier, False, reason, ADVICE.get(tier, "")), None
