"""Whether a drop is shown to lie within a tolerance, or beyond it; and what it would take to show either."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qwen3_eval.stats.gamma_tail import tail_of_gammas
from qwen3_eval.stats.paired import ALPHA

Floats = NDArray[np.float64]

POWER = 0.8
SAME = 1e-9
"""Drops closer than this are equal: what rounding leaves, and below any step that scores have."""
MAX_VALUES = 1024
MAX_GROWTH = 100
"""More than so many times the questions or repeats at hand is not advice."""


@dataclass(frozen=True)
class Drop:
    """The mean drop over questions, in the units of the scores, with two one-sided tests at a tolerance.

    `p_within` is small where the drop is shown to be below the tolerance, `p_beyond` where it is shown to be
    above it. `low` and `high` are one-sided bounds at 1 - alpha each, so p_within < alpha exactly where
    `high` lies below the tolerance. `spread` is the standard deviation of one question's drop. All but the
    counts are NaN where there is no question. `n_units` counts the independent ones: clusters where named.
    """

    drop: float
    spread: float
    low: float
    high: float
    p_within: float
    p_beyond: float
    n_questions: int
    n_units: int


def measure_drop(
    drops: ArrayLike, tolerance: float, alpha: float | None = ALPHA, span: tuple[float, float] = (-1.0, 1.0),
    strata: Sequence[Hashable] | None = None, clusters: Sequence[Hashable] | None = None,
) -> Drop:  # fmt: skip
    """Returns the mean of `drops` (n_questions,), baseline less candidate, tested at `tolerance`.

    A question's repeats are averaged before; NaN leaves a question out. `span` bounds one question's drop:
    -1 to 1 for scores in 0-1, and narrower where the baseline is a known number. `strata` names each
    question's group where the mean is that of the groups' means, each counting alike; groups are fixed.
    `clusters` names what each question was drawn with. Without `alpha` the bounds, which take longest, are
    NaN. Raises ValueError on other shapes, or drops outside the span.

    The upper bound is the 1 - alpha quantile of the drops' mean under random weights, Dirichlet(1, .., 1),
    with one more question added to them, which drops by the most it can; the lower bound adds one that rises
    by the most it can. p_within is the share of such weights whose mean is at or above the tolerance. So few
    questions that differ, or none, are no certainty: n equal ones have p_within = (1 - tolerance)^n, exactly
    the chance that a fault in one question of 1/tolerance was never met. Right and wrong answers against a
    known number give the exact binomial test (Clopper and Pearson's bound). With many questions it nears
    the t test. Clusters weigh as their questions do, strata are centred on their own means, and the one more
    is of the heaviest kind.

    No distribution is assumed but the span, and repeats beyond the first do not soften the one more question:
    that a task asked 64 times would show a fault is known of its own questions alone.

    Source: the bound, Gaffke 2005, Mathematical Methods of Statistics 14:451-467; Learned-Miller and Thomas
    2019 (arXiv:1905.06208). That it holds for every distribution is proven for two outcomes and conjectured
    beyond; tests count it out over all outcomes of right and wrong pairs, and simulate it.
    """
    every = np.asarray(drops, dtype=float)
    if every.ndim != 1:
        raise ValueError(f"drops has shape {every.shape}; (n_questions,) is asked for")
    for name, labels in (("strata", strata), ("clusters", clusters)):
        if labels is not None and len(labels) != len(every):
            raise ValueError(f"{name} names {len(labels)} questions; drops holds {len(every)}")
    there = ~np.isnan(every)
    values = every[there]
    n = len(values)
    if n == 0:
        nan = float("nan")
        return Drop(nan, nan, nan, nan, nan, nan, 0, 0)
    if values.min() < span[0] - SAME or values.max() > span[1] + SAME:
        raise ValueError(f"drops lie in {values.min():g} to {values.max():g}, outside the span {span}")
    of_strata, of_clusters = _number(strata, there), _number(clusters, there)
    units = _Units.of(
        values,
        np.zeros(n, dtype=np.int64) if of_strata is None else of_strata,
        np.arange(n) if of_clusters is None else of_clusters,
    )
    return Drop(
        units.drop,
        units.spread,
        math.nan if alpha is None else units.bound(span[0], alpha, upper=False),
        math.nan if alpha is None else units.bound(span[1], alpha, upper=True),
        units.p_within(tolerance, span[1]),
        units.p_beyond(tolerance, span[0]),
        n,
        len(units.weights),
    )


@dataclass(frozen=True)
class _Units:
    """What each independent unit adds: its `sums` (n_units,) of drops, and its `weights`, mean about 1."""

    drop: float
    spread: float
    sums: Floats
    weights: Floats

    @classmethod
    def of(cls, values: Floats, strata: NDArray[np.int64], labels: NDArray[np.int64]) -> "_Units":
        sizes = np.bincount(strata)
        weights = len(values) / (len(sizes) * sizes[strata])  # of each question; their mean is 1
        drop = float(np.mean(weights * values))
        means = np.bincount(strata, values) / sizes
        # Within its own stratum a question errs less than it would about the true mean.
        scale = np.sqrt(sizes / np.maximum(sizes - 1, 1)) if len(sizes) > 1 else np.ones(1)
        centred = drop + (values - means[strata]) * scale[strata]
        sums: Floats = np.bincount(labels, weights * centred).astype(float)
        of_units: Floats = np.bincount(labels, weights).astype(float)
        n_units = len(sums)
        errors = sums - drop * of_units
        variance = float(np.sum(errors**2)) / len(values) * n_units / max(1, n_units - 1)
        return cls(drop, math.sqrt(variance), sums, of_units)

    def p_within(self, tolerance: float, most: float) -> float:
        """Returns the chance that the weighted mean is at the tolerance or above, with one more at `most`."""
        return self._tail(tolerance, most)

    def p_beyond(self, tolerance: float, least: float) -> float:
        """Returns the chance that the weighted mean is at the tolerance or below, one more at `least`."""
        return self._tail(tolerance, least, -1)

    def bound(self, extreme: float, alpha: float, *, upper: bool) -> float:
        """Returns where p_within (`upper`), or p_beyond, is alpha."""
        from scipy.optimize import brentq

        means = self.sums / self.weights
        ends = float(min(extreme, means.min())), float(max(extreme, means.max()))
        if ends[1] - ends[0] < SAME:
            return self.drop
        sign = 1 if upper else -1
        found = brentq(lambda at: self._tail(at, extreme, sign) - alpha, *ends, xtol=1e-6, rtol=1e-12)
        return float(found)

    def _tail(self, at: float, extreme: float, sign: int = 1) -> float:
        values, counts = _gather(sign * (self.sums - at * self.weights))
        more = sign * float(self.weights.max()) * (extreme - at)
        return tail_of_gammas(np.append(values, round(more, 12)), np.append(counts, 1.0))


def _gather(values: Floats) -> tuple[Floats, Floats]:
    """Returns the different values and how often each is there; of very many, the nearest of a grid.

    A value between two grid points counts for both, in parts that keep the mean: the spread of a token count
    grows by less than a thousandth.
    """
    found, times = np.unique(np.round(values, 12), return_counts=True)
    counts = times.astype(float)
    if len(found) <= MAX_VALUES:
        return found, counts
    grid = np.linspace(found[0], found[-1], MAX_VALUES)
    places = (found - found[0]) / (grid[1] - grid[0])
    below = np.minimum(places.astype(np.int64), MAX_VALUES - 2)
    part = places - below
    lower, upper = counts * (1 - part), counts * part
    gathered = np.bincount(below, lower, MAX_VALUES) + np.bincount(below + 1, upper, MAX_VALUES)
    return grid, gathered.astype(float)


@dataclass(frozen=True)
class Need:
    """What would show `outcome`, with a chance of `POWER`, were the true drop `drop`.

    So many `questions`, or so many `repeats` of those at hand, in all; None where no number within reach
    would do. `at_least` says that the repeats are the fewest that could do: answers asked once do not tell
    how much of their spread is chance.
    """

    outcome: str
    drop: float
    questions: int | None
    repeats: int | None
    at_least: bool


def plan_decision(
    seen: Drop, tolerance: float, n_repeats: int = 1, noise: float | None = None,
    alpha_within: float = ALPHA, alpha_beyond: float = ALPHA, most: float = 1.0,
) -> Need | None:  # fmt: skip
    """Returns what would decide an undecided drop; None where no question was seen, or nothing is in reach.

    Where no drop at all is still likely, that a pass is shown if there is none; and that what the drop seen
    leans to is shown, if it is the true one; of both, what takes fewer questions.
    `noise` is the part of a question's variance, seen.spread^2, that `n_repeats` divide; None where it is not
    known. `most` is the most that one question can drop.

    Source: normal form of the sample size of a non-inferiority test, Julious 2004, Statistics in Medicine
    23:1921-1986, section 4; with the one more question of `measure_drop`, and never fewer than show a drop of
    which no question gives a sign.
    """
    if seen.n_questions == 0:
        return None
    from scipy.special import ndtri

    ways = []
    if seen.low <= 0 < tolerance:
        ways.append(("pass", 0.0, tolerance, alpha_within))
    if seen.drop < tolerance and (seen.drop > 0 or tolerance == 0):
        ways.append(("pass", seen.drop, tolerance - seen.drop, alpha_within))
    if seen.drop > tolerance:
        ways.append(("regression", seen.drop, seen.drop - tolerance, alpha_beyond))
    n, size = seen.n_questions, seen.n_questions / seen.n_units  # a cluster's
    needs = []
    for outcome, drop, gap, alpha in ways:
        z = float(ndtri(1 - alpha) + ndtri(POWER))
        more = size * most
        root = (z * seen.spread + math.sqrt((z * seen.spread) ** 2 + 4 * gap * more)) / (2 * gap)
        least = size * math.log(alpha) / math.log1p(-min(gap / most, 1 - SAME))
        questions = math.ceil(max(root**2, least))
        if questions <= n:
            continue  # were this the true drop, it would most likely be decided already
        repeats = None
        allowed = (gap - more / n) * math.sqrt(n) / z
        fixed = 0.0 if noise is None else max(0.0, seen.spread**2 - noise)
        if n >= least and allowed > 0 and allowed**2 > fixed:
            divided = seen.spread**2 if noise is None else min(noise, seen.spread**2)
            repeats = math.ceil(n_repeats * divided / (allowed**2 - fixed))
        need = Need(outcome, drop, _within(questions, n), _within(repeats, n_repeats), noise is None)
        if need.questions is not None or need.repeats is not None:
            needs.append(need)
    return min(needs, key=lambda need: need.questions or math.inf, default=None)


def _within(asked: int | None, at_hand: int) -> int | None:
    return asked if asked is not None and at_hand < asked <= MAX_GROWTH * at_hand else None


def _number(labels: Sequence[Hashable] | None, there: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    """Returns a number from 0 on for the label of each question that is there."""
    if labels is None:
        return None
    kept = [label for label, kept in zip(labels, there, strict=True) if kept]
    numbers = {label: number for number, label in enumerate(dict.fromkeys(kept))}
    return np.array([numbers[label] for label in kept], dtype=np.int64)
