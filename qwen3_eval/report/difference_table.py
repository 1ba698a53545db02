"""The table `differences`: what more thinking changes, paired on the same questions."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from qwen3_eval.budget import format_budget
from qwen3_eval.report.cells import columns_of, difference_of_tables
from qwen3_eval.report.counts import format_counts, say_counts
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.report.tables import format_difference, format_interval, format_p
from qwen3_eval.report.task_cells import Point, TaskCells
from qwen3_eval.stats.paired import holm, smallest_difference
from qwen3_eval.types import NON_THINKING, THINKING

DIFFERENCE_COLUMNS = (
    "task", "comparison", "from_mode", "from_budget", "to_mode", "to_budget", "difference", "stderr",
    "ci_low", "ci_high", "p_value", "p_holm", "n_better", "n_worse", "n_equal", "n_questions", "n_repeats",
    "smallest_difference",
)  # fmt: skip
"""`difference` is the score at `to` minus that at `from`, over the questions that both scored.

`comparison` is "next" budget, "largest" budget or "thinking" against non-thinking. `p_holm` is adjusted over
the task's comparisons. `smallest_difference` is what these questions would have shown in 4 of 5 such runs.
"""


def tabulate_differences(tasks: Sequence[TaskCells]) -> ReportTable | None:
    """Returns each task's budgets against the next, against the largest, and against non-thinking.

    None where no task has two points to compare.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for task in tasks:
        family = list(_compare_points(task))
        adjusted = holm([row["p_value"] for row in family])
        rows += [row | {"p_holm": float(p)} for row, p in zip(family, adjusted, strict=True)]
    if not rows:
        return None
    frame = pd.DataFrame(rows, columns=list(DIFFERENCE_COLUMNS))
    caption = (
        f"{say_counts(frame)} Score at the second point minus score at the first, paired on the questions "
        "that both scored; 95 % t intervals over questions. p: sign-flip test, Holm-corrected over a task's "
        "comparisons. Better, worse: questions whose mean rose or fell. Could show: the smallest "
        "difference that 4 of 5 such runs would have shown, before the correction."
    )
    headings = ("task", "points", "difference", "95 % interval", "p (Holm)", "better", "worse", "could show",
                "questions")  # fmt: skip
    cells = [_format_row(row) for row in rows]
    title = "Differences between budgets and modes"
    return ReportTable("differences", title, caption, frame, headings, cells, n_words=2)


def _compare_points(task: TaskCells) -> Iterator[dict[str, Any]]:
    for comparison, start, end in _list_pairs(list(task.scores)):
        found = difference_of_tables(task.scores[end], task.scores[start], task.about)
        if found is None:
            continue
        yield {
            "task": task.name,
            "comparison": comparison,
            "from_mode": start[0],
            "from_budget": start[1],
            "to_mode": end[0],
            "to_budget": end[1],
            **columns_of(found),
            "n_questions": found.n_questions,
            "n_repeats": max(len(t.columns) for point in (start, end) for t in task.scores[point].values()),
            "smallest_difference": smallest_difference(found),
        }


def _list_pairs(points: Sequence[Point]) -> list[tuple[str, Point, Point]]:
    """Returns the pairs of a task's points; that of the two largest budgets once, among neighbours."""
    budgets = [point for point in points if point[0] == THINKING]
    pairs = [("next", a, b) for a, b in pairwise(budgets)]
    pairs += [("largest", budget, budgets[-1]) for budget in budgets[:-2]]
    without = [point for point in points if point[0] == NON_THINKING]
    return pairs + [("thinking", point, budget) for point in without for budget in budgets]


def _format_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    start, end = (_name_point((row[f"{side}_mode"], row[f"{side}_budget"])) for side in ("from", "to"))
    least = row["smallest_difference"]
    return (
        row["task"],
        f"{start} → {end}",
        format_difference(row["difference"]),
        format_interval(row["ci_low"], row["ci_high"]),
        format_p(row["p_holm"]),
        f"{row['n_better']:,}",
        f"{row['n_worse']:,}",
        f"{least:.3f}" if least <= 1 else "–",
        format_counts(row["n_questions"], row["n_repeats"]),
    )


def _name_point(point: Point) -> str:
    return format_budget(point[1]) if point[0] == THINKING else point[0]
