"""What a problem's reference solution gives for its inputs, and how long it takes: run once, then kept.

It runs in the same sandbox as the answers do, so that its times are this machine's. What it gave is kept in
this process, and in ~/.cache/qwen3_eval/expected (or $XDG_CACHE_HOME), in files named by the content that
decides it: as frames of bytes, in the very form in which inputs go into the sandbox and answers come out.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from qwen3_eval.errors import QwenEvalError
from qwen3_eval.sandbox import Batch, Limits, Outcome, Program, Sandbox
from qwen3_eval.sandboxes.codec import decode, encode
from qwen3_eval.sandboxes.frames import Frames, frame
from qwen3_eval.scoring.code_run import describe, run_check
from qwen3_eval.scoring.evalplus_rules import (
    UNSEEN,
    expected_from,
    is_right,
    only_asks_for_a_value,
    read_inputs,
    tolerances,
)

Problem = Mapping[str, Any]

NO_OUTPUT = object()
"""Stands for the output of a call that gave none."""

_TOO_LARGE = ...  # stands for an expected output that does not fit through the wall: Mbpp/255 has one of 1 GB
_CACHE_VERSION = 2
_CALL_S, _TOTAL_S = 60.0, 600.0
_BATCH_ENDS = (8, 72, 584)
_LARGEST_FRAME = 2**31


@dataclass(frozen=True)
class Reference:
    """What is expected of each input that is asked, and the seconds that the reference took for it.

    `numbers` are those inputs' places in the row, `left_out` counts the others, whose output is too large to
    compare. `batches` are the inputs as the sandbox takes them, few first: a wrong answer mostly fails early.
    """

    times_s: list[float]
    numbers: Sequence[int] = ()
    left_out: int = 0
    batches: Sequence[Batch] = ()
    encoded: Sequence[bytes] = ()

    @cached_property
    def outputs(self) -> list[Any]:
        """The expected outputs. Most answers are known by their bytes, so that these are seldom needed."""
        return [decode(output) for output in self.encoded]


_known: dict[str, Reference] = {}
_locks: dict[str, threading.Lock] = {}


def find_reference(sandbox: Sandbox, problem: Problem, kind: str) -> Reference:
    """Returns the reference for the `base` or `plus` inputs, or for HumanEval's `check`: its time alone.

    Raises QwenEvalError where the reference solution does not run.
    """
    key = _key(problem, kind)
    with _locks.setdefault(key, threading.Lock()):
        if key not in _known:
            known = _read(_folder() / key)
            if known is None:
                frames = _time_check(sandbox, problem) if kind == "check" else _run(sandbox, problem, kind)
                _write(_folder() / key, frames)
                known = _assemble(frames)
            _known[key] = known
        return _known[key]


def time_reference(sandbox: Sandbox, problem: Problem, kind: str) -> list[float]:
    """Returns the seconds that the reference takes right now, beside whatever else the machine does.

    `kind` is as in `find_reference`; so are the errors.
    """
    if kind == "check":
        return _assemble(_time_check(sandbox, problem)).times_s
    batches = find_reference(sandbox, problem, kind).batches
    with _load(sandbox, problem) as program:
        return [outcome.elapsed_s for batch in batches for outcome in program.call_batch(batch)]


def recall_seconds(problem: Problem, kind: str) -> float:
    """Returns how long the reference takes in all, as far as it is known from an earlier run; else 0."""
    try:
        with (_folder() / _key(problem, kind)).open("rb") as file:
            (header,) = Frames(_LARGEST_FRAME).feed(file.read(4 + int.from_bytes(file.peek(4)[:4], "big")))
        return float(sum(json.loads(header)["times_s"]))
    except (OSError, ValueError, KeyError, TypeError):  # absent, or damaged
        return 0.0


def read_output(outcome: Outcome, problem: Problem) -> Any:
    """Returns what a call returned, UNSEEN where only that it did matters, NO_OUTPUT where it did not."""
    if outcome.status == "returned":
        return outcome.value
    if outcome.status == "unrepresentable" and only_asks_for_a_value(
        problem["task_id"], problem["entry_point"]
    ):
        return UNSEEN
    return NO_OUTPUT


def _key(problem: Problem, kind: str) -> str:
    content = [problem[name] for name in ("task_id", "entry_point", "prompt", "canonical_solution")]
    asked = [problem["test"]] if kind == "check" else [problem["atol"], problem[f"{kind}_input"]]
    return hashlib.sha256(json.dumps([_CACHE_VERSION, kind, *content, *asked]).encode()).hexdigest()


@contextmanager
def _load(sandbox: Sandbox, problem: Problem) -> Iterator[Program]:
    with sandbox.load(_solve(problem), problem["entry_point"], Limits(_CALL_S, _TOTAL_S)) as program:
        if program.loaded.status != "returned":
            raise _explain(problem, describe(program.loaded))
        yield program


def _run(sandbox: Sandbox, problem: Problem, kind: str) -> list[bytes]:
    """Runs the reference on all inputs. Returns frames: a header, the requests, then the outputs."""
    inputs = read_inputs(problem["task_id"], problem[f"{kind}_input"])
    outputs: list[Any] = []
    times_s: list[float] = []
    with _load(sandbox, problem) as program:
        for outcome in program.call_batch(inputs):
            output = read_output(outcome, problem)
            if output is NO_OUTPUT and outcome.status != "unrepresentable":
                raise _explain(problem, f"input {len(outputs)} {describe(outcome)}")
            expected = expected_from(problem["task_id"], problem["entry_point"], output)
            outputs.append(_TOO_LARGE if output is NO_OUTPUT else expected)
            times_s.append(outcome.elapsed_s)
    if all(output is _TOO_LARGE for output in outputs):
        raise _explain(problem, "no output of it can be compared")
    numbers = [i for i, output in enumerate(outputs) if output is not _TOO_LARGE]
    asked, expected = [inputs[i] for i in numbers], [outputs[i] for i in numbers]
    batches = _cut(asked)
    header = {
        "numbers": numbers,
        "times_s": [times_s[i] for i in numbers],
        "left_out": len(outputs) - len(numbers),
        "foreseen": _foresee(problem, asked, expected),
        "batches": [[n for n, _ in batch.requests] for batch in batches],
    }
    requests = [request for batch in batches for _, request in batch.requests]
    return [json.dumps(header).encode(), *requests, *map(encode, expected)]


def _time_check(sandbox: Sandbox, problem: Problem) -> list[bytes]:
    fault, elapsed_s = run_check(sandbox, problem, _solve(problem), _CALL_S)
    if fault is not None:
        raise _explain(problem, fault.reason)
    return [json.dumps({"times_s": [elapsed_s]}).encode()]


def _foresee(problem: Problem, inputs: Sequence[Sequence[Any]], expected: Sequence[Any]) -> list[bool]:
    """Returns which outputs are right if a program gives exactly them: all but some, as NaN."""
    task_id, entry_point = problem["task_id"], problem["entry_point"]
    atols = tolerances(expected, problem["atol"])
    cases = zip(inputs, expected, atols, strict=True)
    return [is_right(task_id, entry_point, given, output, output, atol) for given, output, atol in cases]


def _cut(inputs: Sequence[Sequence[Any]]) -> list[Batch]:
    bounds = [0, *(n for n in _BATCH_ENDS if n < len(inputs)), len(inputs)]
    return [Batch(inputs[start:stop]) for start, stop in pairwise(bounds)]


def _assemble(frames: Sequence[bytes]) -> Reference:
    """Returns what frames of `_run` or `_time_check` hold. Raises ValueError or KeyError on others."""
    header = json.loads(frames[0])
    sizes: list[list[int]] = header.get("batches", [])
    n_requests = sum(map(len, sizes))
    requests, encoded = frames[1 : 1 + n_requests], frames[1 + n_requests :]
    if len(requests) != n_requests or len(encoded) != sum(map(sum, sizes)):
        raise ValueError("frames are missing")
    known = [e if seen else None for e, seen in zip(encoded, header.get("foreseen", ()), strict=True)]
    ends = list(accumulate(map(len, sizes), initial=0))
    answers = list(accumulate(map(sum, sizes), initial=0))
    batches = [
        Batch.of_requests(
            list(zip(sizes[i], requests[ends[i] : ends[i + 1]], strict=True)),
            known[answers[i] : answers[i + 1]],
        )
        for i in range(len(sizes))
    ]
    return Reference(
        header["times_s"], header.get("numbers", ()), header.get("left_out", 0), batches, encoded
    )


def _solve(problem: Problem) -> str:
    return str(problem["prompt"] + problem["canonical_solution"])


def _explain(problem: Problem, fault: str) -> QwenEvalError:
    return QwenEvalError(f"the reference solution of {problem['task_id']} does not run here: {fault}")


def _folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "qwen3_eval" / "expected"


def _read(file: Path) -> Reference | None:
    try:
        return _assemble(Frames(_LARGEST_FRAME).feed(file.read_bytes()))
    except (OSError, IndexError, KeyError, TypeError, ValueError):  # absent, or damaged: computed anew
        return None


def _write(file: Path, frames: Sequence[bytes]) -> None:
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(b"".join(map(frame, frames)))
        draft.replace(file)
    except (OSError, ValueError):  # a cache that cannot be written costs time, and no more
        with suppress(OSError):
            draft.unlink(missing_ok=True)
