"""Runs side by side: how they differ on the questions they share, with paired intervals, and in words."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen3_eval.budget import format_budget
from qwen3_eval.past_run import PastRun
from qwen3_eval.report.cells import ScoreTables, columns_of, difference_of_tables, score_tables
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.report.tables import format_difference, format_interval, format_p
from qwen3_eval.stats.curve import area_weights
from qwen3_eval.stats.estimate import question_means
from qwen3_eval.stats.paired import ALPHA, holm, smallest_difference
from qwen3_eval.types import MODES, THINKING

if TYPE_CHECKING:
    import pandas as pd

COMPARISON_COLUMNS = (
    "task", "reference", "run", "mode", "measure", "budget", "n_questions", "score_reference", "score",
    "difference", "stderr", "ci_low", "ci_high", "p_value", "p_holm", "n_better", "n_worse", "n_equal",
    "smallest_difference", "thinking_tokens_reference", "thinking_tokens", "answer_tokens_reference",
    "answer_tokens",
)  # fmt: skip
"""`difference` is run minus reference, in score units, over the `n_questions` that both scored.

`measure` is "score", or "area" for the area under score against log2 budget, whose `budget` is NaN and which
is over the budgets of thinking that both have, 0 and inf apart. `p_holm` is adjusted over the family of one
task and pair of runs. `smallest_difference` is what these questions would have shown in 4 of 5 such
comparisons. Tokens are means over the records of the shared questions, NaN for an area.
"""


@dataclass(frozen=True)
class Pair:
    """Two runs to compare on the tasks they share; `other` is told against `reference`."""

    reference: PastRun
    other: PastRun
    tasks: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.reference.name} → {self.other.name}"


def pair_runs(runs: Sequence[PastRun], tasks: Sequence[str]) -> list[Pair]:
    """Returns each run with the first that has a task of it, in the order of the runs.

    That is the first run wherever it has the task; a task that it lacks is told against the next that has it.
    """
    pairs: dict[tuple[int, int], list[str]] = {}
    for task in tasks:
        holders = [number for number, past in enumerate(runs) if task in set(past.records["task"])]
        for other in holders[1:]:
            pairs.setdefault((holders[0], other), []).append(task)
    return [Pair(runs[a], runs[b], tuple(shared)) for (a, b), shared in sorted(pairs.items())]


def compare_pairs(pairs: Sequence[Pair]) -> "pd.DataFrame":
    """Returns `COMPARISON_COLUMNS`, for each pair and task the area, then the points of the curve."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for pair in pairs:
        for task in pair.tasks:
            family = list(_compare_task(pair, task))
            adjusted = holm([row["p_value"] for row in family])
            rows += [row | {"p_holm": p} for row, p in zip(family, adjusted, strict=True)]
    return pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))


def _compare_task(pair: Pair, task: str) -> Iterator[dict[str, Any]]:
    about = pair.reference.run.get("tasks", {}).get(task, {})
    cells = [_cells_of(past.records[past.records["task"] == task]) for past in (pair.reference, pair.other)]
    named = {"task": task, "reference": pair.reference.name, "run": pair.other.name}
    shared = sorted(set(cells[0]) & set(cells[1]), key=lambda point: (MODES.index(point[0]), point[1]))
    tables = {point: [score_tables(of_run[point], about) for of_run in cells] for point in shared}
    budgets = [budget for mode, budget in shared if mode == THINKING and 0 < budget < math.inf]
    if len(budgets) > 1:
        areas = [_area_tables([tables[THINKING, b][side] for b in budgets], budgets) for side in (0, 1)]
        yield from _row(areas, about, named | {"mode": THINKING, "measure": "area", "budget": math.nan})
    for mode, budget in shared:
        place = named | {"mode": mode, "measure": "score", "budget": budget}
        tokens = _shared_tokens(*(of_run[mode, budget] for of_run in cells))
        spent = {f"{name}{end}": means[name] for means, end in zip(tokens, ("_reference", ""), strict=True)
                 for name in means}  # fmt: skip
        yield from _row(tables[mode, budget], about, place | spent)


def _cells_of(records: "pd.DataFrame") -> dict[tuple[str, float], "pd.DataFrame"]:
    return {
        (str(mode), float(budget)): cell  # type: ignore[arg-type]  # the keys are what the columns hold
        for (mode, budget), cell in records.groupby(["mode", "budget"], sort=False)
    }


def _row(
    tables: Sequence[ScoreTables], about: Mapping[str, Any], place: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yields the row of one point, or none where no question is shared."""
    reference, other = tables
    found = difference_of_tables(other, reference, about)
    if found is None:
        return
    scores = _shared_scores(reference, other)
    yield {
        **place,
        "n_questions": found.n_questions,
        "score_reference": scores[0],
        "score": scores[1],
        **columns_of(found),
        "smallest_difference": smallest_difference(found),
    }


def _area_tables(curve: Sequence[ScoreTables], budgets: Sequence[float]) -> dict[str, "pd.DataFrame"]:
    """Returns the area of each trace under its own curve, over the length of the log2 axis.

    A trace without a score at some budget has none. The mean of the areas is the area of the mean curve.
    Source: trapezoids, as `qwen3_eval.stats.curve.area`.
    """
    weights = area_weights(budgets)
    names = [name for name in curve[0] if all(name in tables for tables in curve)]
    found = {}
    for name in names:
        total = curve[0][name] * weights[0]
        for tables, weight in zip(curve[1:], weights[1:], strict=True):
            total = total + tables[name] * weight
        found[name] = total.round(12)  # the weights add up to 1 but for rounding
    return found


def _shared_scores(a: ScoreTables, b: ScoreTables) -> tuple[float, float]:
    """Returns both scores over the questions that both scored, groups counting alike where there are any."""
    scores = []
    for name in a:
        if name not in b:
            continue
        shared = a[name].index.intersection(b[name].index)
        means = np.stack([question_means(table[name].loc[shared]) for table in (a, b)])
        means = means[:, ~np.isnan(means).any(axis=0)]
        if means.size:
            scores.append(means.mean(axis=1))
    one, other = np.mean(scores, axis=0)
    return float(one), float(other)


def _shared_tokens(a: "pd.DataFrame", b: "pd.DataFrame") -> list[dict[str, float]]:
    """Returns each run's mean tokens over its records of the questions that both scored."""
    import pandas as pd

    scored = [cell[cell["outcome"] != "error"] for cell in (a, b)]
    ids = [pd.Index(rows["sample_id"].unique()) for rows in scored]
    shared = ids[0].intersection(ids[1])
    means = []
    for rows in scored:
        there = rows[shared.get_indexer(rows["sample_id"]) >= 0]
        means.append({name: float(there[name].mean()) for name in ("thinking_tokens", "answer_tokens")})
    return means


def list_differences(comparison: "pd.DataFrame") -> list[tuple[str, str]]:
    """Returns (task, what the table shows of two runs): where a difference is shown, and where none is."""
    found = []
    for (task, reference, run), rows in comparison.groupby(["task", "reference", "run"], sort=False):
        points = rows[rows["measure"] == "score"]
        shown = points["p_holm"] < ALPHA
        said = []
        for word, sign in (("better", 1), ("worse", -1)):
            places = [
                f"{place_of(row)} ({format_difference(row['difference'])}, p {format_p(row['p_holm'])})"
                for row in _dicts(points[shown & (points["difference"] * sign > 0)])
            ]
            if places:
                said.append(f"{run} is {word} than {reference} {', '.join(places)}")
        rest = points[~shown]
        if len(rest):
            least = rest["smallest_difference"].max()
            where = "any" if len(rest) == len(points) else "the other"
            said.append(
                f"no difference {f'between {reference} and {run} ' if not said else ''}is shown at {where} "
                f"{f'of {len(points):,}' if len(rest) == len(points) else f'{len(rest):,}'} points"
                + (f", where one of {least:.3f} mostly would have been" if least <= 1 else "")
            )
        said += [
            f"area under the curve {format_difference(row['difference'])} "
            f"({format_interval(row['ci_low'], row['ci_high'])}, p {format_p(row['p_holm'])})"
            for row in _dicts(rows[rows["measure"] == "area"])
        ]
        found.append((str(task), "; ".join(said)))
    return found


def tabulate_differences(comparison: "pd.DataFrame", pairs: Sequence[Pair]) -> ReportTable:
    """Returns the table of differences, a column for the names of the runs where there are more than two."""
    several = len(pairs) > 1
    headings = [
        "task", *(["runs"] if several else []), "mode", "budget", "scores" if several else pairs[0].name,
        "difference", "95 % interval", "p (Holm)", "better", "worse", "could show", "questions",
    ]  # fmt: skip
    cells = [
        [
            row["task"],
            *([f"{row['reference']} → {row['run']}"] if several else []),
            row["mode"],
            "area"
            if row["measure"] == "area"
            else "–"
            if row["budget"] == 0
            else format_budget(row["budget"]),
            f"{row['score_reference']:.3f} → {row['score']:.3f}",
            format_difference(row["difference"]),
            format_interval(row["ci_low"], row["ci_high"]),
            format_p(row["p_holm"]),
            f"{row['n_better']:,}",
            f"{row['n_worse']:,}",
            f"{row['smallest_difference']:.3f}" if row["smallest_difference"] <= 1 else "–",
            f"{row['n_questions']:,}",
        ]
        for row in _dicts(comparison)
    ]
    caption = (
        "Second run minus first, paired on the questions that both scored, repeats averaged first. "
        "Intervals: 95 %, over questions. p: sign-flip test, Holm-corrected over a task and pair of runs. "
        "Area: mean score over log2 budget. Could show: the difference that 4 of 5 such comparisons would "
        "have shown, before the correction."
    )
    return ReportTable("comparison", "Differences", caption, comparison, headings, cells, n_words=3 + several)


def place_of(row: Mapping[str, Any]) -> str:
    """Returns `at 8k`, `without thinking` or `as a base model`."""
    if row["mode"] == THINKING:
        return f"at {format_budget(row['budget'])}"
    return "without thinking" if row["mode"] == "non-thinking" else "as a base model"


def _dicts(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    return frame.to_dict(orient="records")  # type: ignore[return-value]  # keys are our column names
