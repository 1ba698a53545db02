"""Promises of the paired difference: paired, clustered, an exact test, and no certainty from no flips."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.stats import binomtest, permutation_test, t, ttest_rel

from qwen3_eval.stats import paired
from qwen3_eval.stats.paired import holm, paired_difference, paired_macro, smallest_difference

Floats = NDArray[np.float64]
GRIDS = arrays(float, st.tuples(st.integers(2, 9), st.just(3)), elements=st.sampled_from([0.0, 1.0, np.nan]))


def flips(n_better: int, n_worse: int, n_equal: int) -> tuple[Floats, Floats]:
    """Two columns of right and wrong answers with so many flips."""
    a = np.array([1.0] * n_better + [0.0] * n_worse + [1.0] * n_equal)
    b = np.array([0.0] * n_better + [1.0] * n_worse + [1.0] * n_equal)
    return a[:, None], b[:, None]


def test_golden_four_questions() -> None:
    """Differences 1, 1, 0, -1: mean 1/4, s^2 = 11/12, se = sqrt(11/48). Two more answers, one each way, make
    the squares 11/4 + 2, so se = sqrt(4/3 * 19/4) / 4 = 0.629153, times t(3) = 3.182446: margin 2.002245."""
    got = paired_difference(*flips(2, 1, 1))
    assert got.difference == 0.25
    assert got.stderr == pytest.approx(np.sqrt(11 / 48))
    assert got.margin == pytest.approx(2.002245, abs=2e-6)
    assert (got.ci_low, got.ci_high) == (-1, 1)
    assert (got.n_questions, got.n_units, got.n_better, got.n_worse, got.n_equal) == (4, 4, 2, 1, 1)
    assert got.p_value == 1.0  # of the 8 sign patterns of three flips, all are 1 or more from 0


def test_repeats_are_averaged_and_half_scored_questions_left_out() -> None:
    """Means 1/2, 1 and none against 0, 1 and 1: differences 1/2 and 0. Repeats may differ in number."""
    got = paired_difference([[1.0, 0.0], [1.0, np.nan], [np.nan, np.nan]], [[0.0], [1.0], [1.0]])
    assert (got.difference, got.stderr) == (0.25, 0.25)
    assert (got.n_questions, got.n_better, got.n_equal) == (2, 1, 1)


def test_golden_clusters() -> None:
    """Differences 1, 1, 0, 0 in clusters a, a, b, b: sums of deviations +1 and -1, se 1/2 as in `estimate`.
    The one unit that differs may have either sign, so p is 1."""
    a, b = np.array([[1.0], [1.0], [0.0], [0.0]]), np.zeros((4, 1))
    got = paired_difference(a, b, clusters=["a", "a", "b", "b"])
    assert (got.stderr, got.n_units, got.n_questions, got.p_value) == pytest.approx((0.5, 2, 4, 1.0))
    assert paired_difference(a, b).p_value == 0.5


def test_a_cluster_whose_questions_are_left_out_does_not_count() -> None:
    a = np.array([[1.0], [0.0], [np.nan]])
    assert paired_difference(a, np.zeros((3, 1)), ["x", "y", "z"]).n_units == 2


@pytest.mark.parametrize(("n_better", "n_worse"), [(3, 0), (9, 2), (17, 5), (60, 41), (700, 610)])
def test_one_answer_a_question_is_mcnemars_exact_test(n_better: int, n_worse: int) -> None:
    """The flips are a fair coin's: scipy's binomial test, however many there are."""
    got = paired_difference(*flips(n_better, n_worse, 50))
    want = binomtest(n_better, n_better + n_worse, 0.5).pvalue
    assert got.p_value == pytest.approx(want, rel=1e-9)


def test_agrees_with_scipys_sign_flips_of_repeats() -> None:
    """Eight questions of four repeats: all 256 sign patterns, as scipy's paired permutation test goes."""
    random = np.random.default_rng(0)
    a, b = (random.random((8, 4)) < 0.7).astype(float), (random.random((8, 4)) < 0.4).astype(float)
    pair = (a.mean(axis=1), b.mean(axis=1))

    def apart(x: Floats, y: Floats, axis: int) -> Floats:
        means: Floats = (x - y).mean(axis=axis)
        return means

    want = permutation_test(pair, apart, permutation_type="samples", n_resamples=np.inf)
    assert paired_difference(a, b).p_value == pytest.approx(want.pvalue)


@settings(deadline=None)
@given(st.lists(st.integers(-6, 6), min_size=1, max_size=9), st.sampled_from([1 / 8, 0.1, 1 / 7, 0.1234567]))
def test_the_ways_to_an_exact_p_agree(steps: list[int], unit: float) -> None:
    """Counted out over all sign patterns, for whole steps of any size, and with one part off the steps."""
    for sums in (np.array(steps) * unit, np.array(steps) * unit + np.pi / 1e3 * np.arange(len(steps))):
        patterns = np.array(list(product([-1, 1], repeat=len(sums))))
        want = np.mean(np.abs(patterns @ np.abs(sums)) >= abs(sums.sum()) - 1e-9)
        assert paired._sign_flip_p(sums) == pytest.approx(want, abs=1e-12)


def test_many_uneven_differences_take_the_normal_form() -> None:
    """400 differences of no common step: within a hundredth of scipy's paired t test."""
    random = np.random.default_rng(4)
    a = random.random((400, 1))
    b = np.clip(a + random.normal(0.012, 0.1, (400, 1)), 0, 1)
    assert paired_difference(a, b).p_value == pytest.approx(ttest_rel(a, b).pvalue[0], abs=0.01)


def test_with_many_flips_the_interval_is_the_plain_t_interval() -> None:
    """At 2,000 flips of 4,000 questions the two more questions do not show."""
    a, b = flips(1100, 900, 2000)
    got, want = paired_difference(a, b), ttest_rel(a, b).confidence_interval()
    assert (got.ci_low, got.ci_high) == pytest.approx((want.low[0], want.high[0]), abs=2e-5)


def test_no_flips_are_not_certainty() -> None:
    """Thirty questions without a flip: margin t2 / (n + t2), as `estimate` has it for thirty of thirty."""
    got = paired_difference(*flips(0, 0, 30))
    t2 = t.ppf(0.975, 29) ** 2
    assert (got.difference, got.stderr, got.p_value) == (0, 0, 1)
    assert (got.margin, got.ci_high) == pytest.approx((t2 / (30 + t2), t2 / (30 + t2)))
    assert smallest_difference(got) > got.margin


def test_one_question_and_none() -> None:
    one = paired_difference([[1.0]], [[0.0]])
    assert (one.difference, one.ci_low, one.ci_high, one.p_value) == (1, -1, 1, 1)
    assert np.isnan(one.stderr)
    assert smallest_difference(one) == np.inf
    none = paired_difference([[np.nan]], [[1.0]])
    assert none.n_questions == none.n_units == 0
    assert np.isnan([none.difference, none.p_value, smallest_difference(none)]).all()


@settings(deadline=None)
@given(GRIDS, st.data())
def test_turning_the_pair_round_turns_the_sign(a: Floats, data: st.DataObject) -> None:
    """b - a has the mirrored interval, the same p and the flips the other way; a - a is 0 with p 1."""
    b = data.draw(arrays(float, a.shape, elements=st.sampled_from([0.0, 1.0])))
    got, turned, same = paired_difference(a, b), paired_difference(b, a), paired_difference(a, a)
    assert (got.n_better, got.n_worse, got.n_equal) == (turned.n_worse, turned.n_better, turned.n_equal)
    if got.n_questions:
        assert got.difference == pytest.approx(-turned.difference)
        assert (got.ci_low, got.ci_high) == pytest.approx((-turned.ci_high, -turned.ci_low))
        assert got.p_value == pytest.approx(turned.p_value)
        assert -1 <= got.ci_low <= got.difference <= got.ci_high <= 1
        assert (same.difference, same.p_value) == (0, 1)


@pytest.mark.parametrize(("a", "b", "clusters"), [
    (np.zeros(3), np.zeros((3, 1)), None), (np.zeros((3, 1)), np.zeros((4, 1)), None),
    (np.zeros((3, 1)), np.zeros((3, 1)), ["x"]),
])  # fmt: skip
def test_refuses_other_shapes(a: Floats, b: Floats, clusters: list[str] | None) -> None:
    with pytest.raises(ValueError, match=r"shape|clusters"):
        paired_difference(a, b, clusters)


def test_a_macro_difference_counts_groups_alike_by_hand() -> None:
    """Differences 1, 0 and 1, 1, -1, 0: group means 1/2 and 1/4, together 3/8. Squared errors 1/4 and 11/48,
    so se = sqrt(23/48) / 2. Weights 1/4 twice and 1/8 four times, mean square 1/32: the two more answers add
    6/5 * 2/32, and t(5) = 2.570582. Of the 16 sign patterns of 2, 1, 1, 1, half are 3 or more from 0."""
    groups = [flips(1, 0, 1), flips(2, 1, 1), (np.full((1, 1), np.nan), np.ones((1, 1)))]
    got = paired_macro(groups)
    assert got.difference == pytest.approx(3 / 8)
    assert got.stderr == pytest.approx(np.sqrt(23 / 48) / 2)
    assert got.margin == pytest.approx(2.570582 * np.sqrt(23 / 192 + 3 / 40), abs=1e-5)
    assert got.p_value == pytest.approx(0.5)
    assert (got.n_questions, got.n_units, got.n_better, got.n_worse, got.n_equal) == (6, 6, 3, 1, 2)


@settings(deadline=None)
@given(GRIDS, st.data())
def test_one_group_is_no_group(a: Floats, data: st.DataObject) -> None:
    """The macro difference of one group is the plain difference, and of b - a the mirrored one."""
    b = data.draw(arrays(float, a.shape, elements=st.sampled_from([0.0, 1.0])))
    got, want, turned = paired_macro([(a, b)]), paired_difference(a, b), paired_macro([(b, a)])
    assert (got.n_questions, got.n_units) == (want.n_questions, want.n_units)
    if want.n_questions > 1:
        for name in ("difference", "stderr", "ci_low", "ci_high", "p_value", "margin", "n_better"):
            assert getattr(got, name) == pytest.approx(getattr(want, name))
        assert (turned.ci_low, turned.n_worse) == pytest.approx((-got.ci_high, got.n_better))


def test_macro_errors_are_those_of_a_bootstrap() -> None:
    """Groups of 400, 60 and 25 questions, each redrawn by itself: the spread of 4,000 macro differences is
    the standard error within 5 % (a spread of 4,000 is known to 1.1 %, and 25 questions take 2 % off one)."""
    random = np.random.default_rng(3)
    groups = [((random.random((n, 3)) < p).astype(float), (random.random((n, 3)) < q).astype(float))
              for n, p, q in ((400, 0.7, 0.6), (60, 0.4, 0.6), (25, 0.9, 0.5))]  # fmt: skip
    got = paired_macro(groups)
    apart = [(a - b).mean(axis=1) for a, b in groups]
    drawn = [d[random.integers(0, len(d), (4000, len(d)))].mean(axis=1) for d in apart]
    assert got.difference == pytest.approx(np.mean([d.mean() for d in apart]))
    assert got.stderr == pytest.approx(np.mean(drawn, axis=0).std(), rel=0.05)


def test_parallel_macro_errors_are_those_of_a_bootstrap_of_numbers() -> None:
    """150 questions in three languages, hard ones hard in each: whole numbers are redrawn, with all their
    languages. Taken for independent, the error would be too small by more than a tenth."""
    random = np.random.default_rng(5)
    chance = random.beta(1, 1, (150, 1))
    lift = np.where(chance > 0.5, 0.3, -0.2)
    groups = [((random.random((150, 2)) < np.clip(chance + lift, 0, 1)).astype(float),
               (random.random((150, 2)) < chance).astype(float)) for _ in range(3)]  # fmt: skip
    numbers = [str(i) for i in range(150)]
    got = paired_macro(groups, [numbers] * 3)
    of_numbers = np.mean([(a - b).mean(axis=1) for a, b in groups], axis=0)
    drawn = of_numbers[random.integers(0, 150, (4000, 150))].mean(axis=1)
    assert got.n_units == 150
    assert got.stderr == pytest.approx(drawn.std(), rel=0.05)
    assert paired_macro(groups).stderr < 0.9 * got.stderr


def test_no_macro_flips_are_not_certainty() -> None:
    """Ten and thirty questions without a flip count as 1 / (10 / 20^2 + 30 / 60^2) = 30 draws that weigh
    alike; a group of one question counts with an error of 1, over the two groups."""
    got = paired_macro([flips(0, 0, 10), flips(0, 0, 30)])
    t2 = t.ppf(0.975, 39) ** 2
    assert (got.stderr, got.p_value, got.margin) == pytest.approx((0, 1, t2 / (30 + t2)))
    assert paired_macro([flips(0, 0, 1), flips(0, 0, 30)]).stderr == pytest.approx(0.5)
    assert np.isnan(paired_macro([]).difference)


def test_holm_by_hand() -> None:
    """0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.06, never falling. NaN does not count."""
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, np.nan, 0.02]) == pytest.approx([0.5, np.nan, 0.04], nan_ok=True)
    assert holm([]).size == 0
    with pytest.raises(ValueError, match="0-1"):
        holm([1.2])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_p_value_and_bonferronis(p_values: list[float]) -> None:
    """And keeps the order."""
    adjusted, plain = holm(p_values), np.array(p_values)
    assert (adjusted >= plain).all()
    assert (adjusted <= np.minimum(1, plain * len(plain)) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(plain, kind="stable")]) >= 0).all()


def test_the_smallest_difference_is_seen_four_times_in_five() -> None:
    """Simulated: 300 questions, flips both ways on 20 % of them, and a true difference as large as one run
    with none says it needs. 1,000 trials have a standard error of 1.3 %; the exact test is a little shy."""
    random = np.random.default_rng(11)

    def run(gain: float) -> tuple[Floats, Floats]:
        draw = random.random((300, 1))
        up, down = draw < 0.1 + gain / 2, draw > 1 - 0.1 + gain / 2
        return up.astype(float), down.astype(float)

    needed = float(np.mean([smallest_difference(paired_difference(*run(0))) for _ in range(50)]))
    assert needed == pytest.approx((1.96 + 0.84) * np.sqrt(0.2 / 300), rel=0.05)
    seen = np.mean([paired_difference(*run(needed)).p_value < 0.05 for _ in range(1000)])
    assert 0.74 < seen < 0.85
