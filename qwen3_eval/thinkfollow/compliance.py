"""What a turn did: thinking, non-thinking, or a violation of the format. Pure.

The rules, each with its row in tests/test_compliance.py:

* `<think>` absent: non-thinking. A block of nothing but whitespace: non-thinking. Any other block: thinking.
* Whitespace before `<think>` is allowed: the answer has not begun.
* `unclosed`: the turn ends, or hits its limit, inside a block.
* `repeated`: `<think>` inside a block, or a second block before the answer began; also a block behind the
  empty one that the template wrote.
* `late`: a block opened after the answer began.
* `tags`: `</think>` without an open block, or a tag spelled out in the answer's own letters.
* `empty`: nothing but whitespace outside of the block.
* Of several violations the first in this list is the verdict.
* A block cut by a budget is judged by what the model wrote before the cut, never by the stop text. Where that
  is nothing but whitespace the turn is `undecided`: the next token might have closed the block. Such turns
  are left out of compliance, and counted.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from qwen3_eval.types import NON_THINKING, THINKING

Done = Literal[
    "thinking", "non-thinking", "unclosed", "repeated", "late", "tags", "empty", "undecided"
]  # fmt: skip
VIOLATIONS: tuple[Done, ...] = ("unclosed", "repeated", "late", "tags", "empty")
Opened = Literal["model", "template", "closed"]
"""Who opens the block: the model, the template, or the template closes it too (the hard switch)."""

_SPELLED = re.compile(r"</?think\s*>")


@dataclass(frozen=True)
class Tags:
    """The ids that structure a turn in one vocabulary, and how its other ids read."""

    open_id: int
    close_id: int
    end_ids: frozenset[int]
    decode: Callable[[Sequence[int]], str]


@dataclass(frozen=True)
class Reply:
    """What the model wrote in a turn, the end of the turn included where it came.

    `cut` says that a budget ended the block after so many ids; the stop text, which stood there, is not among
    them.
    """

    ids: tuple[int, ...]
    opened: Opened = "model"
    cut: int | None = None


@dataclass(frozen=True)
class Judged:
    """A reply's verdict and its parts as text; `thinking` is the text of all its blocks."""

    done: Done
    thinking: str
    answer: str


def judge(reply: Reply, tags: Tags) -> Judged:
    """Returns what the reply did, by the rules above."""
    thinking: list[int] = []
    answer: list[int] = []
    found: set[Done] = set()
    inside, blocks, cut_blank = reply.opened == "template", int(reply.opened != "model"), False
    for place, token in enumerate(reply.ids):
        if place == reply.cut:
            inside, cut_blank = False, not tags.decode(thinking).strip()
        if token in tags.end_ids:
            break
        if token == tags.open_id:
            if not inside and tags.decode(answer).strip():
                found.add("late")
            elif inside or blocks:
                found.add("repeated")
            inside, blocks = True, blocks + 1
        elif token == tags.close_id:
            if not inside:
                found.add("tags")
            inside = False
        else:
            (thinking if inside else answer).append(token)
    if reply.cut is not None and reply.cut >= len(reply.ids):
        inside, cut_blank = False, not tags.decode(thinking).strip()
    thought, said = tags.decode(thinking), tags.decode(answer)
    if inside:
        found.add("unclosed")
    if _SPELLED.search(said):
        found.add("tags")
    if not said.strip():
        found.add("empty")
    done: Done = next((kind for kind in VIOLATIONS if kind in found), "undecided")
    if not found and not cut_blank:
        done = THINKING if thought.strip() else NON_THINKING  # type: ignore[assignment]  # no base here
    return Judged(done, thought.strip("\n"), said.strip())


def is_compliant(asked: str, done: Done) -> bool:
    """Returns whether the turn did what it was asked; a violation never is."""
    return asked == done
