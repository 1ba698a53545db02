"""A gate's verdict in words and in the cells of a table."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qwen3_eval.gate.judge import GateVerdict, Judged

if TYPE_CHECKING:
    from qwen3_eval.gate.report import GateReport


def headings(verdict: GateVerdict) -> list[str]:
    """Returns the headings of `format_row`; the interval's two ends are one-sided bounds at 1 - alpha."""
    interval = f"{100 * (1 - 2 * verdict.alpha):g} % interval"
    unit = "turns (dialogues)" if _is_of_dialogues(verdict) else "questions"
    return ["check", "baseline", "candidate", "change", interval, "allowed", unit, "outcome"]


def format_row(each: Judged) -> list[str]:
    """Returns a metric as a row; a change is the candidate's less the baseline's."""
    if each.drop.n_questions == 0:
        return [each.metric.place, "–", "–", "–", "–", _allowed(each), "0", _outcome(each)]
    n, repeats, of_dialogues = each.drop.n_questions, each.metric.n_repeats, each.metric.n_dialogues > 0
    return [
        each.metric.place,
        _value(each, each.baseline),
        _value(each, each.candidate),
        _change(each, each.drop.drop),
        _interval(each),
        _allowed(each),
        f"{n:,}" + (f" × {repeats}" if repeats > 1 else "") + f" ({each.drop.n_units:,})" * of_dialogues,
        _outcome(each),
    ]


def headline(report: "GateReport") -> str:
    """Returns the verdict in one line."""
    counts, holes = count(report.verdict), len(report.verdict.holes)
    n = len(report.verdict.judged)
    checks = f"{n} check{'s' * (n != 1)}"
    if report.verdict.outcome == "pass":
        return f"{checks}, all within what is tolerated"
    if report.verdict.outcome == "regression":
        return (
            f"{counts['regression']} of {checks} beyond what is tolerated; {counts['pass']} pass, "
            f"{counts['inconclusive']} undecided"
        )
    undecided = counts["inconclusive"] - holes
    parts = [f"{undecided} undecided"] if undecided else []
    parts += [f"{holes} cannot pass for what is missing"] if holes else []
    said = f"of {checks}, {' and '.join(parts) or 'none can be judged'}, none beyond what is tolerated"
    return said + (f" (gate.inconclusive={report.inconclusive})" if report.inconclusive else "")


def sides(report: "GateReport") -> str:
    """Returns who was judged against whom."""
    paired = all(each.metric.paired for each in report.verdict.judged)
    how = "paired on the same questions" if paired else "unpaired: published numbers, taken as exact"
    if _is_of_dialogues(report.verdict):
        how = "paired turn by turn on the same dialogues"
    return (
        f"candidate {report.candidate} ({report.candidate_model}) against baseline {report.baseline} "
        f"({report.baseline_model}), {how}"
    )


def count(verdict: GateVerdict) -> dict[str, int]:
    """Returns how many metrics have each outcome."""
    outcomes = [each.outcome for each in verdict.judged]
    return {name: outcomes.count(name) for name in ("pass", "regression", "inconclusive")}


def explain(each: Judged, limited: bool = True) -> str:
    """Returns why a metric has its outcome. `limited` says that more of the task's questions can be asked."""
    if each.metric.holes and each.outcome != "regression":
        return f"cannot pass: {'; '.join(each.metric.holes)}"
    if each.drop.n_questions == 0:
        if each.metric.n_dialogues:
            return "cannot pass: no plain turn is decided on both sides"
        return "cannot pass: no question has a score on both sides"
    what = {"score": "the score", "area": "the curve's area"}.get(each.metric.name, each.metric.name)
    change = (
        f"{what} changed by {_change(each, each.drop.drop)} ({_interval(each)}); {_allowed(each)} is allowed"
    )
    if each.outcome == "pass":
        return change
    n_family = each.n_family
    if each.outcome == "regression":
        correction = f" after Holm's correction for {n_family} checks" if n_family > 1 else ""
        return f"{change}; p = {each.p_beyond:.2g}{correction}"
    return f"{change}. {_say_need(each, limited)}"


def advise(report: "GateReport") -> list[str]:
    """Returns what to do about the verdict, the first thing first."""
    judged = report.verdict.judged
    advice = []
    if report.verdict.outcome == "regression":
        worst = min((e for e in judged if e.outcome == "regression"), key=lambda e: e.p_beyond)
        where = "The compare command shows which questions turned wrong."
        if worst.metric.n_dialogues:
            where = "thinkfollow_turns.csv of the two folders shows which turns."
        advice.append(f"Clearest at {worst.metric.place}: {explain(worst)}. {where}")
    for hole in dict.fromkeys(hole for each in judged for hole in each.metric.holes):
        places = [each.metric.place for each in judged if hole in each.metric.holes]
        more = f" and {len(places) - 1} more" if len(places) > 1 else ""
        advice.append(f"Missing ({places[0]}{more}): {hole}.")
    open_ones = [e for e in judged if e.outcome == "inconclusive" and not e.metric.holes]
    if open_ones and report.verdict.outcome != "regression":
        advice.append(_say_needs(open_ones, report.limited))
    return advice


def _say_needs(undecided: Sequence[Judged], limited: bool) -> str:
    """Returns what would decide all that is undecided, or of what is hardest to decide."""
    hardest = max(undecided, key=lambda each: (each.need is None, (each.need and each.need.questions) or 0))
    found = [each.need for each in undecided if each.need is not None]
    questions = [need.questions for need in found if need.questions is not None]
    repeats = [need.repeats for need in found if need.repeats is not None]
    of_task = f" of {hardest.metric.task}" if len({each.metric.task for each in undecided}) > 1 else ""
    ways = []
    if limited and len(questions) == len(undecided):
        if hardest.metric.n_dialogues:
            most = max(_in_dialogues(each, each.need.questions) for each in undecided)  # type: ignore[union-attr, arg-type]  # all have one
            ways.append(f"about {_round(most):,} dialogues (dialogues=, now {hardest.metric.n_dialogues:,})")
        else:
            now = hardest.drop.n_questions
            ways.append(f"about {_round(max(questions)):,} questions{of_task} (limit=, now {now:,})")
    if len(repeats) == len(undecided):
        least = "at least" if any(need.at_least for need in found) else "about"
        now = max(each.metric.n_repeats for each in undecided)
        ways.append(f"{least} {max(repeats):,} repeats (repeats=, now {now})")
    if ways:
        same = "commands" if hardest.metric.n_dialogues else "sweeps"
        return f"To decide: {' or '.join(ways)}, on both sides; the same {same} add only what is missing."
    return f"Hardest to decide is {hardest.metric.place}: {_say_need(hardest, limited)}."


def _say_need(each: Judged, limited: bool) -> str:
    need, n = each.need, each.drop.n_questions
    as_it_is = f"as it is, it would pass where {_change(each, _passing(each))} is allowed"
    if need is None:
        what = "dialogues" if each.metric.n_dialogues else "questions or repeats"
        return f"No number of {what} within reach would decide; {as_it_is}"
    ways = []
    if need.questions is not None and each.metric.n_dialogues:
        asked = _round(_in_dialogues(each, need.questions))
        ways.append(f"about {asked:,} dialogues (now {each.metric.n_dialogues:,})")
    elif need.questions is not None and limited:
        ways.append(f"about {_round(need.questions):,} questions (now {n:,})")
    if need.repeats is not None:
        least = "at least" if need.at_least else "about"
        ways.append(f"{least} {need.repeats:,} repeats (now {each.metric.n_repeats})")
    assumed = (
        f"if the true change is the {_change(each, need.drop)} seen" if need.drop else "if there is none"
    )
    shown = {"pass": "a pass", "regression": "a regression"}[need.outcome]
    if ways:
        return f"{' or '.join(ways)} would most likely show {shown}, {assumed}".capitalize()
    enough = f"it would take about {_round(need.questions):,} questions; " if need.questions else ""
    return f"All questions were asked, and more repeats would not show {shown}; {enough}{as_it_is}"


def _is_of_dialogues(verdict: GateVerdict) -> bool:
    return any(each.metric.n_dialogues for each in verdict.judged)


def _in_dialogues(each: Judged, turns: int) -> int:
    """Returns how many dialogues of all kinds hold so many plain turns."""
    return math.ceil(turns * each.metric.n_dialogues / each.drop.n_questions)


def _passing(each: Judged) -> float:
    """Returns the least tolerance, with three decimals, at which the metric passes."""
    return math.ceil(max(0.0, each.drop.high) * 1000) / 1000


def _outcome(each: Judged) -> str:
    return "cannot pass" if each.outcome == "inconclusive" and each.metric.holes else each.outcome


def _value(each: Judged, value: float) -> str:
    return f"{value:,.0f}" if each.metric.relative else f"{value:.3f}"


def _change(each: Judged, drop: float) -> str:
    """Returns a drop as the change that it is, with its sign."""
    change = -drop if each.metric.worse == "less" else drop
    if each.metric.relative:
        return f"{_sign(round(100 * change, 1))}{abs(100 * change):.1f} %"
    return f"{_sign(round(change, 3))}{abs(change):.3f}"


def _interval(each: Judged) -> str:
    ends = (each.drop.high, each.drop.low) if each.metric.worse == "less" else (each.drop.low, each.drop.high)
    return f"{_change(each, ends[0])} to {_change(each, ends[1])}"


def _allowed(each: Judged) -> str:
    return _change(each, each.metric.max_drop)


def _sign(value: float) -> str:
    return "−" if value < 0 else "+" if value > 0 else "±"


def _round(number: int) -> int:
    """Returns a planned number with two digits: it rests on a guess."""
    digits = max(0, math.floor(math.log10(max(1, number))) - 1)
    step = int(10**digits)
    return math.ceil(number / step) * step
