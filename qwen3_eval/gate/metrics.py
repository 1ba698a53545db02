"""What a gate judges: scores by task, mode and budget, the curve's area, and what else was asked for."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qwen3_eval.budget import format_budget
from qwen3_eval.gate.judge import Metric
from qwen3_eval.gate.rules import Rules
from qwen3_eval.gate.sides import CellScores, Floats, Published, Side, TaskScores
from qwen3_eval.report.cells import clusters_of
from qwen3_eval.types import THINKING, Budget, Mode


def list_metrics(baseline: Side, candidate: Side, tasks: Sequence[str], rules: Rules) -> list[Metric]:
    """Returns the metrics of these tasks of the baseline, paired on its questions.

    A cell that the candidate lacks is a metric with a hole, as is one that is unfinished or has too many
    errors on either side. Questions and cells that the candidate has beyond the baseline's are left out.
    """
    metrics: list[Metric] = []
    for name in tasks:
        metrics += _of_task(name, baseline, candidate, rules)
    return metrics


def list_published_metrics(baseline: Published, candidate: Side, rules: Rules) -> list[Metric]:
    """Returns a metric for each published score of the candidate's tasks and modes, unpaired."""
    metrics = []
    for (name, mode, budget), score in baseline.scores.items():
        task, limit = candidate.tasks[name], rules.max_drop[name]
        cell = task.cells.get((mode, budget))
        scores = np.full(len(task.ids), np.nan) if cell is None else cell.scores
        holes = [_missing(mode, budget)]
        if cell is not None:
            holes = [
                candidate.unfinished and f"candidate: {candidate.unfinished}",
                _find_hole("candidate", task, cell, rules.max_error),
            ]
        metric = Metric(
            "score", scores, np.full(len(task.ids), score), limit, name, mode, show_budget(budget)
        )
        metrics.append(
            replace(
                metric,
                paired=False,
                strata=task.groups if any(task.groups) else None,
                clusters=clusters_of(task.ids, task.about),
                n_repeats=1 if cell is None else max(1, cell.n_repeats),
                noise=_noise(cell) if cell is not None and cell.n_repeats > 1 else None,
                holes=tuple(filter(None, holes)),
            )
        )
    return metrics


def find_gap(name: str, task: TaskScores) -> str:
    """Returns in words how many records a run lacks of a task, "" where none."""
    fewest = min((cell.n_records for cell in task.cells.values()), default=0)
    expected = _expected(task)
    return f"{name} has {fewest:,} of {expected:,} records at some budget" if fewest < expected else ""


def show_budget(budget: float) -> str:
    """Returns a budget as people read it; modes without thinking have none."""
    return "" if budget == 0 else format_budget(budget)


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two cells of one task, mode and budget; `order` is each baseline question's place in the candidate."""

    mode: Mode
    budget: Budget
    baseline: CellScores
    candidate: CellScores | None
    order: NDArray[np.int64]
    holes: tuple[str, ...]

    def take(self, column: str) -> tuple[Floats, Floats]:
        """Returns a column of candidate and baseline, row by row the same questions."""
        ours: Floats = getattr(self.baseline, column)
        if self.candidate is None:
            return np.full(len(ours), np.nan), ours
        theirs: Floats = getattr(self.candidate, column)
        return np.where(self.order >= 0, theirs[self.order], np.nan), ours

    @property
    def n_repeats(self) -> int:
        """The fewest that either side has."""
        sides = (self.baseline, self.candidate or self.baseline)
        return max(1, min(side.n_repeats for side in sides))

    def noise(self) -> float | None:
        """Returns the part of a question's variance that repeats divide; one answer each does not tell."""
        if self.candidate is None or min(self.baseline.n_repeats, self.candidate.n_repeats) < 2:
            return None
        return _noise(self.baseline) + _noise(self.candidate)


def _of_task(name: str, baseline: Side, candidate: Side, rules: Rules) -> Iterator[Metric]:
    ours, theirs = baseline.tasks[name], candidate.tasks.get(name)
    pairs = list(_pair_cells(ours, theirs, baseline.unfinished, candidate.unfinished, rules))
    strata = ours.groups if any(ours.groups) else None
    clusters = clusters_of(ours.ids, ours.about)
    scores: dict[_Pair, Metric] = {}
    for pair in pairs:
        budget, limit = show_budget(pair.budget), rules.max_drop[name]
        metric = Metric("score", *pair.take("scores"), limit, name, pair.mode, budget)
        metric = replace(metric, strata=strata, clusters=clusters, holes=pair.holes)
        scores[pair] = replace(metric, n_repeats=pair.n_repeats, noise=pair.noise())
        yield scores[pair]
        if pair.mode == THINKING:
            yield from _of_thinking(pair, metric, rules)
    curve = [pair for pair in pairs if pair.mode == THINKING and 0 < pair.budget < math.inf]
    if len(curve) > 1:
        curve.sort(key=lambda pair: pair.budget)
        yield _area([pair.budget for pair in curve], [scores[pair] for pair in curve])


def _of_thinking(pair: _Pair, metric: Metric, rules: Rules) -> Iterator[Metric]:
    """Yields what is asked of the thinking itself; `metric` is the cell's score."""
    metric = replace(metric, worse="more", n_repeats=pair.n_repeats)
    if rules.max_forced is not None and pair.budget < math.inf:
        a, b = pair.take("forced")
        yield replace(metric, name="forced", a=a, b=b, max_drop=rules.max_forced)
    if rules.max_thinking_tokens is not None:
        a, b = pair.take("thinking_tokens")
        # No bound but the budget is known, and inf has none: the longest seen stands for it.
        most = float(max(np.nanmax(a, initial=1), np.nanmax(b, initial=1)))
        limit = rules.max_thinking_tokens
        yield replace(metric, name="thinking tokens", a=a, b=b, max_drop=limit, relative=True, high=most)


def _pair_cells(
    ours: TaskScores, theirs: TaskScores | None, our_state: str, their_state: str, rules: Rules
) -> Iterator[_Pair]:
    places = {} if theirs is None else {sample_id: place for place, sample_id in enumerate(theirs.ids)}
    order = np.array([places.get(sample_id, -1) for sample_id in ours.ids], dtype=np.int64)
    for (mode, budget), cell in ours.cells.items():
        other = None if theirs is None else theirs.cells.get((mode, budget))
        holes = [our_state and f"baseline: {our_state}"]
        holes.append(_find_hole("baseline", ours, cell, rules.max_error))
        if theirs is None or other is None:
            holes.append(_missing(mode, budget))
        else:
            holes.append(their_state and f"candidate: {their_state}")
            holes.append(_find_hole("candidate", theirs, other, rules.max_error))
        yield _Pair(mode, budget, cell, other, order, tuple(filter(None, holes)))


def _area(budgets: Sequence[Budget], scores: Sequence[Metric]) -> Metric:
    """Returns the area under score against log2 budget over that axis' length, question by question."""
    axis = np.log2(np.asarray(budgets, dtype=float))
    a, b = (
        np.trapezoid(np.stack(columns, axis=1), axis, axis=1) / (axis[-1] - axis[0])
        for columns in ([metric.a for metric in scores], [metric.b for metric in scores])
    )
    return replace(
        scores[0],
        name="area",
        a=a,
        b=b,
        budget=f"area {show_budget(budgets[0])}-{show_budget(budgets[-1])}",
        n_repeats=min(metric.n_repeats for metric in scores),
        noise=None,
        holes=tuple(dict.fromkeys(hole for metric in scores for hole in metric.holes)),
    )


def _noise(cell: CellScores) -> float:
    """Returns the mean over questions of the variance of a question's mean over its repeats.

    That of right and wrong answers, p (1 - p) / (repeats - 1), which no other scores in 0-1 exceed.
    """
    spread = cell.scores * (1 - cell.scores) / max(1, cell.n_repeats - 1)
    return float(np.nanmean(spread)) if not np.isnan(spread).all() else 0.0


def _missing(mode: Mode, budget: Budget) -> str:
    where = f"budget={show_budget(budget)}" if mode == THINKING else f"mode={mode}"
    return f"candidate: no records with {where}; sweep it with that too"


def _find_hole(who: str, task: TaskScores, cell: CellScores, max_error: float) -> str:
    """Returns what is missing of a cell, in words, or ""."""
    expected = _expected(task)
    if cell.n_records < expected:
        return f"{who}: {cell.n_records:,} of {expected:,} records; let its sweep run on"
    if cell.n_errors > max_error * cell.n_records:
        return (
            f"{who}: {cell.n_errors:,} of {cell.n_records:,} records have no verdict (error), and "
            f"gate.max_error is {max_error:g}"
        )
    return ""


def _expected(task: TaskScores) -> int:
    """Returns how many records each cell of a finished run holds, 0 where run.json does not say."""
    return int(task.about.get("questions", 0)) * int(task.about.get("repeats", 1))
