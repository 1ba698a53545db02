"""One cell of the records (a task or group, a mode, a budget) as scores by question and repeat."""

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen3_eval.stats.estimate import question_means
from qwen3_eval.stats.paired import Difference, paired_difference, paired_macro

if TYPE_CHECKING:
    import pandas as pd

ScoreTables = Mapping[str, "pd.DataFrame"]
"""The scores of a cell, as `score_table` has them, by the groups that count alike; one, "", if none do."""


def score_table(cell: "pd.DataFrame", column: str = "score") -> "pd.DataFrame":
    """Returns the scores of a cell, errors left out: the index are sample ids, the columns repeats.

    NaN where a repeat has no score. Ids and repeats rise. `column` names another number of the records, as
    "thinking_tokens", or a text, as "extracted", which is None where there is none. Raises ValueError where
    the cell has a question's repeat twice.
    """
    import pandas as pd

    scored = cell[cell["outcome"] != "error"]
    rows, ids = pd.factorize(scored["sample_id"], sort=True)
    columns, repeats = pd.factorize(scored["repeat"], sort=True)
    places = rows * len(repeats) + columns
    if len(places) and np.bincount(places).max() > 1:
        raise ValueError("a cell holds two records of one question and repeat")
    values = scored[column]
    if values.dtype.kind in "biuf":
        table = np.full(len(ids) * len(repeats), np.nan)
        table[places] = values
    else:
        table = np.full(len(ids) * len(repeats), None, dtype=object)
        table[places] = [value if isinstance(value, str) else None for value in values.tolist()]
    index, names = pd.Index(ids, name="sample_id"), pd.Index(repeats, name="repeat")
    return pd.DataFrame(table.reshape(len(ids), len(repeats)), index, names, dtype=table.dtype)


def clusters_of(sample_ids: Sequence[str], task: Mapping[str, Any]) -> list[Hashable] | None:
    """Returns the cluster that each question was drawn with, None where each is its own.

    `task` is what run.json says of the task: where its groups hold `parallel` questions, those of one number
    are one cluster.
    """
    if not task.get("parallel"):
        return None
    return [sample_id.rpartition("/")[2] for sample_id in sample_ids]


def split_parts(records: "pd.DataFrame") -> "pd.DataFrame":
    """Returns a record for each part of each verdict: its score, and the part's name as the group."""
    judged = records[records["parts"] != ""]
    found = [json.loads(text) for text in judged["parts"]]
    repeated = judged.loc[judged.index.repeat([len(parts) for parts in found])]
    pairs = [pair for parts in found for pair in parts.items()]
    return repeated.assign(group=[name for name, _ in pairs], score=[float(score) for _, score in pairs])


def top_group(group: str) -> str:
    """Returns the group that counts alike with others: `STEM` of `STEM/anatomy`."""
    return group.partition("/")[0]


def score_tables(cell: "pd.DataFrame", about: Mapping[str, Any]) -> ScoreTables:
    """Returns the scores of a cell of a whole task as the task averages them, groups by name.

    `about` is what run.json says of the task. A task that averages over "groups" has a table for each of its
    top groups, or of its verdicts' parts; any other has one.
    """
    scored = cell[cell["outcome"] != "error"]
    if about.get("average") != "groups":
        return {"": score_table(scored)} if len(scored) else {}
    parts = split_parts(scored)
    names = parts["group"] if len(parts) else scored["group"].map(top_group)
    by_name = (parts if len(parts) else scored).groupby(names, sort=False)
    return {str(name): score_table(rows) for name, rows in by_name}


def difference_of_cells(a: "pd.DataFrame", b: "pd.DataFrame", about: Mapping[str, Any]) -> Difference | None:
    """Returns how two cells' scores differ, a - b, on the questions that both scored; None without any.

    `a` and `b` are the records of one task in one mode and at one budget each, perhaps of two runs; `about`
    is what run.json says of the task, whose average the difference is of. A question counts as better where
    its mean over repeats, and over its verdicts' parts, is higher in a.
    """
    return difference_of_tables(score_tables(a, about), score_tables(b, about), about)


def difference_of_tables(a: ScoreTables, b: ScoreTables, about: Mapping[str, Any]) -> Difference | None:
    """Returns what `difference_of_cells` does, of cells that `score_tables` has read."""
    pairs = [_share(a[name], b[name]) for name in a if name in b]
    pairs = [(left, right) for left, right in pairs if len(left)]
    if not pairs:
        return None
    parallel = about.get("parallel")
    if about.get("average") != "groups":
        ((left, right),) = pairs
        got = paired_difference(left, right, clusters_of(left.index.tolist(), about) if parallel else None)
        return got if got.n_questions else None
    ids = [left.index for left, _ in pairs]
    if ids[0].append(ids[1:]).is_unique:
        clusters = [clusters_of(group.tolist(), about) or [] for group in ids] if parallel else None
        got = paired_macro(pairs, clusters)
        return got if got.n_questions else None
    got = paired_macro(pairs, [group.tolist() for group in ids])
    # A question may be in several groups here, and counts once.
    means = [_mean_of_parts([pair[side] for pair in pairs]) for side in (0, 1)]
    once = paired_difference(*_share(*means))
    if not once.n_questions:
        return None
    return replace(
        got, n_questions=once.n_questions, n_better=once.n_better, n_worse=once.n_worse, n_equal=once.n_equal
    )


def columns_of(found: Difference) -> dict[str, float | int]:
    """Returns the columns of a table of differences, in their order."""
    names = ("difference", "stderr", "ci_low", "ci_high", "p_value", "n_better", "n_worse", "n_equal")
    return {name: getattr(found, name) for name in names}


def _share(a: "pd.DataFrame", b: "pd.DataFrame") -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Returns the rows of the questions that both hold, in the same order."""
    if a.index.equals(b.index):
        return a, b
    shared = a.index.intersection(b.index)
    return a.loc[shared], b.loc[shared]


def _mean_of_parts(tables: Sequence["pd.DataFrame"]) -> "pd.DataFrame":
    """Returns each question's mean over its parts, (n_questions, 1)."""
    import pandas as pd

    means = [pd.Series(question_means(table), table.index) for table in tables]
    return pd.concat(means).groupby(level=0).mean().to_frame()
