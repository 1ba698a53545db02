"""The cells of a task, read once for all the tables that are made of them."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qwen3_eval.report.cells import ScoreTables, clusters_of, score_table, score_tables
from qwen3_eval.stats.bootstrap import Interval
from qwen3_eval.stats.curve import score_per_1k_tokens
from qwen3_eval.stats.estimate import question_means
from qwen3_eval.stats.macro_curve import macro_rows
from qwen3_eval.types import MODES, THINKING

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Point = tuple[str, float]
"""Mode and budget."""

_NEEDED = ("task", "group", "sample_id", "mode", "budget", "repeat", "score", "outcome", "extracted",
           "thinking_tokens", "parts")  # fmt: skip


@dataclass(frozen=True)
class TaskCells:
    """`records` and `scores` of each (mode, budget), thinking before non-thinking and budgets rising.

    `about` is what run.json says of the task. Points without any score are left out.
    """

    name: str
    about: Mapping[str, Any]
    records: Mapping[Point, "pd.DataFrame"]
    scores: Mapping[Point, ScoreTables]

    @property
    def macro(self) -> bool:
        """Whether groups, or parts of verdicts, count alike in the task's score."""
        return self.about.get("average") == "groups"

    @property
    def budgets(self) -> list[float]:
        """The budgets of thinking mode, rising."""
        return [budget for mode, budget in self.scores if mode == THINKING]

    @cached_property
    def rows(self) -> "QuestionRows":
        """The questions' mean scores at every point."""
        return QuestionRows.of(self.scores, self.about)

    @cached_property
    def rates(self) -> dict[Point, Interval]:
        """The score at each budget for each 1,000 thinking tokens really used, where some were used."""
        rates = {
            (mode, budget): self._rate((mode, budget)) for mode, budget in self.scores if mode == THINKING
        }
        return {point: rate for point, rate in rates.items() if rate is not None}

    def _rate(self, point: Point) -> Interval | None:
        scores = self.rows.means[point]
        scored = np.flatnonzero(~np.isnan(scores))
        used = score_table(self.records[point], "thinking_tokens")
        places = used.index.get_indexer(self.rows.sample_ids.take(scored))
        times = np.bincount(places)  # a question with parts has several rows, and its tokens count once
        tokens = (question_means(used)[places] / times[places]) * (len(places) / np.count_nonzero(times))
        scores, clusters = scores[scored], self.rows.clusters
        if self.macro:
            scores = macro_rows(scores[:, None], [self.rows.groups[i] for i in scored])[:, 0]
        return score_per_1k_tokens(scores, tokens, clusters and [clusters[i] for i in scored])


@dataclass(frozen=True)
class QuestionRows:
    """A row for each question, or where groups count alike each question of each group or part.

    `means` has a column (n_rows,) for each point, NaN where the question has no score.
    """

    groups: Sequence[str]
    sample_ids: "pd.Index[str]"
    clusters: list[Hashable] | None
    means: Mapping[Point, Floats]

    @classmethod
    def of(cls, scores: Mapping[Point, ScoreTables], about: Mapping[str, Any]) -> "QuestionRows":
        import pandas as pd

        names = list(dict.fromkeys(name for tables in scores.values() for name in tables))
        groups: list[str] = []
        ids: list[pd.Index[str]] = []
        means: dict[Point, list[Floats]] = {point: [] for point in scores}
        for name in names:
            held = {point: tables[name] for point, tables in scores.items() if name in tables}
            index = next(iter(held.values())).index
            for table in held.values():
                if not index.equals(table.index):
                    index = index.union(table.index)
            for point in scores:
                table = (
                    held[point] if point in held else pd.DataFrame(index=index[:0], columns=[0], dtype=float)
                )
                means[point].append(
                    question_means(table if table.index.equals(index) else table.reindex(index))
                )
            groups += [name] * len(index)
            ids.append(index)
        every = ids[0].append(ids[1:]) if ids else pd.Index([], dtype=object)
        clusters = clusters_of(every.tolist(), about)
        if clusters is None and every.has_duplicates:
            clusters = [*every.tolist()]  # verdicts with parts: one question is in several groups
        return cls(groups, every, clusters, {point: np.concatenate(of) for point, of in means.items()})


def read_task_cells(records: "pd.DataFrame", tasks: Mapping[str, Mapping[str, Any]]) -> Iterator[TaskCells]:
    """Yields each task's cells, in order of appearance; `tasks` is what run.json says of each."""
    for name, of_task in records[list(_NEEDED)].groupby("task", sort=False):
        about = tasks.get(str(name), {})
        found: dict[Point, pd.DataFrame] = {
            (str(mode), float(budget)): cell  # type: ignore[arg-type]  # the keys are what the columns hold
            for (mode, budget), cell in of_task.groupby(["mode", "budget"], sort=False)
        }
        order = sorted(found, key=lambda point: (MODES.index(point[0]), point[1]))
        scores = {point: score_tables(found[point], about) for point in order}
        scored = [point for point in order if scores[point]]
        yield TaskCells(str(name), about, {p: found[p] for p in scored}, {p: scores[p] for p in scored})
