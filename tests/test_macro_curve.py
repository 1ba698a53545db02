"""Promises of the macro curve: the mean of the groups' curves, with the error of that mean."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from qwen3_eval.stats.bootstrap import percentile_ends, resample_means
from qwen3_eval.stats.curve import budget_reaching, gain_per_doubling, measure_curve
from qwen3_eval.stats.macro_curve import macro_rows, measure_macro_curve

Floats = NDArray[np.float64]
BUDGETS = (128.0, 256.0, 512.0, 1024.0, math.inf)
SIZES = {"a": 300, "b": 60, "c": 30}


def draw(seed: int) -> tuple[Floats, list[str]]:
    """Question means of groups of uneven size, whose curves lie apart."""
    random = np.random.default_rng(seed)
    rows, groups = [], []
    for place, (group, n) in enumerate(SIZES.items()):
        chance = np.clip(0.2 * place + np.linspace(0.1, 0.6, len(BUDGETS)), 0, 1)
        rows.append((random.random((n, 4, len(BUDGETS))) < chance).mean(axis=1))
        groups += [group] * n
    return np.concatenate(rows), groups


def test_golden_two_groups() -> None:
    """Group a rises from 0 to 1 over two doublings by halves, group b stays at 1/2: areas 1/2 and 1/2, gains
    1/2 and 0, so 1/4 a doubling. Over the three questions, two of them b's, the gain would be 1/6."""
    scores = np.array([[0, 0.5, 1], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]])
    got = measure_macro_curve(scores, (1.0, 2.0, 4.0), ["a", "b", "b"], seed=0, n_resamples=50)
    assert got.area is not None
    assert got.gain is not None
    assert (got.area.score, got.gain.per_doubling.value) == pytest.approx((0.5, 0.25))
    assert [step.per_doubling.value for step in got.steps] == pytest.approx([0.25, 0.25])
    assert got.n_questions == 3


def test_numbers_are_those_of_the_mean_of_the_groups_curves() -> None:
    """Area and gain are the means of the groups' own; the budget reached is read from the mean curve."""
    scores, groups = draw(0)
    names = np.array(groups)
    alone = [measure_curve(scores[names == group], BUDGETS, 0, n_resamples=50) for group in SIZES]
    got = measure_macro_curve(scores, BUDGETS, groups, seed=0, n_resamples=50)
    mean = np.mean([scores[names == group].mean(axis=0) for group in SIZES], axis=0, keepdims=True)
    assert got.area is not None
    assert got.gain is not None
    assert got.reached is not None
    assert got.area.score == pytest.approx(np.mean([each.area.score for each in alone if each.area]))
    gains = [each.gain.per_doubling.value for each in alone if each.gain]
    assert got.gain.per_doubling.value == pytest.approx(np.mean(gains))
    want = budget_reaching(mean, BUDGETS, 0, n_resamples=2)
    assert want is not None
    assert got.reached.budget.value == pytest.approx(want.budget.value)


def test_rows_err_as_groups_redrawn_one_by_one() -> None:
    """The spread of 4,000 stratified resamples of the gain, and the ends of the budget reached, within what
    4,000 and 2,000 resamples know them to."""
    scores, groups = draw(1)
    names, random = np.array(groups), np.random.default_rng(2)
    drawn = []
    for group in SIZES:
        inside = scores[names == group]
        drawn.append(inside[random.integers(0, len(inside), (4000, len(inside)))].mean(axis=1))
    means = np.mean(drawn, axis=0)  # (4000, n_budgets)
    rows = macro_rows(scores, groups)
    assert rows.mean(axis=0) == pytest.approx(
        np.mean([scores[names == g].mean(axis=0) for g in SIZES], axis=0)
    )
    assert resample_means(rows, 3).std(axis=0) == pytest.approx(means.std(axis=0), rel=0.08)
    got = gain_per_doubling(rows, BUDGETS)
    apart = np.log2(BUDGETS[:4]) - np.log2(BUDGETS[:4]).mean()
    slopes = means[:, :4] @ (apart / np.sum(apart**2))
    assert got is not None
    assert (got.per_doubling.ci_low, got.per_doubling.ci_high) == pytest.approx(
        percentile_ends(slopes), abs=0.003
    )


def test_one_group_is_the_plain_curve() -> None:
    """Rows of one group differ from its scores by n / (n - 1) in their spread alone."""
    scores, _ = draw(4)
    got = measure_macro_curve(scores, BUDGETS, ["a"] * len(scores), seed=0, n_resamples=200)
    want = measure_curve(scores, BUDGETS, 0, n_resamples=200)
    assert got.area is not None
    assert want.area is not None
    assert (got.area.score, got.area.stderr) == pytest.approx((want.area.score, want.area.stderr))
    assert got.gain is not None
    assert want.gain is not None
    assert got.gain.per_doubling.value == pytest.approx(want.gain.per_doubling.value)
    assert got.gain.per_doubling.ci_low == pytest.approx(want.gain.per_doubling.ci_low, rel=0.01)


def test_questions_without_a_score_somewhere_are_left_out() -> None:
    """Of a group of two one is left, of the other none; clusters follow their rows."""
    scores = np.array([[0.0, 1.0], [math.nan, 1.0], [math.nan, 1.0]])
    got = measure_macro_curve(scores, (1.0, 2.0), ["a", "a", "b"], 0, ["x", "y", "z"], n_resamples=10)
    assert got.n_questions == 1
    assert got.area is not None
    assert got.area.score == 0.5
    assert measure_macro_curve(scores[1:], (1.0, 2.0), ["a", "b"], 0).area is None
