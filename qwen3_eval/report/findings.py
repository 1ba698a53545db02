"""What a summary says, in plain words: the finding of each task, and what could mislead a reader."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from qwen3_eval.budget import format_budget
from qwen3_eval.report.tables import format_score, format_share
from qwen3_eval.types import BASE, NON_THINKING, THINKING

if TYPE_CHECKING:
    import pandas as pd

NOTABLE_SHARE = 0.05
"""From this share of records on, truncated and unanswered records are warned of; an error always is."""

STILL_CUT_SHARE = 0.10
"""Where the largest budget still cuts this share of traces, the curve is said to be unfinished."""

FEW_QUESTIONS = 30


def list_findings(summary: "pd.DataFrame") -> list[tuple[str, str]]:
    """Returns (task, what was found), as ("chain", "0.57 at 1k, 0.99 at 8k; 0.02 without thinking")."""
    findings = []
    for task, rows in _by_task(summary):
        at = [
            f"{format_score(score)} at {format_budget(budget)}"
            for mode, budget, score in zip(rows["mode"], rows["budget"], rows["score"], strict=True)
            if mode == THINKING
        ]
        without = [
            f"{format_score(score)} without thinking"
            for score in rows.loc[rows["mode"] == NON_THINKING, "score"]
        ]
        base = [f"{format_score(score)} as a base model" for score in rows.loc[rows["mode"] == BASE, "score"]]
        findings.append((task, "; ".join(filter(None, [", ".join(at), *without, *base]))))
    return findings


def list_warnings(summary: "pd.DataFrame") -> list[str]:
    """Returns sentences about cells whose score could mislead, the gravest kind first."""
    found = [warning for task, rows in _by_task(summary) for warning in _warn_of(task, rows)]
    return [text for _, text in sorted(found, key=lambda warning: warning[0])]


def _warn_of(task: str, rows: "pd.DataFrame") -> Iterator[tuple[int, str]]:
    """Yields (kind, what is said), kinds from 0, the gravest."""
    errors = _shares(rows, "error", 1e-12)
    if errors:
        yield 0, f"{task}: records without a verdict (error) are left out of the score: {errors}."
    truncated = _shares(rows, "truncated", NOTABLE_SHARE)
    if truncated:
        at_inf = (rows.loc[rows["budget"] == math.inf, "truncated"] >= NOTABLE_SHARE).any()
        yield (
            1,
            f"{task}: output was truncated at its limit, which mostly scores 0: {truncated}. "
            "A larger max_output_tokens or max_answer_tokens may raise the score"
            + ("; what is told against inf rests on a score that may be too low." if at_inf else "."),
        )
    silent = _shares(rows, "no_answer", NOTABLE_SHARE)
    if silent:
        yield 2, f"{task}: no answer was found, which scores 0: {silent}."
    thinking = rows[rows["mode"] == THINKING]
    last = thinking.iloc[-1] if len(thinking) else None
    if last is not None and last["forced"] >= STILL_CUT_SHARE:
        yield (
            3,
            f"{task}: {format_share(last['forced'])} of the thinking was still cut at "
            f"{format_budget(last['budget'])}, the largest budget; the curve may rise further.",
        )
    low, high = int(rows["n_questions"].min()), int(rows["n_questions"].max())
    if low != high and not errors:
        yield (
            4,
            f"{task}: points rest on different numbers of questions ({low:,} to {high:,}); the run is "
            "unfinished.",
        )
    if high < FEW_QUESTIONS:
        yield 5, f"{task}: {high} questions are few; read the intervals, not the points."


def _by_task(summary: "pd.DataFrame") -> list[tuple[str, "pd.DataFrame"]]:
    whole = summary[summary["group"] == ""]
    return [(str(task), rows) for task, rows in whole.groupby("task", sort=False)]


def _shares(rows: "pd.DataFrame", column: str, least: float) -> str:
    """Returns `12 % at 8k, 30 % without thinking`, for the rows whose share is at least `least`."""
    return ", ".join(
        f"{format_share(row[column])} {_place(row)}" for _, row in rows.iterrows() if row[column] >= least
    )


def _place(row: Any) -> str:
    if row["mode"] == THINKING:
        return f"at {format_budget(row['budget'])}"
    return "without thinking" if row["mode"] == NON_THINKING else "as a base model"
