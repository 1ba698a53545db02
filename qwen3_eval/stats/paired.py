"""How two conditions differ on the same questions: two budgets, modes, models or runs."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qwen3_eval.stats.estimate import CONFIDENCE, clustered_stderr, question_means

ALPHA = 0.05
"""The chance of an error that tests here allow themselves."""
SAME = 1e-9
"""Question means closer than this are equal: what rounding leaves, and below any step that scores have."""
MAX_PATTERNS_LOG2 = 16
MAX_STEPS = 2**15
MAX_PARTS = 64
LEAST_P = 1e-12  # what rounding leaves of a sum of chances cannot be told from 0 below it

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """The mean difference a - b over the questions that both conditions scored, in score units.

    `margin` is half the width of the 95 % interval before it is cut at -1 and 1. `n_units` counts the
    independent units, clusters where they were named and else questions. A question is better where its mean
    is higher in a. With one unit `stderr` is NaN and `margin` infinite; with none all but the counts are NaN.
    """

    difference: float
    stderr: float
    ci_low: float
    ci_high: float
    p_value: float
    margin: float
    n_questions: int
    n_units: int
    n_better: int
    n_worse: int
    n_equal: int


def paired_difference(a: ArrayLike, b: ArrayLike, clusters: Sequence[Hashable] | None = None) -> Difference:
    """Returns the mean over questions of (mean of a's repeats - mean of b's repeats), with its uncertainty.

    `a` and `b` are (n_questions, n_repeats) with values in 0-1, row by row the same questions; the number of
    repeats may differ. NaN marks a repeat without a score, and a question without any on either side is left
    out. `clusters` names, for each question, the cluster it was drawn with. Raises ValueError on other
    shapes.

    `p_value` is two-sided and always of the sign-flip test: were there no difference, each unit's difference
    would be as likely with the other sign. It is exact where its distribution can be laid out (up to 16 units
    that differ, or differences in whole steps, as right and wrong answers give); beyond, that distribution's
    normal form. With one answer a question it is McNemar's exact test.

    The interval is the t interval, with the spread that two more questions would bring, one a single answer
    better than the mean and one a single answer worse. Where few questions differ, as between neighbouring
    budgets, the plain t interval would take the luck of one flip more or less for certainty; where many do,
    the two do not show. Where no question differs from the mean at all they count as plain draws, as in
    `estimate`.

    Source: paired error on question means, clustered, Miller 2024, "Adding Error Bars to Evals"
    (arXiv 2411.00640), sections 2.2 and 4; sign-flip test, Fisher 1935, The Design of Experiments,
    section 21; two more pairs, one each way, Bonett and Price 2012, J. Educational and Behavioral Statistics
    37:479-488, here added to the spread alone.
    """
    left, right = _as_pair(a, b, clusters)
    every = question_means(left) - question_means(right)
    scored = ~np.isnan(every)
    apart = every[scored]  # (n_questions,)
    n, nan = len(apart), float("nan")
    if n == 0:
        return Difference(nan, nan, nan, nan, nan, nan, 0, 0, 0, 0, 0)
    n_better, n_worse = int(np.sum(apart > SAME)), int(np.sum(apart < -SAME))
    labels = np.arange(n)
    if clusters is not None:
        numbers = {label: number for number, label in enumerate(dict.fromkeys(clusters))}
        labels = np.array([numbers[label] for label in clusters])[scored]
    difference = float(apart.mean())
    stderr, n_units = clustered_stderr(apart, labels)
    margin = _margin(stderr, n_units, n_units, _step(left, right) / n)
    return Difference(
        difference,
        stderr,
        max(-1.0, difference - margin),
        min(1.0, difference + margin),
        _sign_flip_p(np.bincount(labels, weights=apart).astype(float)),
        margin,
        n,
        n_units,
        n_better,
        n_worse,
        n - n_better - n_worse,
    )


def paired_macro(
    groups: Sequence[tuple[ArrayLike, ArrayLike]], clusters: Sequence[Sequence[Hashable]] | None = None
) -> Difference:
    """Returns the mean of the groups' differences a - b, each group counting alike whatever its size.

    Each of `groups` is an (a, b) as `paired_difference` takes it; groups without a question that both sides
    scored are left out. `clusters` names each group's questions' clusters, as one question in several
    languages; clusters span groups, and are then the independent units. Without, every question of every
    group is its own. `n_questions` and the flips are the groups' sums. Raises ValueError on other shapes.

    Groups are fixed, so a question errs by its distance from its own group's difference, as in
    `estimate_macro`; a group of one question counts with the most that a difference can vary, 1. The two more
    answers that widen the interval weigh as an answer does in the root mean square. The sign flips turn what
    each unit adds to the whole difference.

    Source: stratified estimate with equal weights, Cochran 1977, Sampling Techniques, section 5.3; the rest
    as in `paired_difference`.
    """
    named: Sequence[Sequence[Hashable] | None] = clusters or [None] * len(groups)
    found = [_Group.of(a, b, labels) for (a, b), labels in zip(groups, named, strict=True)]
    found = [group for group in found if len(group.apart)]
    nan = float("nan")
    if not found:
        return Difference(nan, nan, nan, nan, nan, nan, 0, 0, 0, 0, 0)
    apart = np.concatenate([group.apart for group in found])
    units = np.arange(len(apart))
    if clusters is not None:
        labels = [label for group in found for label in group.labels]
        numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
        units = np.array([numbers[label] for label in labels])
    sizes = np.concatenate([np.full(len(group.apart), len(group.apart)) for group in found])
    means = np.concatenate([np.full(len(group.apart), group.apart.mean()) for group in found])
    weights = 1 / (sizes * len(found))  # of each question, adding up to 1
    errors = (apart - means) * weights * np.sqrt(sizes / np.maximum(sizes - 1, 1))
    variance = np.sum(np.bincount(units, errors) ** 2) + np.sum(weights[sizes == 1] ** 2)
    n, n_units = len(apart), int(units.max()) + 1
    difference = float(weights @ apart)
    stderr = float(np.sqrt(variance)) if n_units > 1 else nan
    n_alike = 1 / float(np.sum(np.bincount(units, weights) ** 2))
    step = max(group.step for group in found)
    margin = _margin(stderr, n_units, n_alike, step * float(np.sqrt(np.mean(weights**2))))
    n_better, n_worse = int(np.sum(apart > SAME)), int(np.sum(apart < -SAME))
    return Difference(
        difference,
        stderr,
        max(-1.0, difference - margin),
        min(1.0, difference + margin),
        _sign_flip_p(np.bincount(units, apart * weights * n).astype(float)),
        margin,
        n,
        n_units,
        n_better,
        n_worse,
        n - n_better - n_worse,
    )


def holm(p_values: ArrayLike) -> Floats:
    """Returns the p values adjusted for being a family, in the order given; NaN stays, and does not count.

    Adjusted ones below alpha are rejected with a chance of at most alpha to reject any true null hypothesis,
    however the tests depend on each other.

    Source: Holm 1979, Scandinavian Journal of Statistics 6:65-70.
    """
    found = np.asarray(p_values, dtype=float)
    if found.ndim != 1 or (found < 0).any() or (found > 1).any():
        raise ValueError(f"p_values has shape {found.shape}; a list of values in 0-1 is asked for")
    adjusted = np.full(len(found), np.nan)
    known = np.flatnonzero(~np.isnan(found))
    order = known[np.argsort(found[known], kind="stable")]
    scaled = found[order] * (len(order) - np.arange(len(order)))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return adjusted


def smallest_difference(seen: Difference, power: float = 0.8, alpha: float = ALPHA) -> float:
    """Returns the smallest true difference that these questions and repeats would have shown, in score units.

    Shown means p < `alpha`, two-sided, with a chance of `power`. The spread is the interval's, so a
    comparison without any flip does not claim to see everything. Infinite with one unit, NaN with none;
    above 1 it says that no difference would have been shown.

    Source: Miller 2024 (arXiv 2411.00640), section 5, solved for the effect as (z_{alpha/2} + z_beta) times
    the standard error, with t quantiles for z.
    """
    if seen.n_units < 2:
        return float(seen.margin)
    from scipy.special import stdtrit

    df = seen.n_units - 1
    in_margin, detected, powered = stdtrit(df, [(1 + CONFIDENCE) / 2, 1 - alpha / 2, power])
    return float(seen.margin / in_margin * (detected + powered))


@dataclass(frozen=True)
class _Group:
    """The differences of a group's questions that both sides scored, (n,), and their clusters if named."""

    apart: Floats
    labels: list[Hashable]
    step: float

    @classmethod
    def of(cls, a: ArrayLike, b: ArrayLike, labels: Sequence[Hashable] | None) -> "_Group":
        left, right = _as_pair(a, b, labels)
        every = question_means(left) - question_means(right)
        scored = ~np.isnan(every)
        kept = [label for label, there in zip(labels or (), scored.tolist(), strict=False) if there]
        return cls(every[scored], kept, _step(left, right))


def _as_pair(a: ArrayLike, b: ArrayLike, clusters: Sequence[Hashable] | None) -> tuple[Floats, Floats]:
    left, right = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if left.ndim != 2 or right.ndim != 2 or len(left) != len(right):
        raise ValueError(
            f"a has shape {left.shape} and b {right.shape}; both must be (n_questions, n_repeats), "
            "with the same questions"
        )
    if clusters is not None and len(clusters) != len(left):
        raise ValueError(f"clusters names {len(clusters)} questions; a and b hold {len(left)}")
    return left, right


def _step(left: Floats, right: Floats) -> float:
    """Returns what one answer does to a question's mean, on the side with fewer repeats."""
    repeats = (int(np.sum(~np.isnan(values), axis=1).max(initial=0)) for values in (left, right))
    return 1 / max(1, min(repeats))


def _margin(stderr: float, n_units: int, n_alike: float, flip: float) -> float:
    """Returns half the width of the 95 % interval.

    `n_alike` is how many units of the same weight would err as these do, `flip` what one answer does to the
    whole difference.
    """
    if n_units == 1:
        return float("inf")
    from scipy.special import stdtrit

    t = float(stdtrit(n_units - 1, (1 + CONFIDENCE) / 2))
    if stderr <= SAME:
        return t**2 / (n_alike + t**2)  # Wilson's interval after so many draws without a single flip
    return t * float(np.sqrt(stderr**2 + n_units / (n_units - 1) * 2 * flip**2))


def _sign_flip_p(sums: Floats) -> float:
    """Returns how likely random signs bring the units' `sums` (n_units,) as far from 0 as they are."""
    sizes = np.abs(sums[np.abs(sums) > SAME])
    seen = abs(float(sums.sum()))
    if not len(sizes):
        return 1.0
    values, counts = np.unique(np.round(sizes, 9), return_counts=True)
    step = _common_step(values)
    if step is not None:
        steps = np.rint(values / step).astype(np.int64)
        if steps @ counts <= MAX_STEPS:
            return _lattice_tail(steps, counts, round(seen / step))
    if len(sizes) <= MAX_PATTERNS_LOG2:
        totals = np.zeros(1)
        for size in sizes:
            totals = np.concatenate([totals + size, totals - size])
        return float(np.mean(np.abs(totals) >= seen - SAME))
    from scipy.special import erfc

    return float(max(LEAST_P, erfc(seen / np.sqrt(2 * np.sum(sizes**2)))))


def _common_step(values: Floats) -> float | None:
    """Returns the step that all of the rising `values` are whole multiples of, None where there is none."""
    for parts in range(1, MAX_PARTS + 1):
        ratios = values * (parts / values[0])
        if np.abs(ratios - np.rint(ratios)).max() < 1e-5:
            return float(values[0] / parts)
    return None


def _lattice_tail(steps: NDArray[np.int64], counts: NDArray[np.int64], seen: int) -> float:
    """Returns the chance that a sum of `counts` times ±`steps` is `seen` or more from 0.

    The flipped sign of s has the characteristic function cos(s t), a sum of flips their product, and its
    inverse Fourier transform holds the chances of all sums.
    """
    most = int(steps @ counts)
    size = 2 * most + 1
    angles = 2 * np.pi * np.arange(most + 1) / size
    transform = np.ones(most + 1)
    for value, count in zip(steps, counts, strict=True):
        transform *= np.cos(value * angles) ** count
    chances = np.fft.irfft(transform, size)  # of the sums 0, 1, .., most, -most, .., -1
    tail = float(chances[seen : size - seen + 1].sum()) if seen else 1.0
    return min(1.0, max(LEAST_P, round(tail, 15)))
