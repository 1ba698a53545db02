"""One cell of the records (a task or group, a mode, a budget) as scores by question and repeat."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def score_table(cell: "pd.DataFrame") -> "pd.DataFrame":
    """Returns the scores of a cell, errors left out: the index are sample ids, the columns repeats.

    NaN where a repeat has no score.
    """
    scored = cell[cell["outcome"] != "error"]
    return scored.pivot(index="sample_id", columns="repeat", values="score")


def clusters_of(sample_ids: Sequence[str], task: Mapping[str, Any]) -> list[Hashable] | None:
    """Returns the cluster that each question was drawn with, None where each is its own.

    `task` is what run.json says of the task: where its groups hold `parallel` questions, those of one number
    are one cluster.
    """
    if not task.get("parallel"):
        return None
    return [sample_id.rpartition("/")[2] for sample_id in sample_ids]
