"""The table `curve`: what each task's curve of score against thinking budget says in numbers."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen3_eval.budget import format_budget
from qwen3_eval.report.counts import format_counts, say_counts
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.report.tables import format_difference, format_score
from qwen3_eval.report.task_cells import TaskCells
from qwen3_eval.stats.bootstrap import N_RESAMPLES, Interval
from qwen3_eval.stats.curve import Curve, measure_curve
from qwen3_eval.stats.estimate import INTERVAL
from qwen3_eval.stats.macro_curve import measure_macro_curve
from qwen3_eval.types import THINKING

if TYPE_CHECKING:
    import pandas as pd

CURVE_COLUMNS = (
    "task", "n_questions", "n_repeats", "from_budget", "to_budget", "area", "area_ci_low", "area_ci_high",
    "gain_per_doubling", "gain_per_doubling_ci_low", "gain_per_doubling_ci_high",
    "budget_95", "budget_95_ci_low", "budget_95_ci_high", "budget_95_of",
    "fit_c", "fit_c_ci_low", "fit_c_ci_high", "fit_a", "fit_b", "fit_b_ci_low", "fit_b_ci_high",
    "score_per_1k_tokens", "score_per_1k_tokens_ci_low", "score_per_1k_tokens_ci_high",
    "score_per_1k_tokens_at",
)  # fmt: skip
"""Of one task's thinking curve; NaN where its budgets cannot tell.

Area and gain are from `from_budget` to `to_budget`, the budgets that are neither 0 nor inf. `budget_95` first
reaches 95 % of the score at `budget_95_of`, in tokens, inf where no smaller one does. The fit is
score = c - a B^-b. `score_per_1k_tokens` is the best, at `score_per_1k_tokens_at`.
"""


def tabulate_curves(tasks: Sequence[TaskCells], summary: "pd.DataFrame", seed: int) -> ReportTable | None:
    """Returns the table `curve`, a row for each task with two or more budgets; None without one."""
    import pandas as pd

    rows = [row for task in tasks if len(task.budgets) > 1 for row in _measure_task(task, summary, seed)]
    if not rows:
        return None
    frame = pd.DataFrame(rows, columns=list(CURVE_COLUMNS))
    caption = (
        f"{say_counts(frame)} Area: mean score over log2 budget, between the smallest and the largest budget "
        f"that is not inf; {INTERVAL}. Gain: least squares, 95 % t interval. 95 % at: the budget, in tokens, "
        "where the curve first has 95 % of its score at inf, or else at the largest budget. Tends to: c of "
        "the fit c − a·B^−b, where the budgets support one. Intervals of these two: 95 % bootstrap "
        f"percentiles, {N_RESAMPLES:,} resamples of questions, seed {seed}. Per 1k: score for each 1,000 "
        "thinking tokens really used, at the budget where it is best, 95 % t interval."
    )
    headings = ("task", "area", "gain per doubling", "95 % at", "tends to", "score per 1k", "questions")
    cells = [
        (
            row["task"],
            _format(row, "area", format_score),
            _format(row, "gain_per_doubling", format_difference, " to "),
            _format(row, "budget_95", _format_tokens),
            _format(row, "fit_c", format_score),
            _format(row, "score_per_1k_tokens", _format_rate)
            + (f" at {format_budget(at)}" if not math.isnan(at := row["score_per_1k_tokens_at"]) else ""),
            format_counts(row["n_questions"], row["n_repeats"]),
        )
        for row in rows
    ]
    return ReportTable("curve", "Curves in numbers", caption, frame, headings, cells)


def _measure_task(task: TaskCells, summary: "pd.DataFrame", seed: int) -> Iterator[dict[str, Any]]:
    budgets, rows = task.budgets, task.rows
    scores = np.stack([rows.means[THINKING, budget] for budget in budgets], axis=1)
    if task.macro:
        curve = measure_macro_curve(scores, budgets, rows.groups, seed, rows.clusters)
    else:
        curve = measure_curve(scores, budgets, seed, rows.clusters)
    if not curve.n_questions:
        return
    mine = summary[(summary["task"] == task.name) & (summary["group"] == "")]
    whole = np.flatnonzero(~np.isnan(scores).any(axis=1))
    n_questions = rows.sample_ids.take(whole).nunique()
    at, best = max(
        ((budget, rate) for (_, budget), rate in task.rates.items()),
        key=lambda pair: pair[1].value,
        default=(math.nan, None),
    )
    yield {
        "task": task.name,
        "n_questions": n_questions,
        "n_repeats": int(mine["n_repeats"].max()),
        **_flatten_curve(curve),
        **_flatten("score_per_1k_tokens", best),
        "score_per_1k_tokens_at": at,
    }


def _flatten_curve(curve: Curve) -> dict[str, float]:
    area, gain, reached, fit = curve.area, curve.gain, curve.reached, curve.saturation
    return {
        "from_budget": gain.from_budget if gain else math.nan,
        "to_budget": gain.to_budget if gain else math.nan,
        **_flatten("area", Interval(area.score, area.ci_low, area.ci_high) if area else None),
        **_flatten("gain_per_doubling", gain.per_doubling if gain else None),
        **_flatten("budget_95", reached.budget if reached else None),
        "budget_95_of": reached.of_budget if reached else math.nan,
        **_flatten("fit_c", fit.c if fit else None),
        "fit_a": fit.a if fit else math.nan,
        **_flatten("fit_b", fit.b if fit else None),
    }


def _flatten(name: str, found: Interval | None) -> dict[str, float]:
    found = found or Interval(math.nan, math.nan, math.nan)
    return {name: found.value, f"{name}_ci_low": found.ci_low, f"{name}_ci_high": found.ci_high}


def _format(row: Mapping[str, Any], name: str, form: Callable[[float], str], to: str = " – ") -> str:
    """Returns `0.61 (0.58 – 0.64)`, or a dash where there is no such number."""
    value, low, high = (round(row[f"{name}{end}"], 9) for end in ("", "_ci_low", "_ci_high"))
    if math.isnan(value):
        return "–"
    return form(value) if math.isnan(low) else f"{form(value)} ({form(low)}{to}{form(high)})"


def _format_tokens(tokens: float) -> str:
    return "inf" if math.isinf(tokens) else f"{tokens:,.0f}"


def _format_rate(rate: float) -> str:
    return f"{rate:.2f}"
