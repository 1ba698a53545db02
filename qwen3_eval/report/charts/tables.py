"""The numbers of each chart as a table, and the words that its caption owes them."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qwen3_eval.budget import format_budget
from qwen3_eval.report.charts.rows import SHARES
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.report.tables import format_score, format_share
from qwen3_eval.types import THINKING

if TYPE_CHECKING:
    import pandas as pd

_PLACE = ("run", "task", "mode", "budget")


def describe_counts(points: "pd.DataFrame") -> str:
    """Returns the questions and repeats that points rest on, by task where tasks differ and are few."""
    asked = points[points["n_questions"] > 0]
    if asked.empty:
        return "no record has a score yet"
    counts = {str(task): _count(rows) for task, rows in asked.groupby("task", sort=False)}
    if len(set(counts.values())) == 1 or len(counts) > 3:
        return _count(asked)
    return "; ".join(f"{task} {count}" for task, count in counts.items())


def _count(points: "pd.DataFrame") -> str:
    questions, repeats = (
        _span(int(points[name].min()), int(points[name].max())) for name in ("n_questions", "n_repeats")
    )
    noun = "question" if questions == "1" else "questions"
    return f"{questions} {noun}, 1 repeat" if repeats == "1" else f"{questions} {noun} × {repeats} repeats"


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def tabulate_points(points: "pd.DataFrame") -> ReportTable:
    """Returns score and interval of each point."""
    columns = ["score", "ci_low", "ci_high", "n_questions", "n_repeats"]
    cells = [
        (format_score(score), f"{low:.3f} – {high:.3f}", f"{questions:,}", f"{repeats:,}")
        for score, low, high, questions, repeats in points[columns].itertuples(index=False)
    ]
    headings = ("score", "95 % interval", "questions", "repeats")
    return _tabulate(points, "score_by_budget", columns, headings, cells)


def tabulate_tokens(points: "pd.DataFrame") -> ReportTable:
    """Returns mean thinking tokens of each point, its score, and the score that 1,000 of them bought."""
    shown = points[points["thinking_tokens_mean"].notna()].reset_index(drop=True)
    used = shown["thinking_tokens_mean"]
    shown = shown.assign(score_per_1k_tokens=(1000 * shown["score"] / used).where(used > 0))
    columns = ["thinking_tokens_mean", "score", "score_per_1k_tokens"]
    cells = [
        (f"{tokens:,.0f}", format_score(score), "–" if math.isnan(ratio) else f"{ratio:.3f}")
        for tokens, score, ratio in shown[columns].itertuples(index=False)
    ]
    headings = ("mean thinking tokens", "score", "score per 1k tokens")
    return _tabulate(shown, "score_by_tokens", columns, headings, cells)


def tabulate_shares(points: "pd.DataFrame") -> ReportTable:
    """Returns the shares of records that were forced, truncated, without an answer, or in error."""
    cells = [tuple(map(format_share, row)) for row in points[list(SHARES)].itertuples(index=False)]
    return _tabulate(points, "shares_by_budget", list(SHARES), tuple(SHARES.values()), cells)


def _tabulate(
    points: "pd.DataFrame",
    name: str,
    columns: list[str],
    headings: tuple[str, ...],
    cells: Sequence[tuple[str, ...]],
) -> ReportTable:
    """Returns a table whose rows begin with the point's place; `run` only where there are several."""
    place = [column for column in _PLACE if column != "run" or points["run"].nunique() > 1]
    shown = points.assign(
        budget=[
            format_budget(b) if mode == THINKING else "–"
            for b, mode in zip(points["budget"], points["mode"], strict=True)
        ]
    )
    words = [tuple(map(str, row)) for row in shown[place].itertuples(index=False)]
    return ReportTable(
        name,
        "",
        "",
        points[[*place, *columns]],
        (*place, *headings),
        [(*start, *rest) for start, rest in zip(words, cells, strict=True)],
        n_words=len(place) - 1,
    )
