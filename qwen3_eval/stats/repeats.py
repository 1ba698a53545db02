"""What several answers to one question are worth: their mean (avg@n) and their majority vote (maj@k)."""

from collections.abc import Hashable, Sequence
from functools import lru_cache
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qwen3_eval.stats.estimate import Estimate, estimate

MAX_EXACT = 128
"""Answers to a question up to which every subset is counted; beyond, subsets are sampled."""
N_SUBSETS = 4096
"""Sampled subsets a question: a standard error of at most 0.8 points in one question's maj@k."""
CHUNK_ENTRIES = 2**23

Floats = NDArray[np.float64]
Votes = tuple[tuple[int, float], ...]
"""For each different answer, how many gave it, and its score."""


def avg_at_n(scores: ArrayLike, n: int | None = None, clusters: Sequence[Hashable] | None = None) -> Estimate:
    """Returns the mean over questions of the mean score of each one's answers, with its 95 % interval.

    `scores` is (n_questions, n_repeats), NaN where an answer has no score. With `n`, questions with fewer
    than n scored answers are left out; answers beyond n still count, as they only tighten what is estimated.
    Raises ValueError where n is not from 1 to n_repeats.
    """
    values = np.asarray(scores, dtype=float)
    if n is not None:
        _check_k("avg", n, values)
        values = np.where(np.sum(~np.isnan(values), axis=1, keepdims=True) >= n, values, np.nan)
    return estimate(values, clusters)


def maj_at_k(
    answers: Sequence[Sequence[Hashable | None]],
    scores: ArrayLike,
    k: int,
    seed: int = 0,
    clusters: Sequence[Hashable] | None = None,
) -> Estimate:
    """Returns the mean over questions of each question's maj@k, with its 95 % interval over questions.

    Takes and raises what `question_maj_at_k` does. `clusters` names each question's cluster.
    """
    return estimate(question_maj_at_k(answers, scores, k, seed), clusters)


def question_maj_at_k(
    answers: Sequence[Sequence[Hashable | None]], scores: ArrayLike, k: int, seed: int = 0
) -> Floats:
    """Returns each question's expected score of a majority vote among k of its answers, (n_questions, 1).

    `answers` is (n_questions, n_repeats): extracted answers, equal where they are the same answer, and None
    where none was found. `scores` has their scores, in the same shape; NaN marks an answer without a score,
    which is left out, and a question with fewer than k others is NaN.

    - An answer not found takes one of the k places and votes for nothing; k of them score 0.
    - A tie counts by the mean score of the tied answers: what drawing one of them would score on average.
    - The same answer scored differently, as by a judge, scores the mean.

    The expectation runs over all subsets of k, by counting, for questions of up to 128 scored answers or
    where k is all of them; beyond, over 4,096 subsets drawn with `seed`. Raises ValueError where k is not
    from 1 to n_repeats, or the shapes differ.

    Source: majority vote over sampled answers, Wang et al. 2022, "Self-Consistency Improves Chain of Thought
    Reasoning" (arXiv:2203.11171), section 2; the mean over subsets is to it what pass@k's estimator is to
    pass@k (Chen et al. 2021, arXiv:2107.03374).
    """
    values = np.asarray(scores, dtype=float)
    _check_k("maj", k, values)
    if len(answers) != len(values) or any(len(row) != values.shape[1] for row in answers):
        raise ValueError(f"answers must have the shape of scores, {values.shape}, one answer to a score")
    _, first, kind = np.unique(_kinds(answers, values), axis=0, return_index=True, return_inverse=True)
    of_kinds = [
        _of_question(answers[i], values[i].tolist(), k, seed, number) for number, i in enumerate(first)
    ]
    return np.array(of_kinds, dtype=float)[kind].reshape(-1, 1)


def _kinds(answers: Sequence[Sequence[Hashable | None]], values: Floats) -> Floats:
    """Returns rows, (n_questions, n_repeats), that are equal where questions were answered alike.

    That is, where as many answers came as often, with the same scores: there are few kinds of question, and
    one vote serves all of a kind. An entry is how often its answer came, and half the answer's score.
    """
    names: dict[Hashable | None, int] = {None: 0}
    codes = np.array([[names.setdefault(answer, len(names)) for answer in row] for row in answers])
    scored = ~np.isnan(values)
    kinds = np.empty(values.shape)
    n_rows = max(1, CHUNK_ENTRIES // values.shape[1] ** 2)
    for start in range(0, len(values), n_rows):
        rows = slice(start, start + n_rows)
        same = (codes[rows, :, None] == codes[rows, None, :]) & scored[rows, None, :]
        counts = same.sum(axis=2)
        sums = np.einsum("qij,qj->qi", same, np.where(scored[rows], values[rows], 0.0))
        kinds[rows] = counts + sums / np.maximum(counts, 1) / 2
    kinds[codes == 0] = -1
    kinds[~scored] = -2
    kinds.sort(axis=1)
    return kinds


def _of_question(
    row: Sequence[Hashable | None], scores: list[float], k: int, seed: int, number: int
) -> float:
    counts: dict[Hashable | None, int] = {}
    sums: dict[Hashable | None, float] = {}
    for answer, score in zip(row, scores, strict=True):
        if score == score:  # not NaN
            counts[answer] = counts.get(answer, 0) + 1
            sums[answer] = sums.get(answer, 0.0) + score
    n, silent = sum(counts.values()), counts.pop(None, 0)
    if n < k:
        return float("nan")
    votes: Votes = tuple(sorted((count, sums[answer] / count) for answer, count in counts.items()))
    if k == n:
        return _vote(votes)
    if k == 1:
        return sum(count * score for count, score in votes) / n
    if n <= MAX_EXACT:
        return _expected_vote(votes, silent, k)
    return _sampled_vote(votes, silent, k, np.random.default_rng([seed, number]))


def _vote(votes: Votes) -> float:
    """Returns the score of the answer that most gave, the mean of those that tie, 0 where none was given."""
    most = max((count for count, _ in votes), default=0)
    tied = [score for count, score in votes if count == most]
    return sum(tied) / len(tied) if tied else 0.0


@lru_cache(maxsize=2**16)
def _expected_vote(votes: Votes, silent: int, k: int) -> float:
    """Returns the mean of `_vote` over all subsets of k answers.

    For each number v of votes that may win, answers are taken in one after another, each with fewer than v
    votes or, tied for the lead, with v. `ways` counts the subsets by (answers taken, answers that lead), and
    `score` adds up the leaders' scores over them. Counting takes as long for few subsets as for many.
    """
    total = 0.0
    for v in range(1, min(k, max((count for count, _ in votes), default=0)) + 1):
        ways = np.zeros((k + 1, k // v + 2))
        score = np.zeros_like(ways)
        for taken in range(min(silent, k) + 1):
            ways[taken, 0] = float(comb(silent, taken))
        for count, worth in votes:
            new_ways, new_score = ways.copy(), score.copy()
            for taken in range(1, min(v, count + 1)):
                subsets = float(comb(count, taken))
                new_ways[taken:] += subsets * ways[:-taken]
                new_score[taken:] += subsets * score[:-taken]
            if count >= v:
                subsets = float(comb(count, v))
                new_ways[v:, 1:] += subsets * ways[:-v, :-1]
                new_score[v:, 1:] += subsets * (score[:-v, :-1] + worth * ways[:-v, :-1])
            ways, score = new_ways, new_score
        total += float(np.sum(score[k, 1:] / np.arange(1, score.shape[1])))
    return total / comb(silent + sum(count for count, _ in votes), k)


def _sampled_vote(votes: Votes, silent: int, k: int, random: np.random.Generator) -> float:
    """Returns the mean of `_vote` over subsets of k drawn at random."""
    if not votes:
        return 0.0
    counts = [count for count, _ in votes]
    drawn = random.multivariate_hypergeometric([*counts, silent], k, N_SUBSETS, method="count")[:, :-1]
    most = drawn.max(axis=1, keepdims=True)
    leads = (drawn == most) & (most > 0)  # (n_subsets, n_answers)
    worth = leads @ np.array([score for _, score in votes])
    return float(np.mean(worth / np.maximum(leads.sum(axis=1), 1)))


def _check_k(name: str, k: int, values: Floats) -> None:
    if values.ndim != 2 or not 1 <= k <= values.shape[1]:
        raise ValueError(f"{name}@{k} of scores of shape {values.shape}; k must be from 1 to the repeats")
