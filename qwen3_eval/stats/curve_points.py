"""The scores that a curve is measured on: whole questions, their budgets, their clusters."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qwen3_eval.stats.bootstrap import Interval
from qwen3_eval.stats.estimate import CONFIDENCE, clustered_stderr
from qwen3_eval.stats.paired import SAME

Floats = NDArray[np.float64]
Clusters = Sequence[Hashable] | None


@dataclass(frozen=True)
class CurvePoints:
    """The questions that have a score at every budget, (n_questions, n_budgets), and their clusters."""

    scores: Floats
    budgets: Floats
    clusters: list[Hashable] | None
    labels: NDArray[np.int64]
    finite: NDArray[np.bool_]
    """Which budgets have a place on the log2 axis."""

    @classmethod
    def of(cls, scores: ArrayLike, budgets: Sequence[float], clusters: Clusters) -> "CurvePoints":
        """Returns the whole questions. Raises ValueError on other shapes, or budgets that do not rise."""
        values, places = np.asarray(scores, dtype=float), np.asarray(budgets, dtype=float)
        if values.ndim != 2 or places.ndim != 1 or values.shape[1] != len(places):
            raise ValueError(
                f"scores has shape {values.shape} and there are {places.size} budgets; "
                "(n_questions, n_budgets) is asked for"
            )
        if (np.diff(places) <= 0).any() or not (places >= 0).all():
            raise ValueError(f"budgets are {list(budgets)}; they must rise, from 0 or above")
        if clusters is not None and len(clusters) != len(values):
            raise ValueError(f"clusters names {len(clusters)} questions; scores holds {len(values)}")
        whole = ~np.isnan(values).any(axis=1)
        kept = (
            None
            if clusters is None
            else [label for label, there in zip(clusters, whole, strict=True) if there]
        )
        numbers = {label: number for number, label in enumerate(dict.fromkeys(kept or []))}
        labels = np.arange(whole.sum()) if kept is None else np.array([numbers[label] for label in kept], int)
        return cls(values[whole], places, kept, labels, (places > 0) & np.isfinite(places))

    @property
    def doublings(self) -> Floats:
        """log2 of the budgets on the log axis."""
        logs: Floats = np.log2(self.budgets[self.finite])
        return logs

    @property
    def usable(self) -> bool:
        """Whether there is a curve: a question, and two budgets on the log axis."""
        return len(self.scores) > 0 and int(self.finite.sum()) >= 2

    def mean_of(self, of_questions: Floats, most: float) -> Interval:
        """Returns the mean of a number per question, (n_questions,), with its t interval over clusters.

        `most` is how far one question can lie from another's 0. Where all are the same, which is no
        certainty, the interval is Wilson's after so many draws without one that differs, in that unit.
        """
        from scipy.special import stdtrit

        value = float(of_questions.mean())
        stderr, n_units = clustered_stderr(of_questions, self.labels)
        if n_units < 2:
            return Interval(value, np.nan, np.nan)
        t = float(stdtrit(n_units - 1, (1 + CONFIDENCE) / 2))
        margin = t * stderr if stderr > SAME else most * t**2 / (n_units + t**2)
        return Interval(value, value - margin, value + margin)
