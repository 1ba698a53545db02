"""What a policy scores and spends, and how that differs from fixed budgets at the same mean tokens."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from qwen3_eval.policy.policies import Choice, Floats, Grid
from qwen3_eval.stats.estimate import Estimate, estimate_macro
from qwen3_eval.stats.paired import Difference, paired_macro

Cost = Literal["thinking", "all"]
COSTS: tuple[Cost, ...] = ("thinking", "all")
"""`thinking`: thinking tokens; `all`: every token generated, answers and probes too."""

SAME = 1e-9


@dataclass(frozen=True)
class Outcome:
    """What each question gets under a policy, repeats averaged: (n_questions,), tokens by cost."""

    score: Floats
    tokens: dict[Cost, Floats]

    def equals(self, other: "Outcome") -> bool:
        """True where every question gets the same for the same tokens."""
        same = all(np.array_equal(self.tokens[cost], other.tokens[cost]) for cost in COSTS)
        return same and np.array_equal(self.score, other.score)


@dataclass(frozen=True)
class Mix:
    """Two fixed options, of which a random `share` of the rollouts takes `high`; where equal, one."""

    low: int
    high: int
    share: float


@dataclass(frozen=True)
class Gain:
    """How a policy differs from the best `mix` of fixed options that spends no more; its score and tokens."""

    difference: Difference
    mix: Mix
    mix_score: float
    mix_tokens: float


def follow(grid: Grid, choice: Choice) -> Outcome:
    """Returns what the choice gives each question."""
    taken = np.arange(len(choice.option)), choice.option
    spent = grid.thinking[taken]
    everything = spent + grid.answer[taken] + choice.probes
    score, thinking, total = grid.of_questions(np.column_stack([grid.score[taken], spent, everything])).T
    return Outcome(score, {"thinking": thinking, "all": total})


def follow_fixed(grid: Grid) -> list[Outcome]:
    """Returns the outcome of each option for everyone."""
    n = len(grid.score)
    return [follow(grid, Choice(np.full(n, k), np.zeros(n))) for k in range(len(grid.options))]


def mix_fixed(scores: Floats, tokens: Floats, limit: float) -> Mix:
    """Returns the best random mix of two options that spends `limit` tokens, or of one that spends no more.

    `scores` and `tokens` (n_options,) are the options' means. Where all of them spend more, it is the
    cheapest.
    """
    found = [Mix(k, k, 0.0) for k in range(len(scores)) if tokens[k] <= limit * (1 + SAME)]
    if not found:
        return Mix(int(tokens.argmin()), int(tokens.argmin()), 0.0)
    for low in range(len(scores)):
        for high in range(len(scores)):
            if tokens[low] < limit < tokens[high]:
                found.append(Mix(low, high, float((limit - tokens[low]) / (tokens[high] - tokens[low]))))
    return max(found, key=lambda mix: (1 - mix.share) * scores[mix.low] + mix.share * scores[mix.high])


def measure_gain(grid: Grid, policy: Outcome, fixed: list[Outcome], cost: Cost) -> Gain:
    """Returns how the policy's score differs from that of fixed options at the same mean tokens, paired.

    The mix spends what the policy spends in the mean of these very questions, so its share is an estimate
    too. A question's difference is therefore its score against the mix, less the tokens it took beyond the
    mix at the rate at which the mix trades tokens for score: the mean is the same, and the spread counts what
    the share owes to the draw of questions.

    Source: a ratio's error by linearisation, Cochran 1977, Sampling Techniques, chapter 6, applied to the
    share (mean tokens - low) / (high - low).
    """
    scores = np.array([grid.weight @ outcome.score for outcome in fixed])
    tokens = np.array([grid.weight @ outcome.tokens[cost] for outcome in fixed])
    spent = policy.tokens[cost]
    mix = mix_fixed(scores, tokens, float(grid.weight @ spent))
    mixed = (1 - mix.share) * fixed[mix.low].score + mix.share * fixed[mix.high].score
    mixed_tokens = (1 - mix.share) * fixed[mix.low].tokens[cost] + mix.share * fixed[mix.high].tokens[cost]
    rate = 0.0
    if mix.low != mix.high:
        rate = float((scores[mix.high] - scores[mix.low]) / (tokens[mix.high] - tokens[mix.low]))
    apart = policy.score - mixed - rate * (spent - mixed_tokens)
    return Gain(
        compare_weighted(grid, apart),
        mix,
        float(grid.weight @ mixed),
        float(grid.weight @ mixed_tokens),
    )


def compare_weighted(grid: Grid, apart: Floats) -> Difference:
    """Returns the weighted mean of the questions' differences (n_questions,), with its uncertainty."""
    strata = range(int(grid.stratum.max()) + 1)
    scaled = apart * _scales(grid)
    # As many columns as repeats: the interval knows by them what a single answer could turn.
    of_strata = [np.repeat(scaled[grid.stratum == g, None], grid.n_repeats, axis=1) for g in strata]
    pairs = [(values, np.zeros_like(values)) for values in of_strata]
    return paired_macro(pairs, [grid.cluster[grid.stratum == g].tolist() for g in strata])


def estimate_weighted(grid: Grid, score: Floats) -> Estimate:
    """Returns the task's score from its questions' (n_questions,), with its interval over questions.

    It is that of the summary; where strata do not count alike, as of several tasks of which one averages
    groups, it is the t interval of a difference from 0.
    """
    if np.allclose(_scales(grid), 1):
        strata = range(int(grid.stratum.max()) + 1)
        got = estimate_macro(
            [score[grid.stratum == g, None] for g in strata],
            [grid.cluster[grid.stratum == g].tolist() for g in strata],
        )
        return Estimate(got.score, got.stderr, got.ci_low, got.ci_high, grid.n_questions, grid.n_repeats)
    apart = compare_weighted(grid, score)
    return Estimate(
        apart.difference,
        apart.stderr,
        max(0.0, apart.ci_low),
        apart.ci_high,
        grid.n_questions,
        grid.n_repeats,
    )


def _scales(grid: Grid) -> Floats:
    """Returns what makes the plain mean over strata of their questions' means the weighted mean."""
    sizes = np.bincount(grid.stratum)
    scales: Floats = grid.weight * sizes[grid.stratum] * len(sizes)
    return scales
