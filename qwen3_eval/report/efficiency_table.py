"""The table `efficiency`: the score of each mode and budget beside the tokens that it took."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen3_eval.budget import format_budget
from qwen3_eval.report.counts import format_counts, say_counts
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.report.tables import format_score, format_share
from qwen3_eval.report.task_cells import TaskCells
from qwen3_eval.stats.bootstrap import Interval
from qwen3_eval.stats.curve import pareto_front
from qwen3_eval.stats.estimate import INTERVAL

if TYPE_CHECKING:
    import pandas as pd

SHARES = ("forced", "truncated", "no_answer", "error")
EFFICIENCY_COLUMNS = (
    "task", "mode", "budget", "n_questions", "n_repeats", "score", "stderr", "ci_low", "ci_high", *SHARES,
    "thinking_tokens_mean", "answer_tokens_mean", "tokens_mean", "score_per_1k_tokens",
    "score_per_1k_tokens_ci_low", "score_per_1k_tokens_ci_high", "on_front",
)  # fmt: skip
"""`tokens_mean` is of thinking and answer together; `on_front` says that no point of the task has as good a
score with fewer of them. `score_per_1k_tokens` is of thinking tokens, NaN where none were used. The task ""
is the mean over tasks, each counting alike."""


def tabulate_efficiency(tasks: Sequence[TaskCells], summary: "pd.DataFrame") -> ReportTable | None:
    """Returns a row for each task, mode and budget; None where nothing has a score.

    Of several tasks, the mean at each point that all of them have comes last.
    """
    import pandas as pd

    by_task = [rows for task in tasks if (rows := list(_price_task(task, summary)))]
    if len(by_task) > 1:
        by_task.append(_average_tasks(by_task))
    for rows in by_task:
        front = set(pareto_front([(row["tokens_mean"], row["score"]) for row in rows]))
        for number, row in enumerate(rows):
            row["on_front"] = number in front
    every = [row for rows in by_task for row in rows]
    if not every:
        return None
    frame = pd.DataFrame(every, columns=list(EFFICIENCY_COLUMNS))
    caption = (
        f"{say_counts(frame[frame['task'] != ''])} {INTERVAL}. Tokens: means over answers, really used. Per "
        "1k: score for each 1,000 thinking tokens. Front (●): no other mode or budget of the task has as "
        "good a score with fewer tokens, of thinking and answer together."
    )
    if (frame["task"] == "").any():
        caption += " all tasks: their mean, each counting alike, 95 % normal interval."
    headings = ("task", "mode", "budget", "score", "95 % interval", "forced", "truncated", "no answer",
                "error", "thinking tokens", "answer tokens", "per 1k", "front", "questions")  # fmt: skip
    cells = [_format_row(row) for row in every]
    return ReportTable("efficiency", "Score and tokens", caption, frame, headings, cells, n_words=3)


def _price_task(task: TaskCells, summary: "pd.DataFrame") -> Iterator[dict[str, Any]]:
    mine = summary[(summary["task"] == task.name) & (summary["group"] == "")]
    for cell in mine.to_dict(orient="records"):
        point = (cell["mode"], cell["budget"])
        if point not in task.scores:
            continue
        rate = task.rates.get(point) or Interval(math.nan, math.nan, math.nan)
        yield {name: cell[name] for name in EFFICIENCY_COLUMNS if name in cell} | {
            "tokens_mean": cell["thinking_tokens_mean"] + cell["answer_tokens_mean"],
            "score_per_1k_tokens": rate.value,
            "score_per_1k_tokens_ci_low": rate.ci_low,
            "score_per_1k_tokens_ci_high": rate.ci_high,
        }


def _average_tasks(by_task: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Returns the mean over tasks at each point that all have. Tasks are fixed, and err each on its own."""
    points = [{(row["mode"], row["budget"]): row for row in rows} for rows in by_task]
    averaged = []
    for mode, budget in (point for point in points[0] if all(point in of for of in points)):
        rows = [of[mode, budget] for of in points]
        row: dict[str, Any] = {
            name: float(np.mean([each[name] for each in rows]))
            for name in ("score", *SHARES, "thinking_tokens_mean", "answer_tokens_mean", "tokens_mean")
        }
        stderr = math.sqrt(sum(each["stderr"] ** 2 for each in rows)) / len(rows)
        averaged.append(
            {"task": "", "mode": mode, "budget": budget, "stderr": stderr}
            | {"n_questions": sum(each["n_questions"] for each in rows)}
            | {"n_repeats": max(each["n_repeats"] for each in rows)}
            | {
                "ci_low": max(0.0, row["score"] - 1.96 * stderr),
                "ci_high": min(1.0, row["score"] + 1.96 * stderr),
            }
            | row
        )
    return averaged


def _format_row(row: dict[str, Any]) -> tuple[str, ...]:
    rate = row.get("score_per_1k_tokens", math.nan)
    return (
        row["task"] or "all tasks",
        row["mode"],
        "–" if row["budget"] == 0 else format_budget(row["budget"]),
        format_score(row["score"]),
        f"{row['ci_low']:.2f} – {row['ci_high']:.2f}",
        *(format_share(row[share]) for share in SHARES),
        f"{row['thinking_tokens_mean']:,.0f}",
        f"{row['answer_tokens_mean']:,.0f}",
        "–" if math.isnan(rate) else f"{rate:.2f}",
        "●" if row["on_front"] else "",
        format_counts(row["n_questions"], row["n_repeats"]),
    )
