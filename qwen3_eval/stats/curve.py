"""The curve of score against thinking budget: its area, gain per doubling, where it flattens, its cost."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from qwen3_eval.stats.bootstrap import (
    N_RESAMPLES,
    Interval,
    percentile_ends,
    resample_means,
)
from qwen3_eval.stats.curve_points import Clusters, CurvePoints, Floats
from qwen3_eval.stats.estimate import Estimate, estimate
from qwen3_eval.stats.saturation import Saturation, fit_points

SHARE = 0.95


@dataclass(frozen=True)
class Gain:
    """What the score gains per doubling of the budget between two budgets, in score units."""

    from_budget: float
    to_budget: float
    per_doubling: Interval


@dataclass(frozen=True)
class Reached:
    """The budget, in tokens, at which the curve first reaches `share` of its score at `of_budget`.

    `of_budget` is inf where the curve has that point, else its largest budget. Infinite says that no smaller
    budget reaches it; the smallest budget may reach it already, and then is the value.
    """

    budget: Interval
    share: float
    of_budget: float


@dataclass(frozen=True)
class Curve:
    """One curve in numbers; what its budgets cannot tell is None. `n_questions` have a score everywhere."""

    n_questions: int
    area: Estimate | None
    gain: Gain | None
    steps: tuple[Gain, ...]
    reached: Reached | None
    saturation: Saturation | None


def measure_curve(
    scores: ArrayLike, budgets: Sequence[float], seed: int, clusters: Clusters = None,
    n_resamples: int = N_RESAMPLES,
) -> Curve:  # fmt: skip
    """Returns everything this module says of one curve, from one set of resamples.

    `scores` is (n_questions, n_budgets), each a question's mean over its repeats in 0-1, NaN where it has
    none; `budgets` rises, in tokens, and may begin with 0 and end with inf. Questions without a score at some
    budget are left out, so that budgets differ in nothing else. Budget 0 has no place on a log axis and `inf`
    none on any, so areas, gains and fits are over the budgets between. Raises ValueError on other shapes.
    """
    curve = CurvePoints.of(scores, budgets, clusters)
    draws = resample_means(curve.scores, seed, curve.clusters, n_resamples) if len(curve.scores) else None
    return Curve(
        n_questions=len(curve.scores),
        area=_area(curve),
        gain=_gain(curve),
        steps=_steps(curve),
        reached=None if draws is None else _reached(curve, draws, SHARE),
        saturation=None if draws is None else fit_points(curve, draws),
    )


def area(scores: ArrayLike, budgets: Sequence[float], clusters: Clusters = None) -> Estimate | None:
    """Returns the area under score against log2 budget, over that axis' length: a mean score in 0-1.

    By trapezoids, from the smallest to the largest budget that is neither 0 nor inf; None with fewer than
    two. Takes what `measure_curve` does. The area of a mean curve is the mean of the questions' areas, so
    its interval is a score's (`estimate`).
    """
    return _area(CurvePoints.of(scores, budgets, clusters))


def gain_per_doubling(scores: ArrayLike, budgets: Sequence[float], clusters: Clusters = None) -> Gain | None:
    """Returns the slope of the least-squares line of score against log2 budget, None with fewer than two.

    Takes what `measure_curve` does. Each question has its slope, and the mean curve's slope is their mean:
    the interval is the t interval of that mean, over clusters where they are named.
    """
    return _gain(CurvePoints.of(scores, budgets, clusters))


def gain_steps(scores: ArrayLike, budgets: Sequence[float], clusters: Clusters = None) -> tuple[Gain, ...]:
    """Returns the gain per doubling from each budget to the next, with intervals as `gain_per_doubling`."""
    return _steps(CurvePoints.of(scores, budgets, clusters))


def budget_reaching(
    scores: ArrayLike, budgets: Sequence[float], seed: int, clusters: Clusters = None,
    share: float = SHARE, n_resamples: int = N_RESAMPLES,
) -> Reached | None:  # fmt: skip
    """Returns the budget at which the curve first reaches `share` of its last score, straight in log2 budget.

    Takes what `measure_curve` does; the interval is a bootstrap percentile interval. Between 0 and the first
    budget above it there is no straight line in log2, and the budget above is said. None where the last score
    is 0, or one budget alone is there.
    """
    curve = CurvePoints.of(scores, budgets, clusters)
    if not len(curve.scores):
        return None
    return _reached(curve, resample_means(curve.scores, seed, curve.clusters, n_resamples), share)


def fit_saturation(
    scores: ArrayLike, budgets: Sequence[float], seed: int, clusters: Clusters = None,
    n_resamples: int = N_RESAMPLES,
) -> Saturation | None:  # fmt: skip
    """Returns the fit of score(B) = c - a B^-b, or None where the data do not support one.

    Takes what `measure_curve` does. Least squares, weighted by the budgets' standard errors; intervals are
    percentiles over resampled questions. A power law with a constant has three parameters, and its c is
    what is asked for; a logistic in log2 B has a fourth, its floor, which six budgets seldom show. None
    stands for any of these:

    - fewer than 4 budgets that are neither 0 nor inf;
    - no rise: the interval of (last score - first score) reaches 0;
    - c above 1, or b at an end of 0.05-4, in the fit or within the interval of b;
    - an interval of c wider than the rise from the first score to the best;
    - a budget's score more than 3 of its standard errors off the fit: the curve has another shape.

    Source: power law with a constant in scaling, Henighan et al. 2020 (arXiv:2010.14701), section 1; c and
    a solved within the search over b, variable projection, Golub and Pereyra 1973, SIAM J. Numerical Analysis
    10:413-432.
    """
    curve = CurvePoints.of(scores, budgets, clusters)
    if not len(curve.scores):
        return None
    return fit_points(curve, resample_means(curve.scores, seed, curve.clusters, n_resamples))


def area_weights(budgets: ArrayLike) -> Floats:
    """Returns the weights of the scores in the area, (n_budgets,), summing to 1; budgets finite, above 0."""
    logs = np.log2(np.asarray(budgets, dtype=float))
    widths = np.diff(logs)
    weights: Floats = (np.append(widths, 0) + np.append(0, widths)) / 2 / (logs[-1] - logs[0])
    return weights


def _area(curve: CurvePoints) -> Estimate | None:
    if not curve.usable:
        return None
    areas = curve.scores[:, curve.finite] @ area_weights(curve.budgets[curve.finite])
    return estimate(np.round(areas, 12)[:, None], curve.clusters)  # weights add up to 1 but for rounding


def _gain(curve: CurvePoints) -> Gain | None:
    if not curve.usable:
        return None
    apart = curve.doublings - curve.doublings.mean()
    weights = apart / np.sum(apart**2)
    slopes = curve.scores[:, curve.finite] @ weights
    low, high = curve.budgets[curve.finite][[0, -1]]
    return Gain(float(low), float(high), curve.mean_of(slopes, float(np.abs(weights).sum() / 2)))


def _steps(curve: CurvePoints) -> tuple[Gain, ...]:
    if not curve.usable:
        return ()
    ends, logs, scores = curve.budgets[curve.finite], curve.doublings, curve.scores[:, curve.finite]
    steps = np.diff(logs)
    return tuple(
        Gain(
            float(ends[i]),
            float(ends[i + 1]),
            curve.mean_of((scores[:, i + 1] - scores[:, i]) / steps[i], 1 / float(steps[i])),
        )
        for i in range(len(ends) - 1)
    )


def _reached(curve: CurvePoints, draws: Floats, share: float) -> Reached | None:
    means = curve.scores.mean(axis=0, keepdims=True)
    if len(curve.budgets) < 2 or means[0, -1] <= 0:
        return None
    value = float(_first_reaching(means, curve.budgets, share)[0])
    ends = percentile_ends(_first_reaching(draws, curve.budgets, share))
    return Reached(Interval(value, *ends), share, float(curve.budgets[-1]))


def _first_reaching(means: Floats, budgets: Floats, share: float) -> Floats:
    """Returns the first budget with `share` of the last mean, (n,), for curves of `means` (n, n_budgets)."""
    target = share * means[:, -1]
    there = means >= target[:, None] - 1e-12
    j = there.argmax(axis=1)  # the last budget always is there
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log2(budgets)
        before = np.maximum(j - 1, 0)
        low, high = means[np.arange(len(means)), before], means[np.arange(len(means)), j]
        line = 2 ** (logs[before] + (target - low) / (high - low) * (logs[j] - logs[before]))
    straight = (j > 0) & (budgets[before] > 0) & np.isfinite(budgets[j])
    found: Floats = np.where(straight, line, budgets[j])
    return np.where(target > 0, found, np.nan)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Returns which of the (mean thinking tokens, score) `points` no other beats, by rising tokens.

    A point is beaten by one that is as good in both and better in one, so equal points stay together. Points
    with NaN are not on the front.
    """
    places = np.asarray(points, dtype=float).reshape(-1, 2)
    tokens, scores = places.T
    order = np.lexsort((-scores, tokens))
    order = order[~np.isnan(places[order]).any(axis=1)]
    front: list[int] = []
    for i in order:
        if not front or scores[i] > scores[front[-1]] or tuple(places[i]) == tuple(places[front[-1]]):
            front.append(int(i))
    return front


def score_per_1k_tokens(scores: ArrayLike, tokens: ArrayLike, clusters: Clusters = None) -> Interval | None:
    """Returns the mean score over the mean of 1,000 thinking tokens really used, None where none were used.

    `scores` and `tokens` are (n_questions,), each question's mean over its repeats; a NaN leaves it out. The
    interval is the t interval of the linearised ratio, over clusters where they are named, cut at 0.

    Source: ratio estimate and its error, Cochran 1977, Sampling Techniques, section 6.3.
    """
    both = CurvePoints.of(np.stack([np.asarray(scores), np.asarray(tokens)], axis=1), [0.0, 1.0], clusters)
    if not len(both.scores) or not both.scores[:, 1].any():
        return None
    score, used = both.scores[:, 0], both.scores[:, 1] / 1000
    ratio = float(score.mean() / used.mean())
    around = both.mean_of((score - ratio * used) / used.mean(), 1 / float(used.mean()))
    low, high = ratio + around.ci_low - around.value, ratio + around.ci_high - around.value
    return Interval(ratio, low if np.isnan(low) else max(0.0, low), high)
