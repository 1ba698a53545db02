"""A turn of a dialogue as it was asked and answered: a row of every table and file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class TurnRow:
    """One answered turn. `turn` counts user turns from 1; `budget` is written as `format_budget` does.

    `done` is the verdict, or "" where the turn could not be asked: `error` says why. `ids` are the whole
    turn, the stop text included; where `forced` it begins after `cut` of them, else `cut` is -1. `truncated`
    says that the answer, or at `inf` the thinking, hit its limit.
    """

    dialogue: str
    turn: int
    budget: str
    kind: str
    hard: str
    language: str
    difficulty: str
    place: str
    direction: str
    switches_before: int
    trap: str
    quoted: str
    asked: str
    done: str
    forced: bool
    truncated: bool
    error: str
    prompt_tokens: int
    prompt_sha256: str
    thinking_tokens: int
    answer_tokens: int
    user: str
    system: str
    thinking: str
    answer: str
    ids: tuple[int, ...]
    cut: int
    opened: str

    def as_dict(self) -> dict[str, object]:
        return {**asdict(self), "ids": list(self.ids)}

    @classmethod
    def from_dict(cls, row: Mapping[str, object]) -> "TurnRow":
        """Returns the row of `as_dict`. Raises KeyError or TypeError where it is none."""
        values = {field.name: row[field.name] for field in fields(cls)}
        return cls(**{**values, "ids": tuple(row["ids"])})  # type: ignore[arg-type]  # checked by its writer
