"""The estimates of a summary: of each task, its groups and its verdicts' parts, at every budget."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qwen3_eval.report.cells import clusters_of, split_parts, top_group
from qwen3_eval.stats.estimate import Estimate, estimate, estimate_macro
from qwen3_eval.types import MODES

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Reduce = Callable[[Floats], Floats]

FLAGS = ("forced", "truncated", "no_answer", "error")
TOKENS = ("thinking_tokens", "answer_tokens")
_NEEDED = ("task", "group", "sample_id", "mode", "budget", "repeat", "score", "outcome", "parts",
           "forced", "truncated", *TOKENS)  # fmt: skip


@dataclass(frozen=True)
class CellEstimate:
    """A row of the summary; group "" is the whole task.

    `means` has the shares `FLAGS` of all records, and the means `TOKENS` of those without error, NaN where
    there are none. `estimates` has one for each way of reducing the scores.
    """

    task: str
    group: str
    mode: str
    budget: float
    means: Mapping[str, float]
    estimates: Sequence[Estimate]


def estimate_cells(
    records: "pd.DataFrame",
    tasks: Mapping[str, Mapping[str, Any]],
    reduces: Sequence[Reduce] = (lambda scores: scores,),
) -> Iterator[CellEstimate]:
    """Yields each row of the summary, in its order, with an estimate for each of `reduces`.

    A member of `reduces` turns the scores of a cell, (n_questions, n_repeats) with NaN where there is none,
    into what is estimated of each question, (n_questions, n). `tasks` is as `summarize` takes it.
    """
    for name, of_task in records[list(_NEEDED)].groupby("task", sort=False):
        task, about = str(name), tasks.get(str(name), {})
        whole, parts = _Rows.of(of_task), _Rows.of(split_parts(of_task))
        scores = [_Scores.of(whole, point, reduces) for point in range(len(whole.points))]
        in_parts = {p: _Scores.of(parts, n, reduces) for n, p in enumerate(parts.points)}
        for group, members in _list_groups(whole.groups):
            for point, (mode, budget) in enumerate(whole.points):
                if not whole.counts[members, point].any():
                    continue
                if group or about.get("average") != "groups":
                    got = scores[point].estimate(members)
                elif (mode, budget) in in_parts and in_parts[mode, budget].rows:
                    got = in_parts[mode, budget].estimate_parts()
                else:
                    got = scores[point].estimate_macro(whole.groups, _number_clusters(whole.ids, about))
                yield CellEstimate(task, group, mode, budget, whole.mean(members, point), got)
        for number, part in enumerate(parts.groups):
            for point, (mode, budget) in enumerate(parts.points):
                if parts.counts[number, point].any():
                    got = in_parts[mode, budget].estimate([number])
                    yield CellEstimate(task, part, mode, budget, parts.mean([number], point), got)


def _list_groups(paths: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Returns "" and each group with the numbers of the `paths` inside it, in order of appearance.

    The path `STEM/anatomy` counts for the groups `STEM` and `STEM/anatomy`, "" for the whole alone.
    """
    inside: dict[str, list[int]] = {"": list(range(len(paths)))}
    for number, path in enumerate(paths):
        steps = path.split("/") if path else []
        for i in range(len(steps)):
            inside.setdefault("/".join(steps[: i + 1]), []).append(number)
    return list(inside.items())


def _number_clusters(ids: Sequence[str], about: Mapping[str, Any]) -> Ints | None:
    """Returns the cluster of each question as a number, None where each is its own."""
    clusters = clusters_of(ids, about)
    if clusters is None:
        return None
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
    return np.array([numbers[cluster] for cluster in clusters])


@dataclass(frozen=True)
class _Rows:
    """The records of a task as numbers: the group, question, repeat and point of each, and its score.

    `points` are (mode, budget), thinking before non-thinking, budgets rising; `counts` is
    (n_groups, n_points), and `sums` (n_groups, n_points) for each of `FLAGS` and `TOKENS`.
    """

    groups: Sequence[str]
    ids: Sequence[str]
    points: Sequence[tuple[str, float]]
    group: Ints
    question: Ints
    repeat: Ints
    point: Ints
    score: Floats
    scored: NDArray[np.bool_]
    counts: Ints
    sums: Mapping[str, Floats]

    @classmethod
    def of(cls, records: "pd.DataFrame") -> "_Rows":
        import pandas as pd

        group, groups = pd.factorize(records["group"])
        question, ids = pd.factorize(records["sample_id"])
        repeat, _ = pd.factorize(records["repeat"], sort=True)
        mode, modes = pd.factorize(records["mode"])
        budget, budgets = pd.factorize(records["budget"])
        found = [(int(m), int(b)) for m, b in {*zip(mode.tolist(), budget.tolist(), strict=True)}]
        found.sort(key=lambda place: (MODES.index(modes[place[0]]), budgets[place[1]]))
        number = np.zeros((len(modes), len(budgets)), dtype=np.int64)
        for i, place in enumerate(found):
            number[place] = i
        point = number[mode, budget]
        outcome = records["outcome"].to_numpy()
        error = outcome == "error"
        shape = (len(groups), len(found))

        def add_up(values: "NDArray[Any] | None" = None) -> Floats:
            sums = np.bincount(group * len(found) + point, values, len(groups) * len(found))
            return sums.reshape(shape).astype(float)

        flags = {"forced": records["forced"], "truncated": records["truncated"],
                 "no_answer": outcome == "no_answer", "error": error}  # fmt: skip
        sums = {name: add_up(np.asarray(values, dtype=float)) for name, values in flags.items()}
        for name in TOKENS:
            sums[name] = add_up(np.where(error, 0.0, records[name].to_numpy(dtype=float)))
        return cls(
            [str(name) for name in groups],
            ids.tolist(),
            [(str(modes[m]), float(budgets[b])) for m, b in found],
            group,
            question,
            repeat,
            point,
            records["score"].to_numpy(dtype=float),
            ~error,
            add_up().astype(np.int64),
            sums,
        )

    def mean(self, members: Sequence[int], point: int) -> dict[str, float]:
        """Returns the shares and token means of the groups `members` at a point."""
        sums = {name: float(sums[members, point].sum()) for name, sums in self.sums.items()}
        n = int(self.counts[members, point].sum())
        n_scored = n - sums["error"]
        return {name: total / n for name, total in sums.items() if name in FLAGS} | {
            name: sums[name] / n_scored if n_scored else float("nan") for name in TOKENS
        }


@dataclass(frozen=True)
class _Scores:
    """What each of the ways of reducing makes of the scores at a point, (n_questions, n), by group.

    `rows` has the rows of each group by its number, and `questions` the number of each row's question.
    """

    reduced: Sequence[Floats]
    rows: Mapping[int, slice]
    questions: Ints

    @classmethod
    def of(cls, records: _Rows, point: int, reduces: Sequence[Reduce]) -> "_Scores":
        here = np.flatnonzero((records.point == point) & records.scored)
        n_ids = len(records.ids)
        keys, rows = np.unique(records.group[here] * n_ids + records.question[here], return_inverse=True)
        repeats, columns = np.unique(records.repeat[here], return_inverse=True)
        scores = np.full((len(keys), len(repeats)), np.nan)
        scores[rows, columns] = records.score[here]
        numbers, starts = np.unique(keys // max(1, n_ids), return_index=True)
        ends = np.append(starts, len(keys))[1:]
        of_group = {int(n): slice(int(a), int(b)) for n, a, b in zip(numbers, starts, ends, strict=True)}
        return cls([reduce(scores) for reduce in reduces], of_group, keys % max(1, n_ids))

    def estimate(self, members: Sequence[int]) -> list[Estimate]:
        """Returns the estimates over all questions of the groups `members`."""
        there = [self.rows[number] for number in members if number in self.rows]
        if len(there) == len(self.rows):
            return [estimate(values) for values in self.reduced]
        return [
            estimate(np.concatenate([values[:0], *(values[rows] for rows in there)]))
            for values in self.reduced
        ]

    def estimate_macro(self, groups: Sequence[str], clusters: Ints | None) -> list[Estimate]:
        """Returns the estimates of the mean of the top groups' scores."""
        tops: dict[str, list[int]] = {}
        for number in self.rows:
            tops.setdefault(top_group(groups[number]), []).append(number)
        members = [
            np.concatenate([np.arange(self.rows[n].start, self.rows[n].stop) for n in numbers])
            for numbers in tops.values()
        ]
        labels = None if clusters is None else [clusters[self.questions[rows]].tolist() for rows in members]
        return [estimate_macro([values[rows] for rows in members], labels) for values in self.reduced]

    def estimate_parts(self) -> list[Estimate]:
        """Returns the estimates of the mean of the parts' scores; a question in several counts once."""
        labels = [self.questions[rows].tolist() for rows in self.rows.values()]
        n_questions = len(np.unique(self.questions))
        found = [
            estimate_macro([values[rows] for rows in self.rows.values()], labels) for values in self.reduced
        ]
        return [replace(got, n_questions=n_questions) for got in found]
