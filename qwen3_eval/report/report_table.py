"""One table of a report, for machines and for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ReportTable:
    """`frame` is written as NAME.csv and NAME.parquet; `headings` and `cells` are the same as people read it.

    `caption` states what the numbers rest on: questions, repeats, interval, correction. The first `n_words`
    columns of the cells are words, the others numbers, which stand to the right.
    """

    name: str
    title: str
    caption: str
    frame: "pd.DataFrame"
    headings: Sequence[str]
    cells: Sequence[Sequence[str]]
    n_words: int = 1
