"""What a problem's reference solution gives for its inputs, and how long it takes: run once, then kept.

It runs in the same sandbox as the answers do, so that its times are this machine's. What it gave is kept in
this process, and in ~/.cache/qwen3_eval/expected (or $XDG_CACHE_HOME), in files named by the content that
decides it.
"""

import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from qwen3_eval.errors import QwenEvalError
from qwen3_eval.sandbox import Batch, Limits, Outcome, Sandbox
from qwen3_eval.sandboxes.codec import decode, encode
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
_Found = tuple[list[Any], list[float]]  # an output and a time for each input

FAILED = object()
"""Stands for the output of a call that gave none."""

_TOO_LARGE = ...  # stands for an expected output that does not fit through the wall: Mbpp/255 has one of 1 GB
_CACHE_VERSION = 1
_CALL_S, _TOTAL_S = 60.0, 600.0
_BATCH_ENDS = (8, 72, 584)


@dataclass(frozen=True)
class Reference:
    """What is expected of each input that is asked, and the seconds that the reference took for it.

    `numbers` are those inputs' places in the row, `left_out` counts the others, whose output is too large to
    compare. `batches` are the inputs as the sandbox takes them, few first: a wrong answer mostly fails early.
    """

    outputs: list[Any]
    times_s: list[float]
    numbers: Sequence[int] = ()
    batches: Sequence[Batch] = ()
    left_out: int = 0


_known: dict[str, Reference] = {}
_locks: dict[str, threading.Lock] = {}


def find_reference(sandbox: Sandbox, problem: Problem, kind: str) -> Reference:
    """Returns the reference for the `base` or `plus` inputs, or for HumanEval's `check`: its time alone.

    Raises QwenEvalError where the reference solution does not run.
    """
    content = [problem[name] for name in ("task_id", "entry_point", "prompt", "canonical_solution")]
    asked = problem["test"] if kind == "check" else problem[f"{kind}_input"]
    key = hashlib.sha256(json.dumps([_CACHE_VERSION, kind, *content, asked]).encode()).hexdigest()
    with _locks.setdefault(key, threading.Lock()):
        if key not in _known:
            inputs = [] if kind == "check" else read_inputs(problem["task_id"], asked)
            found = _read(_folder() / key)
            if found is None or len(found[0]) != len(inputs):
                found = _time_check(sandbox, problem) if kind == "check" else _run(sandbox, problem, inputs)
                _write(_folder() / key, found)
            _known[key] = _arrange(problem, inputs, *found)
        return _known[key]


def time_reference(sandbox: Sandbox, problem: Problem, kind: str) -> list[float]:
    """Returns the seconds that the reference takes right now, beside whatever else the machine does.

    `kind` is as in `find_reference`; so are the errors.
    """
    if kind == "check":
        return _time_check(sandbox, problem)[1]
    inputs = read_inputs(problem["task_id"], problem[f"{kind}_input"])
    return _arrange(problem, inputs, *_run(sandbox, problem, inputs)).times_s


def _arrange(
    problem: Problem, inputs: Sequence[Sequence[Any]], outputs: list[Any], times_s: list[float]
) -> Reference:
    numbers = [i for i, output in enumerate(outputs) if output is not _TOO_LARGE]
    expected = [outputs[i] for i in numbers]
    asked = [inputs[i] for i in numbers]
    return Reference(
        expected,
        [times_s[i] for i in numbers] if outputs else times_s,
        numbers,
        _cut(asked, _foresee(problem, asked, expected)),
        len(outputs) - len(numbers),
    )


def _foresee(problem: Problem, inputs: Sequence[Sequence[Any]], expected: Sequence[Any]) -> list[Any]:
    """Returns the outputs that are right if a program gives exactly them, None for others, as NaN."""
    task_id, entry_point = problem["task_id"], problem["entry_point"]
    atols = tolerances(expected, problem["atol"]) if expected else []
    cases = zip(inputs, expected, atols, strict=True)
    return [
        output if is_right(task_id, entry_point, arguments, output, output, atol) else None
        for arguments, output, atol in cases
    ]


def read_output(outcome: Outcome, problem: Problem) -> Any:
    """Returns what a call returned, UNSEEN where only that it did matters, FAILED where it did not."""
    if outcome.status == "returned":
        return outcome.value
    if outcome.status == "unrepresentable" and only_asks_for_a_value(
        problem["task_id"], problem["entry_point"]
    ):
        return UNSEEN
    return FAILED


def _cut(inputs: Sequence[Sequence[Any]], answers: Sequence[Any]) -> list[Batch]:
    bounds = [0, *(n for n in _BATCH_ENDS if n < len(inputs)), len(inputs)]
    return [Batch(inputs[start:stop], answers[start:stop]) for start, stop in pairwise(bounds)]


def _run(sandbox: Sandbox, problem: Problem, inputs: Sequence[Sequence[Any]]) -> _Found:
    outputs: list[Any] = []
    times_s: list[float] = []
    with sandbox.load(_solve(problem), problem["entry_point"], Limits(_CALL_S, _TOTAL_S)) as p:
        if p.loaded.status != "returned":
            raise _explain(problem, describe(p.loaded))
        for outcome in p.call_batch(inputs):
            output = read_output(outcome, problem)
            if output is FAILED and outcome.status != "unrepresentable":
                raise _explain(problem, f"input {len(outputs)} {describe(outcome)}")
            expected = expected_from(problem["task_id"], problem["entry_point"], output)
            outputs.append(_TOO_LARGE if output is FAILED else expected)
            times_s.append(outcome.elapsed_s)
    if all(output is _TOO_LARGE for output in outputs):
        raise _explain(problem, "no output of it can be compared")
    return outputs, times_s


def _time_check(sandbox: Sandbox, problem: Problem) -> _Found:
    fault, elapsed_s = run_check(sandbox, problem, _solve(problem), _CALL_S)
    if fault:
        raise _explain(problem, fault)
    return [], [elapsed_s]


def _solve(problem: Problem) -> str:
    return str(problem["prompt"] + problem["canonical_solution"])


def _explain(problem: Problem, fault: str) -> QwenEvalError:
    return QwenEvalError(f"the reference solution of {problem['task_id']} does not run here: {fault}")


def _folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "qwen3_eval" / "expected"


def _read(file: Path) -> _Found | None:
    try:
        outputs, times_s = decode(file.read_bytes())
        return list(outputs), [float(time_s) for time_s in times_s]
    except (OSError, TypeError, ValueError):  # absent, or damaged: it is computed anew
        return None


def _write(file: Path, found: _Found) -> None:
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(encode(list(found)))
        draft.replace(file)
    except (OSError, ValueError):  # a cache that cannot be written costs time, and no more
        with suppress(OSError):
            draft.unlink(missing_ok=True)
