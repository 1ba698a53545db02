"""Promises of the drop's one-sided tests: exact with few flips or none, as often wrong as they claim."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import gammaln
from scipy.stats import binom, ttest_1samp

from qwen3_eval.stats import gamma_tail
from qwen3_eval.stats.gamma_tail import tail_of_gammas
from qwen3_eval.stats.noninferiority import Drop, measure_drop, plan_decision

Floats = NDArray[np.float64]
QUARTERS = st.lists(st.integers(-4, 4).map(lambda n: n / 4), min_size=1, max_size=40)


@pytest.mark.parametrize(("n", "tolerance"), [(200, 0.001), (200, 0.01), (298, 0.01), (299, 0.01), (28, 0.1)])
def test_golden_no_flips(n: int, tolerance: float) -> None:
    """A fault in one question of 1/tolerance is missed by n questions with a chance of (1 - tolerance)^n: the
    rule of three, so that 299 questions are the fewest to show a drop below 0.01."""
    got = measure_drop(np.zeros(n), tolerance)
    assert got.p_within == pytest.approx((1 - tolerance) ** n, rel=1e-9)
    assert got.p_beyond == 1
    assert (got.p_within < 0.05) == (n == 299)
    assert (got.drop, got.spread) == (0, 0)
    assert got.high == pytest.approx(1 - 0.05 ** (1 / n), abs=1e-5)


@pytest.mark.parametrize("tolerance", [0.01, 0.3, 0.9])
def test_golden_two_questions(tolerance: float) -> None:
    """With drops 1 and 0 and one more of 1, the mean is D1 + D3 of Dirichlet(1, 1, 1), a Beta(2, 1), at m or
    above with chance 1 - m^2. With -1 and 0 it is D3 - D1: the triangle beyond m has (1 - m)^2 / 2 of the
    area. One more of -1 instead: -D1 - D3 is never above m, and D1 - D3 is so with (1 - m)^2 / 2."""
    m = tolerance
    one, other = measure_drop([1.0, 0.0], m), measure_drop([-1.0, 0.0], m)
    assert one.p_within == pytest.approx(1 - m**2, rel=1e-9)
    assert other.p_within == pytest.approx((1 - m) ** 2 / 2, rel=1e-9)
    assert one.p_beyond == pytest.approx(1 - (1 - m) ** 2 / 2, rel=1e-9)
    assert other.p_beyond == 1


@pytest.mark.parametrize(("n", "right"), [(1, 0), (30, 30), (30, 0), (198, 120), (1319, 1030)])
def test_against_a_known_number_it_is_the_binomial_test(n: int, right: int) -> None:
    """Right and wrong answers against a published 0.8: scipy's binomial tails at 0.8 less the tolerance."""
    drops = 0.8 - (np.arange(n) < right).astype(float)
    got = measure_drop(drops, 0.02, span=(-0.2, 0.8))
    assert got.p_within == pytest.approx(binom.sf(right - 1, n, 0.78), rel=1e-8)
    assert got.p_beyond == pytest.approx(binom.cdf(right, n, 0.78), rel=1e-8)


@pytest.mark.parametrize("tolerance", [0.0, 0.02, 0.1, 0.25])
@pytest.mark.parametrize("n", [12, 35])
def test_no_pair_of_right_and_wrong_is_called_wrongly_too_often(n: int, tolerance: float) -> None:
    """Every outcome of n pairs counted out, at the tolerance itself: either test is wrong at most 5 % of the
    time, from no question that gets better up to half of them."""
    worse, better = np.array([(w, b) for w, b in product(range(n + 1), repeat=2) if w + b <= n]).T
    outcomes = [
        measure_drop(np.repeat([1.0, -1.0, 0.0], [w, b, n - w - b]), tolerance, None)
        for w, b in zip(worse, better, strict=True)
    ]
    within, beyond = np.array([[o.p_within < 0.05, o.p_beyond < 0.05] for o in outcomes]).T
    ways = gammaln(n + 1) - gammaln(worse + 1) - gammaln(better + 1) - gammaln(n - worse - better + 1)
    sizes = []
    for p_better in (1e-9, 0.003, 0.01, 0.03, 0.1, 0.2, 0.35):
        logs = [np.log(p) for p in (p_better + tolerance, p_better, 1 - 2 * p_better - tolerance)]
        chances = np.exp(ways + worse * logs[0] + better * logs[1] + (n - worse - better) * logs[2])
        sizes.append((chances[within].sum(), chances[beyond].sum()))
    assert np.max(sizes) <= 0.05
    assert np.max(sizes) > 0.02  # and it is no test that never speaks


@settings(deadline=None, max_examples=60)
@given(QUARTERS, st.sampled_from([0.0, 0.01, 0.1, 0.5]), st.sampled_from([0.05, 0.01]))
def test_the_bounds_are_where_the_tests_turn(drops: list[float], tolerance: float, alpha: float) -> None:
    """The drop is shown to be within a tolerance exactly where its upper bound is, and beyond likewise; what
    gets better by as much mirrors both."""
    got, mirrored = measure_drop(drops, tolerance, alpha), measure_drop(-np.array(drops), tolerance, alpha)
    assert got.low <= got.drop <= got.high
    if abs(got.high - tolerance) > 1e-5:
        assert (got.p_within < alpha) == (got.high < tolerance)
    if abs(got.low - tolerance) > 1e-5:
        assert (got.p_beyond < alpha) == (got.low > tolerance)
    assert (mirrored.low, mirrored.high) == pytest.approx((-got.high, -got.low), abs=1e-5)
    assert not (got.p_within < alpha and got.p_beyond < alpha)


def test_with_many_questions_it_is_the_t_test() -> None:
    """At 40,000 questions within a hundredth of scipy's one-sided t tests."""
    drops = np.random.default_rng(5).choice([-1.0, 0.0, 1.0], 40_000, p=[0.1, 0.78, 0.12])
    for tolerance in (0.015, 0.02, 0.025):
        got = measure_drop(drops, tolerance)
        assert got.p_within == pytest.approx(
            ttest_1samp(drops, tolerance, alternative="less").pvalue, abs=0.01
        )
        want = ttest_1samp(drops, tolerance, alternative="greater").pvalue
        assert got.p_beyond == pytest.approx(want, abs=0.01)


def test_a_cluster_counts_as_one_question() -> None:
    """Three copies of each question, clustered, say no more than the question does."""
    drops = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], 80, p=[0.1, 0.7, 0.2])
    once = measure_drop(drops, 0.05)
    thrice = measure_drop(np.repeat(drops, 3), 0.05, clusters=[i // 3 for i in range(240)])
    assert (thrice.p_within, thrice.p_beyond) == pytest.approx((once.p_within, once.p_beyond))
    assert (thrice.n_units, thrice.n_questions) == (80, 240)
    assert measure_drop(np.repeat(drops, 3), 0.05).p_beyond < once.p_beyond


def test_groups_count_alike_and_differ_without_doubt() -> None:
    """Groups of 20 and 60 with drops 0.5 and 0.1: the mean is 0.3, not 0.2, and that they differ is no
    spread: all that is left of it is the one more question, of the smaller group, which weighs twice."""
    drops = np.repeat([0.5, 0.1], [20, 60])
    got = measure_drop(drops, 0.35, strata=["a"] * 20 + ["b"] * 60)
    assert (got.drop, got.spread) == pytest.approx((0.3, 0))
    # One of 1 with weight 2 lifts 80 others of 0.3 to 0.35 where it has 1/14 of the weight.
    assert got.p_within == pytest.approx((1 + 0.05 / (2 * 0.65)) ** -80, rel=0.05)
    assert measure_drop(drops, 0.35).drop == pytest.approx(0.2)


def test_questions_without_a_score_are_left_out() -> None:
    """They do not count as unchanged, and none at all says nothing."""
    got = measure_drop([1.0, np.nan, 0.0], 0.1, clusters=["x", "y", "z"], strata=["a", "b", "a"])
    assert (got.n_questions, got.n_units, got.drop) == (2, 2, 0.5)
    none = measure_drop([np.nan], 0.1)
    assert none.n_questions == 0
    assert np.isnan([none.drop, none.low, none.p_within, none.p_beyond]).all()
    assert plan_decision(none, 0.1) is None


def test_what_cannot_be_tested_is_refused() -> None:
    with pytest.raises(ValueError, match="outside the span"):
        measure_drop([0.0, 1.5], 0.1)
    with pytest.raises(ValueError, match="drops has shape"):
        measure_drop([[0.0]], 0.1)
    with pytest.raises(ValueError, match="clusters names 1"):
        measure_drop([0.0, 0.0], 0.1, clusters=["x"])


def test_many_different_values_lose_nothing() -> None:
    """3,000 token counts with a long tail, none like another, gathered on a grid: the chance that 40,000
    drawn weights have, within the error of drawing."""
    random = np.random.default_rng(2)
    drops = random.lognormal(0, 1.2, 3000) - random.lognormal(0, 1.2, 3000) + 0.05
    most = float(np.abs(drops).max())
    weights = random.exponential(size=(4000, 3001))
    means = weights @ np.append(drops, most) / weights.sum(axis=1)
    for tolerance in np.quantile(means, [0.1, 0.5, 0.9]):
        got = measure_drop(drops, float(tolerance), None, (-most, most))
        assert got.p_within == pytest.approx(np.mean(means >= tolerance), abs=0.03)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.floats(-3, 1), st.booleans(), st.integers(1, 1500)), min_size=2, max_size=7),
    st.floats(-2, 2),
)
def test_the_chance_does_not_depend_on_the_path(terms: list[tuple[float, bool, int]], off: float) -> None:
    """Few large values against many small ones, in any mixture near balance: another path of integration and
    the mirrored sum give the same chance."""
    values = np.array([10**size * (1 if up else -1) for size, up, _ in terms])
    counts = np.array([count for _, _, count in terms], dtype=float)
    most = int(np.argmax(counts))
    rest = counts @ values - counts[most] * values[most]
    values[most] = (off * np.sqrt(counts @ values**2) - rest) / counts[most]
    got = tail_of_gammas(values, counts)
    assert 1 - tail_of_gammas(-values, counts) == pytest.approx(got, abs=1e-8) or not values.any()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gamma_tail, "BEND", 0.2)
        assert tail_of_gammas(values, counts) == pytest.approx(got, abs=1e-8)


@pytest.mark.parametrize(("n", "k", "p"), [(1, 1, 0.3), (10, 10, 0.2), (200, 199, 0.99), (20000, 16100, 0.8)])
def test_golden_gamma_sums(n: int, k: int, p: float) -> None:
    """Gamma(k) over Gamma(k) + Gamma(n + 1 - k) is Beta(k, n + 1 - k), whose tail is the binomial's."""
    got = tail_of_gammas([p - 1, p], [k, n + 1 - k])
    assert got == pytest.approx(binom.sf(k - 1, n, p), rel=1e-8)


@pytest.mark.parametrize("n_repeats", [1, 4])
def test_the_planned_questions_decide_with_the_chance_that_is_said(n_repeats: int) -> None:
    """300 questions at p 0.8 and no drop are undecided at 0.03; with as many as planned, 80 % pass."""
    random = np.random.default_rng(3)

    def ask(n: int) -> Drop:
        a, b = (random.binomial(n_repeats, 0.8, n) / n_repeats for _ in range(2))
        return measure_drop(b - a, 0.03, None)

    spread = np.sqrt(2 * 0.16 / n_repeats)
    seen = Drop(0.0, float(spread), -0.05, 0.05, 0.5, 0.99, 100, 100)
    need = plan_decision(seen, 0.03)
    assert need is not None
    assert need.questions is not None
    assert (need.outcome, need.drop) == ("pass", 0)
    passed = np.mean([ask(need.questions).p_within < 0.05 for _ in range(400)])
    assert passed == pytest.approx(0.8, abs=0.06)


def test_the_planned_repeats_decide_with_the_chance_that_is_said() -> None:
    """Two answers each to 800 questions, all of whose spread is chance: the repeats planned let 80 % pass.
    Where none of the spread is chance, no repeats are named."""
    random = np.random.default_rng(4)
    seen = Drop(0.0, float(np.sqrt(2 * 0.16 / 2)), -0.03, 0.03, 0.3, 0.99, 800, 800)
    need = plan_decision(seen, 0.02, n_repeats=2, noise=2 * 0.16 / 2)
    assert need is not None
    assert need.repeats is not None
    assert not need.at_least
    answers = random.binomial(need.repeats, 0.8, (400, 2, 800)) / need.repeats
    passed = np.mean([measure_drop(b - a, 0.02, None).p_within < 0.05 for a, b in answers])
    assert passed == pytest.approx(0.8, abs=0.07)
    rigid = plan_decision(seen, 0.02, n_repeats=2, noise=0.0)
    assert rigid is not None
    assert rigid.repeats is None


def test_a_plan_says_what_the_drop_seen_leans_to() -> None:
    """Above the tolerance a regression, below it a pass; at the tolerance itself nothing is in reach. No
    flip in 100 questions asks for the 299 that the rule of three has."""
    seen = {drop: measure_drop(np.repeat([1.0, 0.0], [drop, 200 - drop]), 0.1) for drop in (4, 20, 25, 40)}
    needs = {drop: plan_decision(got, 0.1) for drop, got in seen.items()}
    assert needs[20] is None
    assert needs[25] is not None
    assert (needs[25].outcome, needs[25].drop) == ("regression", 0.125)
    assert seen[4].p_within < 0.05
    assert seen[40].p_beyond < 0.05
    none = plan_decision(measure_drop(np.zeros(100), 0.01), 0.01)
    assert none is not None
    assert (none.questions, none.repeats) == (299, None)
