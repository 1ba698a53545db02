"""One score with its uncertainty: the question is the unit, its repeats are averaged first."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
INTERVAL = "95 % Wilson interval over questions"
"""What captions and tables call the interval of `estimate`."""
ROUNDING = 1e-9
"""Above what rounding leaves of equal means, and far below any spread that 1e5 questions could have."""


@dataclass(frozen=True)
class Estimate:
    """A mean score in 0-1 and its 95 % interval.

    `stderr` is NaN where one unit alone was seen, and everything but the counts where none was.
    `n_questions` counts questions with a score, `n_repeats` the most scores that one of them has.
    """

    score: float
    stderr: float
    ci_low: float
    ci_high: float
    n_questions: int
    n_repeats: int


def estimate(scores: ArrayLike, clusters: Sequence[Hashable] | None = None) -> Estimate:
    """Returns the mean over questions of each question's mean over repeats, with its 95 % interval.

    `scores` is (n_questions, n_repeats) with values in 0-1; NaN marks a repeat without a score, as an
    `error` verdict, and a question of NaN alone is left out. `clusters` names, for each question, the
    cluster it was drawn with (an essay, a parallel question); clusters are then the independent units.

    The interval is Wilson's with an effective sample size: the n at which a plain proportion of this
    score would have the standard error seen. It keeps within 0-1, leans inwards at the ends, and repeats
    tighten it only as far as they tighten the question means. Where a few questions hold most of the spread,
    as hard ones among easy ones do, t has fewer degrees of freedom than questions, for the standard error is
    then little known itself (`_degrees_of_freedom`). Raises ValueError on another shape or range.

    Source: question as unit and clustered error, Miller 2024, "Adding Error Bars to Evals"
    (arXiv 2411.00640), sections 2.1 and 2.2; score interval, Wilson 1927, JASA 22:209-212; effective
    sample size n = p(1-p)/se^2 with a t quantile, Korn and Graubard 1998, Survey Methodology 24:193-201,
    applied to Wilson's interval in Dean and Pagano 2015, J. Survey Statistics and Methodology 3:484-503.
    """
    values = np.asarray(scores, dtype=float)
    if values.ndim != 2:
        raise ValueError(f"scores has shape {values.shape}; (n_questions, n_repeats) is asked for")
    if np.nanmin(values, initial=0.0) < 0 or np.nanmax(values, initial=1.0) > 1:
        raise ValueError("scores holds a value outside 0-1; NaN marks a repeat without a score")
    every_mean = question_means(values)
    scored = ~np.isnan(every_mean)
    n_questions = int(scored.sum())
    if n_questions == 0:
        return Estimate(np.nan, np.nan, np.nan, np.nan, 0, 0)
    means = every_mean[scored]
    score = float(means.mean())

    labels = np.arange(n_questions)  # without clusters each question is its own
    if clusters is not None:
        if len(clusters) != len(values):
            raise ValueError(f"clusters names {len(clusters)} questions; scores holds {len(values)}")
        numbers = {label: number for number, label in enumerate(dict.fromkeys(clusters))}
        labels = np.array([numbers[label] for label in clusters])[scored]
    stderr, n_units = clustered_stderr(means, labels)
    low, high = _wilson_interval(score, stderr, n_units, np.bincount(labels, means - score).astype(float))
    return Estimate(score, stderr, low, high, n_questions, int(np.sum(~np.isnan(values), axis=1).max()))


def estimate_macro(
    groups: Sequence[ArrayLike], clusters: Sequence[Sequence[Hashable]] | None = None
) -> Estimate:
    """Returns the mean of the groups' scores, each group counting alike whatever its size, with its interval.

    Each of `groups` is (n_questions, n_repeats), as `estimate` takes it; groups without a score are left out.
    `clusters` names each question's cluster, as one question in several languages; clusters span groups, and
    are then the independent units. `n_questions` is the groups' sum, `n_repeats` the most.

    The groups are fixed (these languages, not a draw of languages), so a question errs by its distance from
    its own group's mean, over n_groups and the group's size, and with n / (n - 1) for the mean being
    estimated; errors add up within a cluster, and their squares over clusters. A group of one question counts
    with the most that a score in 0-1 can vary, 0.5.

    Source: stratified estimate with equal weights, Cochran 1977, Sampling Techniques, section 5.3; clustered
    error, Miller 2024 (arXiv 2411.00640), section 2.2.
    """
    named = clusters or [[(number, i) for i in range(len(np.asarray(g)))] for number, g in enumerate(groups)]
    found = [
        (estimate(group), question_means(group), labels) for group, labels in zip(groups, named, strict=True)
    ]
    found = [each for each in found if each[0].n_questions]
    if not found:
        return Estimate(np.nan, np.nan, np.nan, np.nan, 0, 0)
    score = float(np.mean([got.score for got, _, _ in found]))
    errors, units, alone = [], [], 0
    numbers: dict[Hashable, int] = {}
    for got, means, labels in found:
        n = got.n_questions
        if n == 1:
            alone += 1
            continue
        there = ~np.isnan(means)
        kept = [label for label, scored in zip(labels, there.tolist(), strict=True) if scored]
        units += [numbers.setdefault(label, len(numbers)) for label in kept]
        errors.append((means[there] - got.score) * (np.sqrt(n / (n - 1)) / (n * len(found))))
    of_units = np.bincount(units, np.concatenate([np.zeros(0), *errors])).astype(float)
    stderr = float(np.sqrt(np.sum(of_units**2) + alone * (0.5 / len(found)) ** 2))
    low, high = _wilson_interval(score, stderr, len(of_units) + alone, of_units)
    n_questions = sum(got.n_questions for got, _, _ in found)
    return Estimate(score, stderr, low, high, n_questions, max(got.n_repeats for got, _, _ in found))


def question_means(scores: ArrayLike) -> NDArray[np.float64]:
    """Returns each question's mean over its repeats, (n_questions,), NaN where it has no score."""
    values = np.asarray(scores, dtype=float)
    counts = np.sum(~np.isnan(values), axis=1)
    means: NDArray[np.float64] = np.where(
        counts > 0, np.nansum(values, axis=1) / np.maximum(counts, 1), np.nan
    )
    return means


def clustered_stderr(means: NDArray[np.float64], labels: NDArray[np.int64]) -> tuple[float, int]:
    """Returns the standard error of the mean of `means` (n_questions,), and the number of clusters.

    With one question to a cluster this is the usual s / sqrt(n). NaN where there is one cluster.
    """
    deviations = means - means.mean()
    sums = np.bincount(np.unique(labels, return_inverse=True)[1], weights=deviations)  # (n_clusters,)
    n_clusters = len(sums)
    if n_clusters == 1:
        return float("nan"), 1
    variance = n_clusters / (n_clusters - 1) * float(np.sum(sums**2)) / len(means) ** 2
    return float(np.sqrt(variance)), n_clusters


def _wilson_interval(
    score: float, stderr: float, n_units: int, errors: NDArray[np.float64]
) -> tuple[float, float]:
    """Returns Wilson's interval at the effective sample size, with a t quantile.

    `errors` are those of the units that err as was seen, and not by a bound.
    """
    if n_units == 1:
        return 0.0, 1.0  # one unit says nothing about how units differ
    # scipy.stats has the same quantile, and takes seconds to import.
    from scipy.special import stdtrit

    # Equal questions show no spread, which is not certainty: they count as plain draws.
    # At 0 or 1 an error can only be a bound (a group of one question), of draws that vary the most, by 0.25.
    spread = score * (1 - score) or 0.25
    n_eff, df = float(n_units), float(n_units - 1)
    if stderr > ROUNDING:
        n_eff = spread / stderr**2
        df = _degrees_of_freedom(n_units, errors, spread, n_units / n_eff)
    t2 = float(stdtrit(df, (1 + CONFIDENCE) / 2)) ** 2
    centre = (score + t2 / (2 * n_eff)) / (1 + t2 / n_eff)
    half = np.sqrt(t2) / (1 + t2 / n_eff) * np.sqrt(score * (1 - score) / n_eff + t2 / (4 * n_eff**2))
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def _degrees_of_freedom(n_units: int, errors: NDArray[np.float64], spread: float, share: float) -> float:
    """Returns how many degrees of freedom a standard error has that is estimated from `errors`.

    A variance is known from n units with a variance of 2 / (n - 1) + k / n of its own square, k the units'
    excess kurtosis, where a chi-squared over its n - 1 degrees of freedom has 2 / (n - 1). What right and
    wrong answers have of k is taken off, as Wilson's form allows for it: (1 - 6 p q) / (p q), times the
    square of their `share` of the units' variance, as kurtosis adds up. p q is `spread`.

    Source: matching the variance of a variance, Satterthwaite 1946, Biometrics Bulletin 2:110-114; that
    variance, Cramer 1946, Mathematical Methods of Statistics, section 27.4. Taking off the share is ours, and
    shown right by simulation in tests/test_coverage.py.
    """
    variance = float(np.mean(errors**2)) if len(errors) else 0.0
    if np.sqrt(variance) <= ROUNDING:
        return n_units - 1
    n = len(errors)
    excess = float(np.mean(errors**4)) / variance**2 - 3
    excess -= (1 - 6 * spread) / spread * min(1.0, share) ** 2
    return (n_units - 1) / (1 + max(0.0, excess) / 2 * (n - 1) / n)
