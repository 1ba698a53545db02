"""pass@k: how likely one of k answers to a question is right, from n answers of which c are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qwen3_eval.stats.estimate import Estimate, estimate


def pass_at_k(scores: ArrayLike, k: int) -> Estimate:
    """Returns the mean over questions of each question's pass@k, with its 95 % interval over questions.

    `scores` is (n_questions, n_repeats); 1 is a right answer, anything below is not, and NaN marks an answer
    without a score. Questions with fewer than k scored answers are left out. Raises ValueError where k is not
    from 1 to n_repeats.
    """
    return estimate(question_pass_at_k(scores, k))


def question_pass_at_k(scores: ArrayLike, k: int) -> NDArray[np.float64]:
    """Returns each question's pass@k, (n_questions, 1), NaN where it has fewer than k scored answers.

    Takes and raises what `pass_at_k` does.
    """
    values = np.asarray(scores, dtype=float)
    if values.ndim != 2 or not 1 <= k <= values.shape[1]:
        raise ValueError(f"pass@{k} of scores of shape {values.shape}; k must be from 1 to the repeats")
    n = np.sum(~np.isnan(values), axis=1)
    c = np.sum(values == 1, axis=1)
    # Few counts differ among many questions, so each pair is worked out once.
    pairs, place = np.unique(np.stack([n, c], axis=1), axis=0, return_inverse=True)
    of_pairs = [_of_question(int(n), int(c), k) if n >= k else np.nan for n, c in pairs]
    return np.array(of_pairs, dtype=float)[place.ravel()].reshape(-1, 1)


def _of_question(n: int, c: int, k: int) -> float:
    """Returns 1 - C(n - c, k) / C(n, k), the chance that k of the n answers hold one of the c right ones.

    Source: Chen et al. 2021, arXiv:2107.03374, equation 1 and figure 3, whose product never overflows.
    """
    if n - c < k:
        return 1.0
    factors: NDArray[np.float64] = 1 - k / np.arange(n - c + 1, n + 1)
    return float(1 - np.prod(factors))


def choose_ks(n_repeats: int) -> Sequence[int]:
    """Returns the k that tables show for n repeats: 1, the powers of two below n, and n."""
    powers = [2**i for i in range(n_repeats.bit_length()) if 2**i < n_repeats]
    return [*powers, n_repeats]
