"""What a sweep is to generate: whose questions, in which modes, at which budgets, and from which seeds."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from qwen3_eval.budget import Ending, format_budget
from qwen3_eval.errors import ConfigError
from qwen3_eval.types import DIRECT_MODES, Budget, Generation, Mode, Sample, Sampling, Unmade


@dataclass(frozen=True)
class Questions:
    """One task's share of a sweep. `output_tokens` caps thinking, or thinking and answer together."""

    task: str
    samples: Sequence[Sample | Unmade]
    repeats: int
    output_tokens: int


@dataclass(frozen=True)
class Plan:
    """What a sweep generates. `budgets` are those of thinking mode: above 0, rising.

    `max_answer_tokens` is the answer's own reserve; None: what the thinking leaves of the output limit.
    """

    questions: Sequence[Questions]
    modes: Sequence[Mode]
    budgets: Sequence[Budget]
    sampling: Mapping[Mode, Sampling]
    strategy: str
    stop_ids: tuple[int, ...]
    max_answer_tokens: int | None
    seed: int
    concurrency: int

    @property
    def n_rollouts(self) -> int:
        lanes = sum(len(self.lanes(mode)) for mode in self.modes)
        return lanes * sum(len(q.samples) * q.repeats for q in self.questions)

    def lanes(self, mode: Mode) -> Sequence[tuple[str, Sequence[Budget]]]:
        """Returns (lane, its budgets): one lane for all budgets of a nested sweep, else one each."""
        if mode in DIRECT_MODES:
            return [("", ())]
        if self.strategy == "nested":
            return [("", self.budgets)]
        return [(format_budget(b), (b,)) for b in self.budgets]


class Progress(Protocol):
    """Told of every engine call as it returns, and of every finished rollout."""

    def on_generation(self, generation: Generation, ending: Ending | None) -> None:
        """`ending` is set for answers, None for segments of a trace."""

    def on_rollout(self, *, reused: bool) -> None:
        """`reused` where nothing had to be generated."""


def choose_strategy(asked: str, thinking: Sampling) -> tuple[str, str]:
    """Returns the strategy and, where it is not what was wanted, why. Raises ConfigError."""
    if asked not in ("auto", "nested", "independent"):
        raise ConfigError(f"sweep.strategy={asked!r} is unknown; allowed: auto, nested, independent")
    if not thinking.penalises_output:
        return ("independent" if asked == "independent" else "nested"), ""
    why = (
        "the thinking preset has a presence, frequency or repetition penalty, whose count would restart at "
        "each segment's border, so a shared trace is not what a run at one budget would sample"
    )
    if asked == "nested":
        raise ConfigError(
            f"sweep.strategy=nested is refused: {why}; take the penalty off, or use "
            "sweep.strategy=independent"
        )
    return "independent", "" if asked == "independent" else why


def derive_seed(*parts: object) -> int:
    """Returns a seed in [0, 2**63) that depends on every part, and on nothing else."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1
