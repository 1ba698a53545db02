"""Scores an answer that is a program: finds it in the text, runs it behind the wall, judges it here.

A verdict comes from this process alone. The program is called through the sandbox: arguments go in, plain
values come out, and what is expected of them never goes near it. A verdict's reason says which input failed
and how, and ends with the tier of the wall; where a check had to run beside the program, which could then
cheat, "(weak: checked inside)" stands before it.
"""

import atexit
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

from qwen3_eval.errors import QwenEvalError
from qwen3_eval.sandbox import Limits, Sandbox
from qwen3_eval.scoring.code_reference import (
    NO_OUTPUT,
    Problem,
    Reference,
    find_reference,
    read_output,
    time_reference,
)
from qwen3_eval.scoring.code_run import (
    FAILED,
    PASSED,
    TIMED_OUT,
    Fault,
    clip,
    fault_of,
    is_official,
    run_check,
    show,
    show_call,
)
from qwen3_eval.scoring.code_text import extract_program
from qwen3_eval.scoring.evalplus_rules import find_limits, is_right, read_inputs, tolerances
from qwen3_eval.types import Sample, Verdict

__all__ = ["Judgement", "code_scorer", "extract_program", "judge_program", "open_sandbox", "use_sandbox"]

CALL_S, REFERENCE_FACTOR, TOTAL_S = 4.0, 4.0, 60.0
WEAK = "(weak: checked inside)"


def code_scorer(
    call_s: float = CALL_S, reference_factor: float = REFERENCE_FACTOR, total_s: float = TOTAL_S
) -> Callable[[Sample, str], Verdict]:
    """Returns a scorer for samples with a `metadata["problem"]`, a row of HumanEval, HumanEval+ or MBPP+.

    It holds `task_id`, `entry_point`, `prompt`, `canonical_solution`, and either `test`, HumanEval's own
    check, or `base_input`, `atol` and perhaps `plus_input`. The score is 1 where all passes. A sample's two
    `parts` name the scores of the base inputs, and of base and plus inputs together.

    A call may take `reference_factor` times the reference's time on the same machine, at least `call_s`; all
    calls of one kind at most `total_s` + 1, in seconds. Source: EvalPlus 0.3.1, config.py and
    eval/__init__.py, where `call_s` is 1; 4 lets a busy machine be.
    """

    def score(sample: Sample, answer: str) -> Verdict:
        problem = sample.metadata["problem"]
        program = extract_program(answer, problem["prompt"], problem["entry_point"])
        if program is None:
            what = f"no program defines {problem['entry_point']}" if answer.strip() else "the answer is empty"
            return Verdict.no_answer(what)
        try:
            found = judge_program(problem, program, call_s, reference_factor, total_s)
        except QwenEvalError as error:
            return Verdict.error(str(error))
        parts = dict(zip(sample.parts, (float(found.base_passed), float(found.passed)), strict=False))
        decide = Verdict.correct if found.passed else Verdict.incorrect
        reason = f"{found.reason} [{get_sandbox().tier}]"
        return replace(decide(_headline(program, problem["entry_point"]), reason), parts=parts)

    return score


@dataclass(frozen=True)
class Judgement:
    """What became of a program: one of STATUSES, and the reason in words.

    `base_passed` and `passed` differ where only further inputs failed. `failed_input` is the place in its row
    of the first input that did, base or plus, None where it was none of them.
    """

    base_passed: bool
    status: str
    reason: str
    failed_input: int | None = None

    @property
    def passed(self) -> bool:
        return self.status == PASSED


def judge_program(
    problem: Problem,
    program: str,
    call_s: float = CALL_S,
    reference_factor: float = REFERENCE_FACTOR,
    total_s: float = TOTAL_S,
) -> Judgement:
    """Runs `program` on a problem's inputs, base before plus, or through its own check, until one fails.

    The problem and the limits are those of `code_scorer`; what runs out of time is run a second time, with
    limits by what the reference takes at that moment, and twice `call_s` at least. Raises QwenEvalError
    where the sandbox does not start, or the problem's reference does not run in it.
    """
    sandbox = get_sandbox()

    def run(kind: str, attempt: Callable[[Limits], Fault | None]) -> Fault | None:
        """Returns how an attempt fails. One that runs out of time has a second: the machine may be busy."""
        times_s = find_reference(sandbox, problem, kind).times_s
        fault = attempt(Limits(*find_limits(times_s, call_s, reference_factor, total_s)))
        if fault is not None and fault.status == TIMED_OUT:
            now_s = time_reference(sandbox, problem, kind)
            slower_s = [max(pair) for pair in zip(times_s, now_s, strict=False)]
            fault = attempt(Limits(*find_limits(slower_s, 2 * call_s, reference_factor, total_s)))
        return fault

    if "test" in problem:
        fault = run("check", lambda limits: run_check(sandbox, problem, program, limits.call_s)[0])
        weak = "" if is_official(problem) else f" {WEAK}"
        if fault is None:
            return Judgement(True, PASSED, f"passed its check{weak}")
        return Judgement(False, fault.status, fault.reason + weak)
    passed: list[str] = []
    left_out = 0
    for kind in ("base", "plus"):
        if not problem.get(f"{kind}_input"):
            continue
        reference = find_reference(sandbox, problem, kind)
        if fault := run(kind, partial(_run_inputs, sandbox, problem, program, kind, reference)):
            return Judgement(bool(passed), fault.status, fault.reason, fault.failed_input)
        passed.append(f"{len(reference.numbers):,} {kind}")
        left_out += reference.left_out
    told = f", {left_out} left out as too large to compare" if left_out else ""
    return Judgement(True, PASSED, f"passed {' and '.join(passed)} inputs{told}")


def _run_inputs(
    sandbox: Sandbox, problem: Problem, program: str, kind: str, reference: Reference, limits: Limits
) -> Fault | None:
    """Returns how the first input that fails did so, if one does.

    Base and plus inputs each meet a fresh process, as a program may remember its calls.
    """
    with sandbox.load(program, problem["entry_point"], limits) as p:
        if p.loaded.status != "returned":
            return fault_of(p.loaded, "the program does not load: ")
        outcomes = (outcome for batch in reference.batches for outcome in p.call_batch(batch))
        unforeseen = ((place, outcome) for place, outcome in enumerate(outcomes) if not outcome.known)
        first = next(unforeseen, None)
        if first is None:
            return None
        inputs = read_inputs(problem["task_id"], problem[f"{kind}_input"])
        atols = tolerances(reference.outputs, problem["atol"])
        for place, outcome in chain([first], unforeseen):
            number, expected = reference.numbers[place], reference.outputs[place]
            call = f"{kind} input {number}: {show_call(problem['entry_point'], inputs[number])} "
            output = read_output(outcome, problem)
            if output is NO_OUTPUT:
                return fault_of(outcome, call, number)
            task_id, entry_point = problem["task_id"], problem["entry_point"]
            if not is_right(task_id, entry_point, inputs[number], output, expected, atols[place]):
                wrong = f"returned {show(output)}, expected {show(expected)}"
                return Fault(FAILED, call + wrong, number)
    return None


def _headline(program: str, entry_point: str) -> str:
    """Returns the last line that defines the entry point, or else one that names it."""
    name = re.escape(entry_point)
    defining = re.findall(rf"^[ \t]*(?:async )?(?:def|class) +{name}\b.*", program, re.MULTILINE)
    naming = defining or re.findall(rf"^.*\b{name}\b.*", program, re.MULTILINE)
    return clip(naming[-1] if naming else program)


_shared: Sandbox | None = None
_starting = threading.Lock()


def get_sandbox() -> Sandbox:
    """Returns the sandbox that all scorers share, started when it is first asked for. Raises SandboxError."""
    return open_sandbox() if _shared is None else _shared


def open_sandbox(workers: int | None = None, tier: str | None = None, unsafe: bool = False) -> Sandbox:
    """Starts the sandbox that all scorers share, unless there is one. Raises SandboxError."""
    global _shared
    with _starting:
        if _shared is None:
            _shared = Sandbox(workers=workers, tier=tier, unsafe=unsafe)
            atexit.register(_shared.close)
        return _shared


def use_sandbox(sandbox: Sandbox | None) -> None:
    """Makes all scorers of this process use `sandbox`, which its owner closes; None: one of their own."""
    global _shared
    with _starting:
        _shared = sandbox
