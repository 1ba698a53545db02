"""From the records of a finished run to what every option would have given on each of its rollouts."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen3_eval.policy.policies import NO_ANSWER, Floats, Grid, Ints
from qwen3_eval.report.cells import clusters_of, top_group
from qwen3_eval.types import NON_THINKING, THINKING

if TYPE_CHECKING:
    import pandas as pd

KEY = ["sample_id", "repeat"]


def read_grid(records: "pd.DataFrame", about: Mapping[str, Any]) -> Grid | None:
    """Returns the grid of one task's records, None where no rollout has a score at every option.

    `about` is what run.json says of the task. A rollout without a score at some option, by an error or
    because the run is unfinished, is left out whole, and counted: all policies are judged on the same
    questions. Non-thinking is an option where the records have it; its score and tokens are the mean of the
    question's answers, since they belong to no rollout.
    """
    thinking = records[records["mode"] == THINKING]
    direct = records[(records["mode"] == NON_THINKING) & (records["outcome"] != "error")]
    budgets = np.sort(thinking["budget"].unique())
    n_scored = (thinking["outcome"] != "error").groupby([thinking[key] for key in KEY]).transform("sum")
    complete = n_scored == len(budgets)
    if (records["mode"] == NON_THINKING).any():
        complete &= thinking["sample_id"].isin(direct["sample_id"])
    rows = thinking[complete].sort_values([*KEY, "budget"], kind="stable")
    if rows.empty:
        return None
    shape = (-1, len(budgets))
    firsts = rows.iloc[:: len(budgets)]  # of each rollout, the row of its smallest budget
    questions = firsts.drop_duplicates("sample_id")
    names = questions["sample_id"].tolist()
    weighing = _Weighing.of(questions, about)

    def table(column: str) -> Floats:
        values: Floats = rows[column].to_numpy(dtype=float).reshape(shape)
        return values

    grid = Grid(
        options=tuple(budgets.tolist()),
        sample_ids=tuple(names),
        question=_number(firsts["sample_id"]),
        score=weighing.score(rows).reshape(shape),
        thinking=table("thinking_tokens"),
        answer=table("answer_tokens"),
        ended=~rows["forced"].to_numpy(dtype=bool).reshape(shape),
        extracted=_number(rows["extracted"].where(rows["outcome"] != "no_answer")).reshape(shape),
        weight=weighing.weight,
        stratum=_number(weighing.strata),
        cluster=_number(clusters_of(names, about) or names),
        group=tuple(questions["group"]),
        one_trace=bool((rows["rollout"].to_numpy().reshape(shape) == firsts[["rollout"]].to_numpy()).all()),
        n_left_out=len(thinking[KEY].drop_duplicates()) - len(firsts),
    )
    return _add_direct(grid, direct.assign(score=weighing.score(direct))) if len(direct) else grid


def join_grids(grids: Mapping[str, Grid]) -> Grid:
    """Returns several tasks as one in which each counts alike; they must have the same options.

    A question's group is then its task, and its group within that.
    """
    named, parts = list(grids.items()), list(grids.values())

    def shifted(name: str) -> Ints:
        labels = [getattr(grid, name) for grid in parts]
        starts = np.cumsum([0, *(1 + int(numbers.max()) for numbers in labels[:-1])])
        joined: Ints = np.concatenate(
            [numbers + start for numbers, start in zip(labels, starts, strict=True)]
        )
        return joined

    def joined(name: str) -> Any:
        return np.concatenate([getattr(grid, name) for grid in parts])

    return Grid(
        options=parts[0].options,
        sample_ids=tuple(f"{task}/{sample_id}" for task, grid in named for sample_id in grid.sample_ids),
        question=shifted("question"),
        score=joined("score"),
        thinking=joined("thinking"),
        answer=joined("answer"),
        ended=joined("ended"),
        extracted=joined("extracted"),
        weight=joined("weight") / len(parts),
        stratum=shifted("stratum"),
        cluster=shifted("cluster"),
        group=tuple(f"{task}/{group}".rstrip("/") for task, grid in named for group in grid.group),
        one_trace=all(grid.one_trace for grid in parts),
        n_left_out=sum(grid.n_left_out for grid in parts),
    )


def _number(labels: "Sequence[Any] | pd.Series") -> Ints:
    """Returns a number for each label from 0 on, in their order, the same where they are; -1 for none."""
    import pandas as pd

    return pd.factorize(pd.Series(labels, dtype=object))[0].astype(np.int64)


def _add_direct(grid: Grid, direct: "pd.DataFrame") -> Grid:
    """Returns the grid with non-thinking as its first option, by the scored records of that mode."""
    means = direct.groupby("sample_id")[["score", "answer_tokens"]].mean().loc[list(grid.sample_ids)]
    score, answer = means.to_numpy(dtype=float)[grid.question].T
    nothing = np.zeros(len(score))
    return replace(
        grid,
        options=(0.0, *grid.options),
        score=np.column_stack([score, grid.score]),
        thinking=np.column_stack([nothing, grid.thinking]),
        answer=np.column_stack([answer, grid.answer]),
        ended=np.column_stack([nothing == 0, grid.ended]),
        extracted=np.column_stack([np.full(len(score), NO_ANSWER), grid.extracted]),
    )


@dataclass(frozen=True)
class _Weighing:
    """How a task averages: each question's weight and stratum, and the weight of each part of its verdict.

    The mean of `score` with these weights is the task's score, as `estimate_cells` has it.
    """

    weight: Floats
    strata: Sequence[str]
    parts: Mapping[str, float]

    @classmethod
    def of(cls, questions: "pd.DataFrame", about: Mapping[str, Any]) -> "_Weighing":
        """Reads it from one record of each question."""
        n = len(questions)
        if about.get("average") != "groups":
            return cls(np.full(n, 1 / n), [""] * n, {})
        names = [tuple(json.loads(text)) if text else () for text in questions["parts"]]
        judged = Counter(name for of_one in names for name in of_one)
        if judged:
            parts = {name: 1 / (len(judged) * count) for name, count in judged.items()}
            weight = np.array([sum(parts[name] for name in of_one) for of_one in names])
            return cls(weight, ["/".join(of_one) for of_one in names], parts)
        tops = [top_group(group) for group in questions["group"]]
        sizes = Counter(tops)
        return cls(np.array([1 / (len(sizes) * sizes[top]) for top in tops]), tops, {})

    def score(self, rows: "pd.DataFrame") -> Floats:
        """Returns each record's score, (n_records,): where verdicts have parts, their weighted mean."""
        if not self.parts:
            return rows["score"].to_numpy(dtype=float)
        scores = []
        for text in rows["parts"]:
            found = {name: score for name, score in json.loads(text or "{}").items() if name in self.parts}
            whole = sum(self.parts[name] for name in found)
            scores.append(
                sum(self.parts[name] * score for name, score in found.items()) / whole if whole else np.nan
            )
        return np.array(scores)
