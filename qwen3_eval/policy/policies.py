"""Ways to choose a budget per question, judged on traces that hold every budget. Pure: arrays in, arrays out.

A policy sees what a server would see before it decides: the prompt, or the answers forced so far. The oracle
alone sees the verdicts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NO_ANSWER = -1
"""In `Grid.extracted`: nothing was found in the answer."""


@dataclass(frozen=True)
class Grid:
    """What every option would have given on every rollout of a task.

    `options` are 0 (non-thinking), where it was measured, and then the thinking budgets, rising. Arrays of
    shape (n_rollouts, n_options): `score` in 0-1; `thinking` and `answer`, tokens; `ended`, whether the
    thinking had ended by itself, so that more budget changes nothing; `extracted`, a number for each answer,
    equal where the answers are, `NO_ANSWER` where there is none.

    `question` (n_rollouts,) is each rollout's question. Of the questions, (n_questions,): `weight`, adding up
    to 1, as the task's score averages them; `stratum`, the fixed part of the task that it is a draw from;
    `cluster`, the questions that it was drawn with; `group`, what a policy may know of it.
    `one_trace` tells that all budgets of a rollout cut one trace. `n_left_out` counts the rollouts that lack
    a score at some option, and are not in the arrays.
    """

    options: tuple[float, ...]
    sample_ids: tuple[str, ...]
    question: Ints
    score: Floats
    thinking: Floats
    answer: Floats
    ended: Bools
    extracted: Ints
    weight: Floats
    stratum: Ints
    cluster: Ints
    group: tuple[str, ...]
    one_trace: bool = True
    n_left_out: int = 0

    @property
    def n_questions(self) -> int:
        return len(self.sample_ids)

    @property
    def n_repeats(self) -> int:
        """The most rollouts that a question has."""
        return int(np.bincount(self.question).max())

    @property
    def first_budget(self) -> int:
        """The number of the smallest thinking budget."""
        return int(self.options[0] == 0)

    @property
    def total(self) -> Floats:
        """Tokens of thinking and answer, (n_rollouts, n_options)."""
        return self.thinking + self.answer

    def of_questions(self, values: Floats) -> Floats:
        """Returns the mean over each question's rollouts: (n_rollouts, ...) becomes (n_questions, ...)."""
        sums = np.zeros((self.n_questions, *values.shape[1:]))
        np.add.at(sums, self.question, values)
        counts = np.bincount(self.question).reshape(-1, *[1] * (values.ndim - 1))
        return sums / counts


@dataclass(frozen=True)
class Choice:
    """The option that each rollout takes, and the answer tokens of probes before it, both (n_rollouts,)."""

    option: Ints
    probes: Floats


def choose_fixed(grid: Grid, option: int) -> Choice:
    """Returns the same option for every rollout."""
    return _without_probes(np.full(len(grid.score), option))


def choose_best(grid: Grid, price: float = 0.0) -> Choice:
    """Returns each rollout's option with the best score less `price` for each of its tokens: the oracle.

    Of equal ones it takes that with the fewest tokens. It reads the verdicts, luck of the sampling included,
    so it bounds what any policy can get here at that price; at price 0, what any can score.
    """
    worth = grid.score - price * grid.total
    best = worth >= worth.max(axis=1, keepdims=True)
    return _without_probes(np.where(best, grid.total, np.inf).argmin(axis=1))


def choose_stable(grid: Grid, m: int) -> Choice:
    """Returns the first budget at which `m` budgets in a row gave the same answer, or the thinking had ended.

    Where neither happens it is the largest. An answer not found equals no other. Each budget before the last
    was probed: its forced answer was generated and thrown away.
    """
    first = grid.first_budget
    answers, ended = grid.extracted[:, first:], grid.ended[:, first:]
    in_a_row = np.ones(len(answers), dtype=np.int64)
    chosen = np.full(len(answers), answers.shape[1] - 1)
    stopped = np.zeros(len(answers), dtype=bool)
    for i in range(answers.shape[1]):
        same = answers[:, i] == answers[:, i - 1] if i else np.zeros(len(answers), dtype=bool)
        in_a_row = np.where(same, in_a_row + 1, 1)
        stops = ended[:, i] | ((in_a_row >= m) & (answers[:, i] != NO_ANSWER))
        chosen = np.where(stops & ~stopped, i, chosen)
        stopped |= stops
    before = np.arange(answers.shape[1]) < chosen[:, None]
    return Choice(chosen + first, np.sum(grid.answer[:, first:] * before, axis=1))


def choose_by_group(grid: Grid, option: int, folds: Ints) -> Choice:
    """Returns non-thinking for groups in which it scores no less than `option`, and `option` for the others.

    The groups' scores are those of the other `folds` (n_questions,); a group that they lack takes `option`.
    """
    scores = grid.of_questions(grid.score)
    gain = scores[:, 0] - scores[:, option]
    group = np.unique(np.array(grid.group), return_inverse=True)[1]
    chosen = np.full(grid.n_questions, option)
    for fold in np.unique(folds):
        others = folds != fold
        counts = np.bincount(group[others], minlength=group.max() + 1)
        gains = np.bincount(group[others], gain[others], minlength=group.max() + 1)
        skips = (counts > 0) & (gains >= 0)
        chosen = np.where((folds == fold) & skips[group], 0, chosen)
    return _without_probes(chosen[grid.question])


def choose_by_price(grid: Grid, score: Floats, tokens: Floats, price: float, first: int = 0) -> Choice:
    """Returns the option that predicts the best `score` less `price` for each of its `tokens`.

    Both are predictions of (n_questions, n_options); `price` is in score per token. Options before `first`
    are not taken. Equals go to the smaller budget.
    """
    chosen = (score - price * tokens)[:, first:].argmax(axis=1) + first
    return _without_probes(chosen[grid.question])


def _without_probes(option: Ints) -> Choice:
    return Choice(option, np.zeros(len(option)))
