"""What every figure draws: the points of curves, the series that they form, and where these stand."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from qwen3_eval.budget import format_budget
from qwen3_eval.types import THINKING

if TYPE_CHECKING:
    import pandas as pd

POINT_COLUMNS = (
    "run", "task", "mode", "budget", "score", "ci_low", "ci_high", "thinking_tokens_mean", "forced",
    "truncated", "no_answer", "error", "n_questions", "n_repeats",
)  # fmt: skip
"""A row for each (run, task, mode, budget): score, interval and shares in 0-1, mean tokens per record."""

REFERENCE_COLUMNS = ("label", "task", "mode", "budget", "score")
"""Published scores that are drawn beside measured ones; `label` says whose they are."""

END_GAP = 1.4
"""How many octaves `inf` stands right of the largest finite budget, and 0 left of the smallest."""


def points_of(summary: "pd.DataFrame", run: str = "") -> "pd.DataFrame":
    """Returns `POINT_COLUMNS` of the whole tasks of a summary; those of several runs are concatenated."""
    whole = summary[summary["group"] == ""].assign(run=run)
    return whole[list(POINT_COLUMNS)].reset_index(drop=True)


def as_dicts(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """Returns the rows by column name."""
    return frame.to_dict(orient="records")  # type: ignore[return-value]  # keys are our column names


def place_on_log_axis(values: Iterable[float]) -> dict[float, float]:
    """Returns log2 of each value, by rising value; `inf` and 0, which have none, stand `END_GAP` outside."""
    found = sorted(set(values))
    places = {value: math.log2(value) for value in found if 0 < value < math.inf}
    low, high = min(places.values(), default=0.0), max(places.values(), default=0.0)
    if 0 in found:
        places = {0.0: low - END_GAP} | places
    if math.inf in found:
        places[math.inf] = high + (END_GAP if len(places) else 0.0)
    return places


def number_names(names: Iterable[str]) -> Mapping[str, int]:
    """Returns each name's number, in order of appearance."""
    return {name: number for number, name in enumerate(dict.fromkeys(names))}


@dataclass(frozen=True)
class Series:
    """Numbers of the tasks, runs and published labels, which are the keys t0, r0 and p0 of the legend.

    Of one run, a series is a task; of several, it is a run, and each task has an axis.
    """

    tasks: Mapping[str, int]
    runs: Mapping[str, int]
    labels: Mapping[str, int]

    @classmethod
    def of(cls, points: "pd.DataFrame", reference: "pd.DataFrame | None") -> "Series":
        labels = {} if reference is None else number_names(reference["label"])
        return cls(number_names(points["task"]), number_names(points["run"]), labels)

    @property
    def by_run(self) -> bool:
        return len(self.runs) > 1

    def number(self, task: str, run: str) -> int:
        return self.runs[run] if self.by_run else self.tasks[task]

    def nudge(self, number: int) -> float:
        """Returns how many octaves that series steps aside, so that bars do not hide each other."""
        n = len(self.runs if self.by_run else self.tasks)
        return min(0.05, 0.36 / n) * (number - (n - 1) / 2)

    @property
    def panels(self) -> list[tuple[str, str]]:
        """The (key, task) of each axis: one, ("", ""), unless there are several runs and several tasks."""
        if not self.by_run or len(self.tasks) < 2:
            return [("", "")]
        return [(f"t{number}", task) for task, number in self.tasks.items()]


@dataclass(frozen=True)
class Axis:
    """Where budgets, token counts or tasks stand, and their names. At `split` a dotted line parts them."""

    title: str
    places: Mapping[Any, float]
    names: Sequence[str]
    split: Sequence[float] = ()

    @property
    def by_task(self) -> bool:
        return self.title == "task"


def read_budget_axis(points: "pd.DataFrame", reference: "pd.DataFrame | None", series: Series) -> Axis:
    """Returns the axis of budgets, or of tasks where nothing was asked with thinking."""
    if THINKING not in set(points["mode"]):
        return Axis(
            "task", {task: float(number) for task, number in series.tasks.items()}, list(series.tasks)
        )
    budgets = [*points["budget"], *([] if reference is None else reference["budget"])]
    return name_log_axis("thinking budget (tokens, log scale)", budgets)


def name_log_axis(title: str, values: Sequence[float]) -> Axis:
    """Returns an axis with these values in its ticks, `inf` and 0 parted from the others."""
    places = place_on_log_axis(values)
    ordered = list(places.items())
    split = [
        (left + right) / 2 for (low, left), (high, right) in pairwise(ordered) if low == 0 or math.isinf(high)
    ]
    return Axis(title, places, [format_budget(value) for value in places], split)
