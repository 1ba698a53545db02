"""The table `repeats`: what several answers to a question are worth, as their mean, a vote, or the best."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qwen3_eval.budget import format_budget
from qwen3_eval.report.cells import clusters_of, score_table
from qwen3_eval.report.counts import format_counts, say_counts
from qwen3_eval.report.efficiency_table import SHARES
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.report.tables import format_score, format_share
from qwen3_eval.report.task_cells import Floats, Point, TaskCells
from qwen3_eval.stats.estimate import INTERVAL, Estimate, estimate, estimate_macro
from qwen3_eval.stats.pass_at_k import choose_ks, question_pass_at_k
from qwen3_eval.stats.repeats import question_maj_at_k

if TYPE_CHECKING:
    import pandas as pd

REPEAT_COLUMNS = (
    "task", "mode", "budget", "measure", "k", "score", "stderr", "ci_low", "ci_high", "n_questions",
    "n_repeats",
)  # fmt: skip
"""`measure` is "avg", "maj" or "pass": the mean of k answers, their vote, or whether one of them is right."""

OfQuestions = Callable[["pd.DataFrame"], Floats]
"""From a table of scores, (n_questions, n_repeats), to what each question counts, (n_questions, 1)."""


def tabulate_repeats(tasks: Sequence[TaskCells], summary: "pd.DataFrame", seed: int) -> ReportTable | None:
    """Returns avg@n, maj@k and pass@k of each point whose questions were asked several times; else None.

    The frame has every k that is a power of two, and n; people read those at n. A vote is among extracted
    answers, alike where their texts are.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    cells = []
    for task in tasks:
        mine = summary[(summary["task"] == task.name) & (summary["group"] == "")]
        for cell in mine.to_dict(orient="records"):
            n, point = int(cell["n_repeats"]), (cell["mode"], cell["budget"])
            if n < 2:
                continue
            place = {"task": task.name, "mode": point[0], "budget": point[1], "n_repeats": n}
            found = [place | row for row in _measure_point(task, point, n, cell, seed)]
            rows += found
            cells.append(_format_row(cell, {row["measure"]: row for row in found}))
    if not rows:
        return None
    frame = pd.DataFrame(rows, columns=list(REPEAT_COLUMNS))
    caption = (
        f"{say_counts(frame[frame['measure'] == 'avg'])} {INTERVAL}. avg@n: the mean of the n answers. "
        "maj@n: the score of the answer that most of them gave, alike where the extracted texts are; ties "
        "count by their mean. pass@n: whether one of them is right. maj and pass leave out questions "
        "with fewer than n scored answers."
    )
    headings = ("task", "mode", "budget", "avg@n", "maj@n", "pass@n", "forced", "truncated", "no answer",
                "error", "questions × n")  # fmt: skip
    return ReportTable("repeats", "Several answers to a question", caption, frame, headings, cells, n_words=3)


def _measure_point(
    task: TaskCells, point: Point, n: int, cell: Mapping[Any, Any], seed: int
) -> Iterator[dict[str, Any]]:
    yield {"measure": "avg", "k": n} | {
        name: cell[name] for name in ("score", "stderr", "ci_low", "ci_high", "n_questions")
    }
    texts = score_table(task.records[point], "extracted")
    for k in choose_ks(n)[1:]:

        def vote(table: "pd.DataFrame", k: int = k) -> Floats:
            answers = texts.reindex(index=table.index, columns=table.columns)
            return question_maj_at_k(answers.to_numpy().tolist(), table, k, seed)

        def best(table: "pd.DataFrame", k: int = k) -> Floats:
            return question_pass_at_k(table, k)

        for measure, of_questions in (("maj", vote), ("pass", best)):
            got = _estimate(task, point, k, of_questions)
            yield {"measure": measure, "k": k, "score": got.score, "stderr": got.stderr, "ci_low": got.ci_low,
                   "ci_high": got.ci_high, "n_questions": got.n_questions}  # fmt: skip


def _estimate(task: TaskCells, point: Point, k: int, of_questions: OfQuestions) -> Estimate:
    """Estimates the mean over questions as the task averages them; without groups of fewer repeats than k."""
    tables = [table for table in task.scores[point].values() if len(table.columns) >= k]
    counted = [of_questions(table) for table in tables]
    if not task.macro:
        return estimate(counted[0]) if counted else estimate(_nothing())
    ids = [table.index.tolist() for table in tables]
    n_questions = len({sample_id for group in ids for sample_id in group})
    if n_questions < sum(map(len, ids)):  # verdicts with parts: one question is in several groups
        return replace(estimate_macro(counted, ids), n_questions=n_questions)
    return estimate_macro(counted, [clusters_of(group, task.about) or group for group in ids])


def _nothing() -> Floats:
    import numpy as np

    return np.zeros((0, 1))


def _format_row(cell: Mapping[Any, Any], at_n: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    return (
        cell["task"],
        cell["mode"],
        "–" if cell["budget"] == 0 else format_budget(cell["budget"]),
        *(
            f"{format_score(row['score'])} ({row['ci_low']:.2f} – {row['ci_high']:.2f})"
            for row in (at_n["avg"], at_n["maj"], at_n["pass"])
        ),
        *(format_share(cell[share]) for share in SHARES),
        format_counts(cell["n_questions"], cell["n_repeats"]),
    )
