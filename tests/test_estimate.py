"""Promises of `estimate`: the question is the unit, and the interval covers as often as it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.stats import binomtest, t

from qwen3_eval.stats.estimate import estimate, estimate_macro


def test_golden_three_of_four() -> None:
    """Four questions, three right: se 1/4, n_eff 3, t(3) = 3.182446, Wilson's interval worked by hand.

    centre = (0.75 + 10.12796/6) / (1 + 10.12796/3) = 0.557130
    half = 3.182446 / 4.375988 * sqrt(0.0625 + 10.12796/36) = 0.426440
    """
    got = estimate([[1], [0], [1], [1]])
    assert (got.score, got.stderr, got.n_questions, got.n_repeats) == (0.75, 0.25, 4, 1)
    assert got.ci_low == pytest.approx(0.557130 - 0.426440, abs=2e-6)
    assert got.ci_high == pytest.approx(0.557130 + 0.426440, abs=2e-6)


def test_repeats_are_averaged_before_the_error_is_taken() -> None:
    """Question means 1/2 and 1: score 3/4, s = 1/(2 sqrt 2), se = s / sqrt 2 = 1/4, whatever the repeats."""
    assert estimate([[1, 0], [1, 1]]).stderr == pytest.approx(0.25)
    assert estimate([[1, 0] * 50, [1, 1] * 50]).stderr == pytest.approx(0.25)


def test_repeats_without_spread_between_them_add_no_certainty() -> None:
    """Eight repeats that always agree give the interval of one repeat."""
    column = np.array([[1.0], [0.0], [1.0], [1.0], [0.0]])
    once, eight = estimate(column), estimate(np.repeat(column, 8, axis=1))
    assert (once.ci_low, once.ci_high) == pytest.approx((eight.ci_low, eight.ci_high))


def test_missing_repeats_weigh_nothing() -> None:
    """NaN is left out of its question's mean, and a question of NaN alone is not counted."""
    got = estimate([[1.0, np.nan], [0.0, 1.0], [np.nan, np.nan]])
    assert got.score == 0.75  # (1 + 1/2) / 2
    assert (got.n_questions, got.n_repeats) == (2, 2)


def test_golden_clusters() -> None:
    """Means 1, 1, 0, 0 in clusters a, a, b, b: sums of deviations +1 and -1, so
    se = sqrt(2/(2-1) * (1+1) / 4^2) = 1/2; with one question to a cluster it is the plain sqrt(1/12)."""
    scores = [[1], [1], [0], [0]]
    assert estimate(scores, clusters=["a", "a", "b", "b"]).stderr == pytest.approx(0.5)
    assert estimate(scores, clusters=[4, 3, 2, 1]).stderr == pytest.approx((1 / 12) ** 0.5)


def test_agrees_with_scipys_wilson_interval_for_one_repeat() -> None:
    """At n = 4,000 the t quantile and the n-1 fade, and scipy's own Wilson interval appears."""
    for correct in (12, 2000, 3990):
        scores = (np.arange(4000) < correct)[:, None]
        got, want = estimate(scores), binomtest(correct, 4000).proportion_ci(method="wilson")
        assert (got.ci_low, got.ci_high) == pytest.approx((want.low, want.high), abs=2e-5)


@pytest.mark.parametrize("value", [0, 1])
def test_all_equal_is_not_certainty(value: int) -> None:
    """Thirty of thirty (or none) keeps an open side: n_eff is n, and t2/(n + t2) is the distance left."""
    got = estimate(np.full((30, 1), value))
    t2 = 2.045230**2  # t(29), 97.5 %
    assert got.stderr == 0
    assert got.ci_high - got.ci_low == pytest.approx(t2 / (30 + t2), abs=1e-5)
    assert value in (got.ci_low, got.ci_high)


def test_rounding_of_equal_means_is_not_spread() -> None:
    """Thirds that differ in the last bit alone count as equal questions, not as an n_eff of 1e30."""
    got = estimate([[0.1, 0.2, 0.3]] * 5 + [[0.3, 0.2, 0.1]] * 5)
    assert got.ci_high - got.ci_low > 0.3


def test_one_question_and_none() -> None:
    """One question says nothing of the spread between questions; none says nothing at all."""
    one = estimate([[1, 0, 1, 1]])
    assert (one.score, one.ci_low, one.ci_high) == (0.75, 0.0, 1.0)
    assert np.isnan(one.stderr)
    none = estimate(np.full((3, 2), np.nan))
    assert none.n_questions == none.n_repeats == 0
    assert np.isnan(none.score)


@pytest.mark.parametrize("bad", [np.ones(2), np.array([[1.5]]), np.array([[-0.1]])])
def test_refuses_other_shapes_and_ranges(bad: NDArray[np.float64]) -> None:
    """A flat list or a score outside 0-1 is a caller's mistake, never a figure."""
    with pytest.raises(ValueError, match="scores"):
        estimate(bad)


@given(arrays(float, st.tuples(st.integers(2, 12), st.integers(1, 4)), elements=st.floats(0, 1)))
def test_interval_lies_in_0_to_1_and_holds_the_score(scores: NDArray[np.float64]) -> None:
    """0 <= ci_low <= score <= ci_high <= 1, and 1 - scores mirrors the interval."""
    got, mirrored = estimate(scores), estimate(1 - scores)
    assert 0 <= got.ci_low <= got.score + 1e-9
    assert got.score - 1e-9 <= got.ci_high <= 1
    assert got.ci_low == pytest.approx(1 - mirrored.ci_high, abs=1e-6)


def coverage(p: float, n_questions: int, n_repeats: int, trials: int = 600) -> float:
    """Share of simulated runs whose interval holds `p`. Questions differ in difficulty: each has its own
    chance of success, from a Beta distribution with mean `p` and a + b = 2 (flat where p is 0.5)."""
    random, hits = np.random.default_rng(20250514), 0
    for _ in range(trials):
        chance = random.beta(2 * p, 2 * (1 - p), (n_questions, 1))
        got = estimate(random.random((n_questions, n_repeats)) < chance)
        hits += got.ci_low <= p <= got.ci_high
    return hits / trials


@pytest.mark.parametrize("n_repeats", [1, 8])
@pytest.mark.parametrize("n_questions", [30, 200])
@pytest.mark.parametrize("p", [0.05, 0.5, 0.95])
def test_coverage(p: float, n_questions: int, n_repeats: int) -> None:
    """The 95 % interval covers in 93-97 % of runs; 600 trials have a standard error of 0.9 %."""
    assert 0.92 <= coverage(p, n_questions, n_repeats) <= 0.98


def test_one_hard_question_among_easy_ones_widens_by_hand() -> None:
    """Means 1, 1, 1, 1/2: score p = 7/8, se 1/8, so n_eff = p q / se^2 = 7 and right-or-wrong has 4/7 of the
    variance. Errors 1, 1, 1, -3 have k = 84/4 / 9 - 3 = -2/3: too few questions to tell, and df stays 3. Ten
    such means, nine of 1: p = 0.95, se 0.05, n_eff 19, k = (9 + 9^4) / 10 / 9^2 - 3 = 5.1111, less
    (1 - 6 * 0.0475) / 0.0475 * (10 / 19)^2 = 4.1697, is 0.9414; df = 9 / (1 + 0.9414 / 2 * 0.9) = 6.3220,
    where t is 2.41750 and t^2 5.84432."""
    few = estimate([[1.0, 1.0]] * 3 + [[1.0, 0.0]])
    assert few.ci_low == pytest.approx(wilson_low(7 / 8, 7, 3.182446), abs=1e-5)
    ten = estimate([[1.0, 1.0]] * 9 + [[1.0, 0.0]])
    assert ten.stderr == pytest.approx(0.05)
    assert ten.ci_low == pytest.approx(wilson_low(0.95, 19, t.ppf(0.975, 6.3220)), abs=1e-4)


def wilson_low(p: float, n: float, quantile: float) -> float:
    """The lower end of Wilson's interval, as its paper has it."""
    half = quantile * np.sqrt(p * (1 - p) / n + quantile**2 / (4 * n**2))
    return float((p + quantile**2 / (2 * n) - half) / (1 + quantile**2 / n))


@given(st.integers(2, 60), st.integers(0, 60))
def test_right_and_wrong_alone_keep_the_questions_degrees_of_freedom(n: int, right: int) -> None:
    """Without repeats the interval is Wilson's at n - 1 draws with t of n - 1, whatever the score."""
    p = min(right, n) / n
    got = estimate((np.arange(n) < right).astype(float)[:, None])
    if 0 < p < 1:
        assert got.ci_low == pytest.approx(wilson_low(p, n - 1, t.ppf(0.975, n - 1)), abs=1e-9)


def test_a_macro_average_counts_groups_alike_by_hand() -> None:
    """Two groups, [1, 0] and [1, 1, 1, 0]: scores 1/2 and 3/4, mean 5/8; se^2 = 1/4 and 1/16, together
    sqrt(5/16)/2. An unscored group is left out; a group of one question counts with an error of 0.5."""
    got = estimate_macro([[[1.0], [0.0]], [[1.0], [1.0], [1.0], [0.0]], [[np.nan]]])
    assert got.score == pytest.approx(5 / 8)
    assert got.stderr == pytest.approx(np.sqrt(5 / 16) / 2)
    assert (got.n_questions, got.n_repeats) == (6, 1)
    assert 0 <= got.ci_low < got.score < got.ci_high <= 1
    assert estimate_macro([[[1.0]]]).stderr == pytest.approx(0.5)
    assert estimate_macro([]).n_questions == 0


def test_parallel_groups_are_not_independent() -> None:
    """One set of answers in two languages says no more than in one: clustered by question, the error is that
    of one group; taken for independent, it would be smaller by sqrt 2."""
    scores = [[1.0], [0.0], [1.0], [1.0]]
    names = ["0", "1", "2", "3"]
    one = estimate(scores)
    assert estimate_macro([scores, scores], [names, names]).stderr == pytest.approx(one.stderr)
    assert estimate_macro([scores, scores]).stderr == pytest.approx(one.stderr / np.sqrt(2))
    # Question 1 missing in one language, its repeats without a score: the others stay with their own.
    gap = [[1.0], [np.nan], [1.0], [0.0]]
    assert estimate_macro([scores, gap], [names, names]).n_questions == 7
