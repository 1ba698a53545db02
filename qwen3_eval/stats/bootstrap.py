"""Seeded bootstrap over clusters of questions: intervals for statistics that have no formula."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qwen3_eval.stats.estimate import CONFIDENCE

N_RESAMPLES = 2000
"""Efron and Tibshirani 1993, section 14.3: 1,000 to 2,000 for the ends of a 95 % interval."""
CHUNK_BYTES = 64 * 2**20
"""About what one chunk of resamples may hold; several arrays of that size live at once."""

MAX_UNITS = 2**13
"""Clusters beyond these are put together at random into that many groups, which are then drawn."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A statistic's value and its 95 % interval, in the statistic's own unit."""

    value: float
    ci_low: float
    ci_high: float


def mean_interval(
    values: ArrayLike,
    statistic: Callable[[Floats], Floats],
    seed: int,
    clusters: Sequence[Hashable] | None = None,
    n_resamples: int = N_RESAMPLES,
) -> Interval:
    """Returns the BCa interval of a statistic of the column means, as an area, a ratio or a slope.

    `values` is (n_questions, n_columns), as `resample_means` takes it; `statistic` takes means of shape
    (n, n_columns), of n resamples at once, and returns (n,). The acceleration comes from leaving out one
    cluster at a time. Everything but the value is NaN where fewer than two clusters are there.

    Source: bias-corrected and accelerated interval, Efron 1987, JASA 82:171-185; formulas as in Efron and
    Tibshirani 1993, An Introduction to the Bootstrap, equations 14.10, 14.14 and 14.15.
    """
    sums, counts = _cluster_sums(values, clusters, seed)
    total, n_scores = sums.sum(axis=0, keepdims=True), counts.sum(axis=0, keepdims=True)
    value = float(statistic(_divide(total, n_scores))[0])
    if len(sums) < 2:
        return Interval(value, np.nan, np.nan)
    draws = statistic(_resampled(sums, counts, seed, n_resamples))
    left_out = statistic(_divide(total - sums, n_scores - counts))
    return Interval(value, *_bca_ends(value, draws, left_out))


def sample_interval(
    values: ArrayLike,
    statistic: Callable[[Floats], float],
    seed: int,
    clusters: Sequence[Hashable] | None = None,
    n_resamples: int = N_RESAMPLES,
) -> Interval:
    """Returns the percentile interval of any statistic of the questions' rows, as a median.

    `values` is (n_questions, n_columns); `statistic` takes the rows that one resample drew, whole clusters at
    a time, and returns a number. One resample is in memory at a time. `mean_interval` is far faster for what
    is a function of means.

    Source: Efron and Tibshirani 1993, section 13.3; whole clusters redrawn, Davison and Hinkley 1997,
    Bootstrap Methods and their Application, section 3.8.
    """
    rows = _as_rows(values)
    numbers, n_clusters = _number(clusters, len(rows))
    order = np.argsort(numbers, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(numbers, minlength=n_clusters))[:-1])
    random = np.random.default_rng(seed)
    draws = np.array(
        [
            statistic(rows[np.concatenate([members[i] for i in random.integers(0, n_clusters, n_clusters)])])
            for _ in range(n_resamples)
        ]
    )
    return Interval(float(statistic(rows)), *percentile_ends(draws))


def resample_means(
    values: ArrayLike,
    seed: int,
    clusters: Sequence[Hashable] | None = None,
    n_resamples: int = N_RESAMPLES,
) -> Floats:
    """Returns the column means of each resample, (n_resamples, n_columns).

    `values` is (n_questions, n_columns), NaN where a question has no value in a column; `clusters` names each
    question's cluster, and whole clusters are drawn, with replacement, as many as there are. All columns of a
    resample hold the same questions, so differences between columns stay paired. The same seed gives the same
    resamples, whatever the size of a chunk. A mean over nothing is NaN.
    """
    return _resampled(*_cluster_sums(values, clusters, seed), seed, n_resamples)


def percentile_ends(draws: Floats, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Returns the two ends of the percentile interval of `draws` (n_resamples,), infinities allowed.

    Draws of NaN, where a resample has no such statistic, are left out; where they are more than one in
    twenty, so many that the ends could lie anywhere, both ends are NaN.
    """
    known = draws[~np.isnan(draws)]
    if len(known) < 0.95 * len(draws) or not len(known):
        return float("nan"), float("nan")
    # An order statistic, not a point between two: halfway to infinity would be no number.
    tails = np.round([(1 - confidence) / 2, (1 + confidence) / 2], 12)
    ends = np.quantile(known, tails, method="inverted_cdf")
    return float(ends[0]), float(ends[1])


def _bca_ends(value: float, draws: Floats, left_out: Floats) -> tuple[float, float]:
    """Returns the ends of the BCa interval; the percentile interval's where its corrections have no value."""
    from scipy.special import ndtr, ndtri

    below = (np.sum(draws < value) + 0.5 * np.sum(draws == value)) / max(1, np.sum(~np.isnan(draws)))
    apart = left_out.mean() - left_out
    spread = float(np.sum(apart**2))
    if not 0 < below < 1 or not spread > 0 or np.isnan(draws).any():
        return percentile_ends(draws)
    shift = float(ndtri(below))
    acceleration = float(np.sum(apart**3)) / (6 * spread**1.5)
    normal = shift + ndtri(np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))
    ends = np.quantile(draws, ndtr(shift + normal / (1 - acceleration * normal)), method="inverted_cdf")
    return float(ends[0]), float(ends[1])


def _resampled(sums: Floats, counts: Floats, seed: int, n_resamples: int) -> Floats:
    """Returns the means of each resample, (n_resamples, n_columns), from the clusters' sums and counts."""
    if (counts == counts[:, :1]).all():
        counts = counts[:, :1]  # nothing is missing: one count serves every column
    both = np.hstack([sums, counts])
    n_columns = sums.shape[1]
    parts = []
    for weights in _weights(len(sums), seed, n_resamples):
        totals = weights @ both
        parts.append(_divide(totals[:, :n_columns], totals[:, n_columns:]))
    return np.concatenate(parts)


def _weights(n_clusters: int, seed: int, n_resamples: int) -> Iterator[Floats]:
    """Yields how often each resample draws each cluster, (n_chunk, n_clusters), chunk after chunk."""
    random = np.random.default_rng(seed)
    size = max(1, CHUNK_BYTES // (8 * n_clusters))
    for start in range(0, n_resamples, size):
        n = min(size, n_resamples - start)
        drawn = random.integers(0, n_clusters, (n, n_clusters))
        drawn += np.arange(n)[:, None] * n_clusters
        yield np.bincount(drawn.ravel(), minlength=n * n_clusters).reshape(n, -1).astype(float)


def _cluster_sums(values: ArrayLike, clusters: Sequence[Hashable] | None, seed: int) -> tuple[Floats, Floats]:
    """Returns each cluster's sum of values and count of values, both (n_clusters, n_columns).

    With more than 8,192 clusters, those of as many random groups of clusters: their means spread as clusters'
    do, and the spread seen is off by about 1 / sqrt(2 * 8192), less than what 2,000 resamples leave.

    Source: random groups, Wolter 2007, Introduction to Variance Estimation, section 2.2.
    """
    rows = _as_rows(values)
    known = ~np.isnan(rows)
    filled = np.where(known, rows, 0.0)
    numbers, n_clusters = _number(clusters, len(rows))
    if n_clusters > MAX_UNITS:
        numbers = (np.random.default_rng([seed, n_clusters]).permutation(n_clusters) % MAX_UNITS)[numbers]
        n_clusters = MAX_UNITS

    def add_up(columns: Floats) -> Floats:
        return np.stack([np.bincount(numbers, column, n_clusters) for column in columns.T], axis=1)

    return add_up(filled), add_up(known.astype(float))


def _number(clusters: Sequence[Hashable] | None, n_questions: int) -> tuple[NDArray[np.int64], int]:
    """Returns each question's cluster as a number from 0, and how many clusters there are."""
    if clusters is None:
        return np.arange(n_questions), n_questions
    if len(clusters) != n_questions:
        raise ValueError(f"clusters names {len(clusters)} questions; values holds {n_questions}")
    numbers = {label: number for number, label in enumerate(dict.fromkeys(clusters))}
    return np.array([numbers[label] for label in clusters]), len(numbers)


def _as_rows(values: ArrayLike) -> Floats:
    rows = np.asarray(values, dtype=float)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"values has shape {rows.shape}; (n_questions, n_columns) is asked for, neither 0")
    return rows


def _divide(sums: Floats, counts: Floats) -> Floats:
    """Returns sums / counts, NaN where nothing was counted."""
    means: Floats = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return means
