"""Promises of the curve's numbers: by hand where a hand can, recovered where they are known, silent else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import curve_fit

from qwen3_eval.stats.curve import (
    Curve,
    area,
    budget_reaching,
    fit_saturation,
    gain_per_doubling,
    gain_steps,
    measure_curve,
    pareto_front,
    score_per_1k_tokens,
)
from qwen3_eval.stats.paired import paired_difference

Floats = NDArray[np.float64]
BUDGETS = [512, 1024, 2048, 4096, 8192, 16384]
INF = float("inf")
TRUE_C, TRUE_A, TRUE_B = 0.8, 0.5, 0.7  # a in units of the first budget


def rows(*means: float) -> Floats:
    """Two questions around these means."""
    around: Floats = np.array([means, means]) + np.array([[0.05], [-0.05]])
    return around


def saturating(n_questions: int, seed: int = 0, n_repeats: int = 8) -> Floats:
    """Answers to a known curve; a question's luck is the same at every budget, as along a trace."""
    random = np.random.default_rng(seed)
    chance = TRUE_C - TRUE_A * (np.array(BUDGETS) / BUDGETS[0]) ** -TRUE_B
    shift = random.uniform(-0.15, 0.15, (n_questions, 1))
    means: Floats = random.binomial(n_repeats, chance + shift) / n_repeats
    return means


def test_area_by_hand() -> None:
    """0.2 to 0.4 over one doubling, 0.4 to 0.8 over two: (0.3 * 1 + 0.6 * 2) / 3 = 0.5. Neither 0 nor inf
    has a place on the axis, and one budget has no area."""
    got = area(rows(0.2, 0.4, 0.8), [512, 1024, 4096])
    assert got is not None
    assert (got.score, got.n_questions) == pytest.approx((0.5, 2))
    more = area(rows(0.1, 0.2, 0.4, 0.8, 0.9), [0, 512, 1024, 4096, INF])
    assert more is not None
    assert more.score == pytest.approx(0.5)
    assert area(rows(0.1, 0.2, 0.9), [0, 512, INF]) is None


@given(st.lists(st.floats(0.05, 0.95), min_size=3, max_size=6))
def test_area_lies_between_the_lowest_and_the_highest_score(means: list[float]) -> None:
    got = area(rows(*means), BUDGETS[: len(means)])
    assert got is not None
    assert min(means) - 1e-9 <= got.score <= max(means) + 1e-9


def test_gain_by_hand() -> None:
    """0.1 a doubling all along, in steps and over all; a step of two doublings gains 0.2."""
    scores, budgets = rows(0.2, 0.3, 0.5), [512, 1024, 4096]
    whole = gain_per_doubling(scores, budgets)
    assert whole is not None
    assert (whole.from_budget, whole.to_budget) == (512, 4096)
    assert whole.per_doubling.value == pytest.approx(0.1)
    assert [step.per_doubling.value for step in gain_steps(scores, budgets)] == pytest.approx([0.1, 0.1])


def test_a_steps_interval_is_the_paired_one() -> None:
    """Over one doubling: the difference and standard error that `paired_difference` has, clusters too."""
    scores, names = saturating(60), [i // 3 for i in range(60)]
    step = gain_steps(scores, BUDGETS, names)[0].per_doubling
    want = paired_difference(scores[:, 1:2], scores[:, :1], names)
    assert step.value == pytest.approx(want.difference)
    assert (step.ci_high - step.value) / 2.093024 == pytest.approx(want.stderr)  # t(19)


def test_budget_reaching_by_hand() -> None:
    """95 % of 0.8 is 0.76, three quarters of the way from 0.6 at 1024 to 0.8133 at 2048: 1024 * 2^0.75."""
    got = budget_reaching(rows(0.2, 0.6, 0.6 + 0.16 / 0.75, 0.8), [512, 1024, 2048, INF], seed=0)
    assert got is not None
    assert (got.budget.value, got.of_budget) == pytest.approx((1024 * 2**0.75, INF))
    largest = budget_reaching(rows(0.2, 0.6, 0.8), [512, 1024, 2048], seed=0)
    assert largest is not None
    assert (largest.budget.value, largest.of_budget) == pytest.approx((1024 * 2**0.8, 2048))


@pytest.mark.parametrize(("means", "budgets", "expected"), [
    ((0.5, 0.5, 0.5), [512, 1024, INF], 512), ((0.3, 0.5, 0.8), [512, 1024, INF], INF),
    ((0.8, 0.8, 0.8), [0, 512, INF], 0), ((0.1, 0.8, 0.8), [0, 512, INF], 512),
])  # fmt: skip
def test_budget_reaching_at_the_ends(means: list[float], budgets: list[float], expected: float) -> None:
    """The smallest budget where it is enough, inf where none is, and no line from 0 to the next."""
    got = budget_reaching(rows(*means), budgets, seed=0)
    assert got is not None
    assert got.budget.value == expected


def test_nothing_to_reach() -> None:
    assert budget_reaching(np.zeros((3, 2)), [512, INF], seed=0) is None
    assert budget_reaching(np.full((3, 2), np.nan), [512, INF], seed=0) is None


def test_the_fit_agrees_with_scipys() -> None:
    """The same weighted least squares, solved by scipy's Levenberg-Marquardt."""
    scores = saturating(400)
    got = fit_saturation(scores, BUDGETS, seed=0)
    assert got is not None
    errors = scores.std(axis=0, ddof=1) / np.sqrt(len(scores))
    unit = np.array(BUDGETS) / BUDGETS[0]
    want, _ = curve_fit(
        lambda x, c, a, b: c - a * x**-b, unit, scores.mean(axis=0), [0.7, 0.4, 1.0], errors, xtol=1e-12
    )
    assert (got.c.value, got.a / BUDGETS[0] ** got.b.value, got.b.value) == pytest.approx(want, rel=1e-3)
    assert got.predict([512, INF]) == pytest.approx([want[0] - want[1], got.c.value], rel=1e-3)


def test_the_fits_intervals_hold_the_truth() -> None:
    """In 93-97 % of runs, with four standard errors (1.5 % each) of 200 runs allowed below."""
    held = []
    for seed in range(200):
        got = fit_saturation(saturating(400, seed), BUDGETS, seed=seed, n_resamples=400)
        assert got is not None
        held.append([got.c.ci_low <= TRUE_C <= got.c.ci_high, got.b.ci_low <= TRUE_B <= got.b.ci_high])
    assert (np.mean(held, axis=0) >= 0.89).all()


@pytest.mark.parametrize(("scores", "budgets"), [
    (saturating(400)[:, :3], BUDGETS[:3]),
    (saturating(400)[:, :5], [0, *BUDGETS[:3], INF]),
    (np.tile(saturating(400)[:, :1], 6), BUDGETS),  # no rise
    (saturating(400)[:, ::-1], BUDGETS),  # a fall
    (saturating(40, n_repeats=1), BUDGETS),  # too few questions to tell c
    (np.clip(0.1 + 0.1 * np.arange(6) + saturating(400) * 0.1, 0, 1), BUDGETS),  # a line: no end in sight
    ((np.random.default_rng(0).random((400, 1)) < [0.3, 0.7, 0.7, 0.7, 0.7, 0.7]) * 1.0, BUDGETS),  # a step
    ((np.random.default_rng(0).random((4000, 1)) < [0.1, 0.1, 0.1, 0.7, 0.75, 0.76]) * 1.0, BUDGETS),  # an S
])  # fmt: skip
def test_the_fit_is_silent_where_data_do_not_support_it(scores: Floats, budgets: list[float]) -> None:
    assert fit_saturation(scores, budgets, seed=0) is None


def test_the_whole_curve_is_its_parts() -> None:
    """One call and the single ones give the same numbers for the same seed, and the same again."""
    scores, names = saturating(100), [i // 2 for i in range(100)]
    whole = measure_curve(scores, BUDGETS, 7, names)
    assert whole == measure_curve(scores, BUDGETS, 7, names)
    assert whole == Curve(
        100,
        area(scores, BUDGETS, names),
        gain_per_doubling(scores, BUDGETS, names),
        gain_steps(scores, BUDGETS, names),
        budget_reaching(scores, BUDGETS, 7, names),
        fit_saturation(scores, BUDGETS, 7, names),
    )


def test_questions_without_a_score_somewhere_are_left_out() -> None:
    """So that budgets differ in nothing else; no question leaves nothing to say."""
    scores = saturating(50)
    scores[3, 2] = np.nan
    assert measure_curve(scores, BUDGETS, 0) == measure_curve(np.delete(scores, 3, axis=0), BUDGETS, 0)
    assert measure_curve(np.full((2, 6), np.nan), BUDGETS, 0) == Curve(0, None, None, (), None, None)


@pytest.mark.parametrize(
    ("shape", "budgets"), [((3, 2), [1]), ((3,), [1]), ((3, 2), [2, 1]), ((3, 2), [-1, 1])]
)
def test_refuses_other_shapes_and_orders(shape: tuple[int, ...], budgets: list[float]) -> None:
    with pytest.raises(ValueError, match=r"shape|rise"):
        measure_curve(np.zeros(shape), budgets, 0)


def test_pareto_front_by_hand() -> None:
    """Fewer tokens or more score; equal points stay together; NaN is on no front."""
    points = [(100, 0.5), (50, 0.5), (200, 0.9), (150, 0.4), (50, 0.5), (200, 0.8), (np.nan, 1.0)]
    assert pareto_front(points) == [1, 4, 2]
    assert pareto_front([]) == []


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_pareto_front_is_what_no_point_beats(points: list[tuple[int, int]]) -> None:
    """Counted out over all pairs."""

    def beaten(point: tuple[int, int]) -> bool:
        return any(o != point and o[0] <= point[0] and o[1] >= point[1] for o in points)

    assert sorted(pareto_front(points)) == [i for i, point in enumerate(points) if not beaten(point)]


def test_score_per_1k_tokens_by_hand() -> None:
    """Scores 1 and 0 for 1,000 and 3,000 tokens: 0.5 per 2,000, so 0.25 per 1,000; not the mean of 1 and 0.
    Errors (1 - 0.25) / 2 and (0 - 0.75) / 2: se = 0.375 with n - 1; a question without tokens is left out."""
    got = score_per_1k_tokens([1, 0, 1], [1000, 3000, np.nan])
    assert got is not None
    assert (got.value, got.ci_low) == (0.25, 0)
    assert got.ci_high == pytest.approx(0.25 + 0.375 * 12.706205)  # t(1)
    assert score_per_1k_tokens([1, 0], [0, 0]) is None


def test_a_curve_on_which_nothing_moved_is_no_certainty() -> None:
    """Where no question gains, the gain has the width of Wilson's interval after as many draws without one.

    By hand: t = 2.2622 with 9 degrees of freedom, so 10 questions leave t^2 / (10 + t^2) = 0.3385 of the most
    that one can gain: over the two doublings from 1k to 4k 1/2 a doubling, and a whole one in one step.
    """
    flat = np.zeros((10, 3))
    gain = gain_per_doubling(flat, [1024, 2048, 4096])
    assert gain is not None
    assert (gain.per_doubling.value, gain.per_doubling.ci_low, gain.per_doubling.ci_high) == pytest.approx(
        (0, -0.3385 / 2, 0.3385 / 2), abs=1e-4
    )
    first = gain_steps(flat, [1024, 2048, 4096])[0].per_doubling
    assert (first.ci_low, first.ci_high) == pytest.approx((-0.3385, 0.3385), abs=1e-4)
