"""The texts behind a record: fetched one rollout at a time, so that memory stays bounded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from qwen3_eval.types import Budget


@dataclass(frozen=True)
class RecordText:
    """The texts of one rollout: a question asked once, in one mode.

    `thinking` is the whole trace. `cuts` gives each budget that ended it by force the number of characters
    of `thinking` that fit; a budget that is not named saw all of it. `answers` maps a record's
    `completion_key` to its answer.
    """

    prompt: str
    thinking: str = ""
    cuts: tuple[tuple[Budget, int], ...] = ()
    answers: Mapping[int, str] = field(default_factory=dict)

    def thinking_at(self, budget: Budget) -> str:
        """Returns the part of the trace that the budget let the model see."""
        return self.thinking[: dict(self.cuts).get(budget, len(self.thinking))]


Texts = Callable[[int], RecordText]
"""Returns the texts of the rollout with that number (the records' column `rollout`)."""
