"""maj@k and avg@n by hand, by counting subsets, and by simulation."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3_eval.stats import repeats
from qwen3_eval.stats.repeats import avg_at_n, maj_at_k, question_maj_at_k

ANSWERS = st.lists(st.sampled_from(["7", "8", "9", None]), min_size=1, max_size=8)


def scored(answers: list[str | None]) -> list[float]:
    """7 is right, 8 half right."""
    return [{"7": 1.0, "8": 0.5}.get(answer or "", 0.0) for answer in answers]


def vote(answers: tuple[str | None, ...]) -> float:
    """The definition, told as plainly as it goes."""
    given = [answer for answer in answers if answer is not None]
    most = max((given.count(answer) for answer in given), default=0)
    return float(np.mean(scored(list({a for a in given if given.count(a) == most})))) if given else 0.0


@pytest.mark.parametrize(("answers", "k", "expected"), [
    (["7", "7", "8"], 3, 1.0),
    (["7", "9"], 2, 0.5),  # a tie, one of two right
    (["7", "8", "9"], 3, 0.5),  # a tie of three: (1 + 1/2 + 0) / 3
    (["9", "9", "7"], 2, 1 / 3),  # pairs 99, 97, 97: 0, 1/2, 1/2
    (["7", None, None], 3, 1.0),  # an answer not found votes for nothing
    ([None, None], 2, 0.0),
    (["7", None, None, None], 3, 0.75),  # of the four triples, one has no vote
])  # fmt: skip
def test_by_hand(answers: list[str | None], k: int, expected: float) -> None:
    assert maj_at_k([answers], [scored(answers)], k).score == pytest.approx(expected)


@settings(max_examples=150, deadline=None)
@given(ANSWERS, st.data())
def test_it_is_the_mean_vote_over_all_subsets(answers: list[str | None], data: st.DataObject) -> None:
    """Counted out, ties, partial credit and answers not found included."""
    k = data.draw(st.integers(1, len(answers)))
    expected = np.mean([vote(subset) for subset in combinations(answers, k)])
    assert question_maj_at_k([answers], [scored(answers)], k)[0, 0] == pytest.approx(expected)


def test_one_vote_is_the_score() -> None:
    """maj@1 is avg@n, with its interval."""
    random = np.random.default_rng(0)
    answers = random.choice(["7", "8", "9"], (40, 8)).tolist()
    scores = np.array([scored(row) for row in answers])
    got, plain = maj_at_k(answers, scores, 1), avg_at_n(scores)
    assert (got.score, got.ci_low, got.ci_high) == pytest.approx((plain.score, plain.ci_low, plain.ci_high))


def test_answers_without_a_score_are_left_out() -> None:
    """An error is neither a vote nor a place; a question with fewer than k others is not counted."""
    got = maj_at_k([["9", "9", "7"], ["7", "7", "7"]], [[np.nan, np.nan, 1.0], [1.0, 1.0, 1.0]], 2)
    assert (got.score, got.n_questions) == (1.0, 1)


def test_an_answer_scored_both_ways_scores_the_mean() -> None:
    """As two judgements of one answer may: the vote does not know which of them it draws."""
    assert maj_at_k([["7", "7"]], [[1.0, 0.0]], 2).score == 0.5


def test_sampled_subsets_agree_with_counted_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within four standard errors of 4,096 subsets; the seed fixes them."""
    answers = [["7"] * 8 + ["8"] * 7 + ["9"] * 6 + [None] * 3]
    scores = [scored(answers[0])]
    exact = question_maj_at_k(answers, scores, 9)[0, 0]
    monkeypatch.setattr(repeats, "MAX_EXACT", 0)
    sampled = [question_maj_at_k(answers, scores, 9, seed)[0, 0] for seed in (0, 0, 1)]
    assert sampled[0] == sampled[1] != sampled[2]
    assert sampled == pytest.approx([exact] * 3, abs=4 * 0.5 / np.sqrt(repeats.N_SUBSETS))


def test_many_answers_are_counted_without_overflow() -> None:
    """Of 128 answers 64 right and 64 wrong, a vote of 63 is even by symmetry."""
    answers = [["7"] * 64 + ["9"] * 64]
    assert question_maj_at_k(answers, [[1.0] * 64 + [0.0] * 64], 63)[0, 0] == pytest.approx(0.5)


def test_it_is_unbiased() -> None:
    """Ten answers right with chance 0.6 and else all alike: the mean maj@3 is p^3 + 3 p^2 (1 - p) = 0.648."""
    right = np.random.default_rng(2).random((4000, 10)) < 0.6
    got = maj_at_k(np.where(right, "7", "9").tolist(), right.astype(float), 3)
    assert abs(got.score - 0.648) < 4 * got.stderr


def test_avg_at_n_asks_for_n_scored_answers() -> None:
    """Means 1/2 and 1; the second question has one scored answer, and avg@2 leaves it out."""
    scores = np.array([[1.0, 0.0], [1.0, np.nan]])
    assert (avg_at_n(scores).score, avg_at_n(scores, 2).score) == (0.75, 0.5)
    assert avg_at_n(scores, 2).n_questions == 1


@pytest.mark.parametrize("k", [0, 3])
def test_a_k_beyond_the_repeats_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match="k must be from 1 to the repeats"):
        maj_at_k([["7", "9"]], [[1, 0]], k)
    with pytest.raises(ValueError, match="k must be from 1 to the repeats"):
        avg_at_n([[1, 0]], k)


def test_answers_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="one answer to a score"):
        maj_at_k([["7"]], [[1, 0]], 1)
