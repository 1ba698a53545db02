"""The nouns of the project: small frozen records that every other module shares."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Mode = Literal["thinking", "non-thinking", "base"]
Outcome = Literal["correct", "incorrect", "no_answer", "error"]
FinishReason = Literal["stop", "length"]

THINKING: Mode = "thinking"
NON_THINKING: Mode = "non-thinking"
BASE: Mode = "base"
"""Plain completion of a few-shot prompt, without chat: for checkpoints that were never taught to chat."""
DIRECT_MODES: tuple[Mode, ...] = (NON_THINKING, BASE)
"""Modes without thinking: one completion for each question and repeat, at budget 0."""
MODES: tuple[Mode, ...] = (THINKING, *DIRECT_MODES)

Budget = int | float
"""Most tokens a thinking span may hold: an int, or `math.inf` (no cap but the output limit)."""


@dataclass(frozen=True)
class Message:
    """One turn of a dialogue; `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class Completion:
    """A question in the form that mode `base` asks: a text to go on from, and what ends the answer.

    The answer is cut before the first of the `stop` texts that occurs in it.
    """

    prompt: str
    stop: tuple[str, ...]

    def cut(self, text: str) -> str:
        """Returns `text` up to the first stop text in it."""
        return text[: min((at for at in map(text.find, self.stop) if at >= 0), default=None)]


@dataclass(frozen=True)
class Sample:
    """One benchmark question, ready to ask.

    `sample_id` is unique within the task and stable between runs; `group` names the sub-score it counts
    for, beside the task's total ("" for none), and `STEM/anatomy` both `STEM` and `STEM/anatomy`; `target`
    is what the scorer compares with (JSON values). `parts` names the further scores that its verdicts have.
    `completion` is its form in mode `base`, None where the task has none, or that mode is not asked.
    """

    sample_id: str
    messages: tuple[Message, ...]
    target: Any
    group: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    completion: Completion | None = None


@dataclass(frozen=True)
class Unmade:
    """A question that is made only when it is asked, for prompts of which not many fit in memory.

    `make` returns the Sample with this id and group, always the same; `recipe` is all that it depends on.
    """

    sample_id: str
    recipe: str
    make: Callable[[], Sample]
    group: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a scorer decided. `score` lies in 0-1; `extracted` is the answer it read, as text.

    `parts` names further scores of the same answer, 0-1, where a task judges it in several ways; reports show
    each beside the score, as a group.
    """

    outcome: Outcome
    score: float
    extracted: str | None = None
    reason: str = ""
    parts: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def correct(cls, extracted: str, reason: str = "") -> "Verdict":
        return cls("correct", 1.0, extracted, reason)

    @classmethod
    def incorrect(cls, extracted: str, reason: str = "") -> "Verdict":
        return cls("incorrect", 0.0, extracted, reason)

    @classmethod
    def no_answer(cls, reason: str) -> "Verdict":
        return cls("no_answer", 0.0, None, reason)

    @classmethod
    def error(cls, reason: str) -> "Verdict":
        return cls("error", 0.0, None, reason)


@dataclass(frozen=True)
class Sampling:
    """Sampling parameters in vLLM's words; `temperature=0` is greedy, `top_k=0` and `top_p=1` are off."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0

    @property
    def penalises_output(self) -> bool:
        """True where the sampler's state depends on the tokens sampled so far in the same request."""
        return self.presence_penalty != 0 or self.frequency_penalty != 0 or self.repetition_penalty != 1

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Generation:
    """What one engine call returned.

    `token_ids` ends with the stop token where `finish_reason` is "stop", and holds exactly `max_tokens`
    ids where it is "length". Times are seconds: `queued_s` before the first scheduling, `elapsed_s` from
    the call to the last token. `cached_tokens` prompt tokens came from the prefix cache.
    """

    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    elapsed_s: float = 0.0
    cached_tokens: int = 0
