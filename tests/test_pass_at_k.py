"""pass@k against its definition, by hand, by counting subsets, and by simulation."""

from dataclasses import astuple
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3_eval.stats.estimate import estimate
from qwen3_eval.stats.pass_at_k import choose_ks, pass_at_k


@pytest.mark.parametrize(("n", "c", "k", "expected"), [
    (5, 0, 3, 0.0), (5, 1, 1, 0.2), (5, 1, 5, 1.0), (4, 2, 2, 5 / 6), (10, 3, 8, 1.0), (200, 1, 100, 0.5),
])  # fmt: skip
def test_by_hand(n: int, c: int, k: int, expected: float) -> None:
    """1 - C(n - c, k) / C(n, k): of two right among four, 5 of 6 pairs hold one."""
    scores = [[1.0] * c + [0.0] * (n - c)]
    assert pass_at_k(scores, k).score == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=8), st.data())
def test_it_is_the_share_of_subsets_with_a_right_answer(right: list[bool], data: st.DataObject) -> None:
    """Counted out over every subset of k answers."""
    k = data.draw(st.integers(1, len(right)))
    subsets = list(combinations(right, k))
    expected = sum(map(any, subsets)) / len(subsets)
    assert pass_at_k([[float(r) for r in right]], k).score == pytest.approx(expected)


def test_pass_at_1_is_the_score() -> None:
    """With its interval; partial credit is not a pass, and an answer without a score does not count."""
    rng = np.random.default_rng(0)
    scores = (rng.random((50, 8)) < 0.3).astype(float)
    got, plain = pass_at_k(scores, 1), estimate(scores.mean(axis=1, keepdims=True))
    assert astuple(got) == pytest.approx(astuple(plain))
    assert pass_at_k([[0.5, 1.0, np.nan]], 1).score == 0.5


def test_questions_with_too_few_answers_are_left_out() -> None:
    """Three scored answers say nothing of pass@4."""
    got = pass_at_k(np.array([[1, 1, 1, np.nan], [0, 0, 0, 0]]), 4)
    assert (got.score, got.n_questions) == (0, 1)


def test_it_is_unbiased() -> None:
    """The mean over many draws of 10 answers is 1 - (1 - p)^k, within four standard errors."""
    rng = np.random.default_rng(1)
    for p, k in ((0.1, 5), (0.5, 2)):
        got = pass_at_k((rng.random((4000, 10)) < p).astype(float), k)
        assert abs(got.score - (1 - (1 - p) ** k)) < 4 * got.stderr


@pytest.mark.parametrize("k", [0, 5])
def test_a_k_beyond_the_repeats_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match="k must be from 1 to the repeats"):
        pass_at_k(np.zeros((3, 4)), k)


def test_the_ks_of_tables() -> None:
    assert [choose_ks(n) for n in (1, 2, 10, 64)] == [
        [1], [1, 2], [1, 2, 4, 8, 10], [1, 2, 4, 8, 16, 32, 64],
    ]  # fmt: skip
