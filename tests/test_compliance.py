"""Promises of the verdict on a turn: the rules of compliance.py, a row each, and no reply breaks them."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3_eval.thinkfollow.compliance import VIOLATIONS, Opened, Reply, Tags, judge

OPEN, CLOSE, END, OTHER_END = 1, 2, 3, 4


def decode(ids: Sequence[int]) -> str:
    return "".join(map(chr, ids))


TAGS = Tags(OPEN, CLOSE, frozenset({END, OTHER_END}), decode)


def write(text: str) -> tuple[int, ...]:
    """Token ids of a text: a letter each, `[` for <think>, `]` for </think>, `.` for the end of the turn."""
    return tuple({"[": OPEN, "]": CLOSE, ".": END}.get(letter, ord(letter)) for letter in text)


NATURAL: list[tuple[str, Opened, str]] = [
    ("[\nhm\n]\n\nyes.", "model", "thinking"),
    ("[\n\n]\n\nyes.", "model", "non-thinking"),
    ("[]yes.", "model", "non-thinking"),
    ("[ \n\t ]yes.", "model", "non-thinking"),
    ("yes.", "model", "non-thinking"),
    ("yes", "model", "non-thinking"),  # the answer's limit: cut off, no violation
    ("\n[\nhm\n]\n\nyes.", "model", "thinking"),
    ("hm\n]\n\nyes.", "template", "thinking"),
    ("\n\n]\n\nyes.", "template", "non-thinking"),
    ("yes.", "closed", "non-thinking"),
    ("[\nhm.", "model", "unclosed"),
    ("[\nhm", "model", "unclosed"),
    ("hm", "template", "unclosed"),
    ("[.", "model", "unclosed"),
    ("[hm]yes[oh", "model", "unclosed"),
    ("[hm[oh]yes.", "model", "repeated"),
    ("[hm][oh]yes.", "model", "repeated"),
    ("[hm]\n\n[oh]yes.", "model", "repeated"),
    ("[\n\n]\n\n[\n\n]\n\nyes.", "model", "repeated"),
    ("[hm]yes.", "closed", "repeated"),
    ("[hm]yes.", "template", "repeated"),
    ("yes[hm]no.", "model", "late"),
    ("[hm]yes[oh]no.", "model", "late"),
    ("yes[hm]no.", "closed", "late"),
    ("[hm]yes]no.", "model", "tags"),
    ("yes]no.", "closed", "tags"),
    ("]yes.", "model", "tags"),
    ("[hm]use <think> here.", "model", "tags"),
    ("[hm]</think> yes.", "model", "tags"),
    ("[hm].", "model", "empty"),
    ("[hm]\n\n.", "model", "empty"),
    ("[\n\n]\n.", "model", "empty"),
    (".", "model", "empty"),
    ("", "closed", "empty"),
    ("[hm <think> hm]yes.", "model", "thinking"),  # letters inside the block structure nothing
    ("[hm]thinking is fun.", "model", "thinking"),
    ("[hm]yes.]", "model", "thinking"),  # behind the end of the turn nothing counts
]


@pytest.mark.parametrize(("text", "opened", "done"), NATURAL)
def test_the_rules(text: str, opened: Opened, done: str) -> None:
    """A turn that the model ended, or its limit."""
    assert judge(Reply(write(text), opened), TAGS).done == done


FORCED: list[tuple[str, str, Opened, str]] = [
    ("[\nhm", "yes.", "model", "thinking"),
    ("hm", "yes.", "template", "thinking"),
    ("[\n", "yes.", "model", "undecided"),
    ("[", "yes.", "model", "undecided"),
    ("", "yes.", "template", "undecided"),
    ("[\nhm", ".", "model", "empty"),
    ("[\nhm", "", "model", "empty"),
    ("[\nhm", "oh]yes.", "model", "tags"),
    ("[\nhm", "[oh]yes.", "model", "repeated"),
    ("[\nhm", "yes[oh]yes.", "model", "late"),
    ("[\nhm", "yes[oh", "model", "unclosed"),
    ("[\n", ".", "model", "empty"),
    ("[h[m", "yes.", "model", "repeated"),
]


@pytest.mark.parametrize(("kept", "answer", "opened", "done"), FORCED)
def test_the_rules_behind_a_cut(kept: str, answer: str, opened: Opened, done: str) -> None:
    """A block that a budget cut is closed by the stop text, and judged by what the model wrote before."""
    reply = Reply(write(kept) + write(answer), opened, len(write(kept)))
    assert judge(reply, TAGS).done == done


def test_the_parts_of_a_reply() -> None:
    """Thinking and answer are told apart, trimmed."""
    got = judge(Reply(write("[\na\nb\n]\n\nc d.")), TAGS)
    assert (got.thinking, got.answer) == ("a\nb", "c d")


def test_the_order_of_violations() -> None:
    """Of several, the first in the list is told."""
    assert VIOLATIONS == ("unclosed", "repeated", "late", "tags", "empty")
    everything = "]x[a[b"
    assert judge(Reply(write(everything)), TAGS).done == "unclosed"
    assert judge(Reply(write(everything + "]")), TAGS).done == "repeated"


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    st.text(alphabet="[]. \nab", max_size=12),
    st.sampled_from(["model", "template", "closed"]),
    st.one_of(st.none(), st.integers(0, 12)),
)
def test_every_reply_has_a_verdict(text: str, opened: Opened, cut: int | None) -> None:
    """None raises; one without fault has an answer, and a block that is all there is of tags."""
    ids = write(text)
    got = judge(Reply(ids, opened, cut), TAGS)
    if got.done in ("thinking", "non-thinking"):
        assert got.answer
        said = text.split(".")[0]
        assert said.count("[") <= 1
        assert (got.done == "thinking") == bool(got.thinking.strip())
