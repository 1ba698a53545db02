"""Budgets: what they are called, how they end on a trace, and what to generate next."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_eval.budget import (
    Ending,
    Trace,
    find_answerable,
    find_ending,
    format_budget,
    grow_trace,
    next_stop,
    parse_budget,
    parse_budgets,
)
from qwen3_eval.errors import ConfigError

OPEN, CLOSE, EOS = 90, 91, 92
LIMIT = 10_000


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        (0, 0),
        ("0", 0),
        (17, 17),
        ("17", 17),
        ("1k", 1024),
        ("8k", 8192),
        ("inf", math.inf),
        (math.inf, math.inf),
    ],
)
def test_the_forms_of_a_budget(text: object, budget: float) -> None:
    """An int, a multiple of 1024, 0 and inf are budgets."""
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["0k5", "-1", -1, "1.5k", "k", "", "1K", "0k", None, True, 1.5, "1e3", "١٢"])
def test_anything_else_is_refused_with_the_forms(text: object) -> None:
    """A text that is no budget is refused, and the message shows what would be one."""
    with pytest.raises(ConfigError, match=r"1k, 8k.*inf"):
        parse_budget(text)


def test_budgets_are_sorted_and_duplicates_merged() -> None:
    """1k and 1024 are one budget; none at all is refused."""
    assert parse_budgets(["8k", "1k", 1024, "inf"]) == (1024, 8192, math.inf)
    with pytest.raises(ConfigError, match="names no budget"):
        parse_budgets([])


@given(st.one_of(st.integers(0, 10**6), st.just(math.inf)))
def test_formatting_is_undone_by_parsing(budget: float) -> None:
    """The short form of a budget means that budget."""
    assert parse_budget(format_budget(budget)) == budget


@pytest.mark.parametrize(
    ("trace", "budget", "ending"),
    [
        (Trace(7, "closed"), 8, Ending("natural", 7)),
        # 8 ids stand and `</think>` came next: the budget was reached first.
        (Trace(8, "closed"), 8, Ending("forced", 8)),
        (Trace(9, "closed"), 8, Ending("forced", 8)),
        (Trace(9, "closed"), math.inf, Ending("natural", 9)),
        (Trace(7, "open"), 8, None),
        (Trace(8, "open"), 8, Ending("forced", 8)),
        (Trace(8, "open"), math.inf, None),
        (Trace(LIMIT, "open"), math.inf, Ending("unclosed", LIMIT)),
        (Trace(7, "abandoned"), 8, Ending("unclosed", 7)),
        (Trace(9, "abandoned"), 8, Ending("forced", 8)),
        (Trace(0, "absent"), 1, Ending("natural", 0)),
        (Trace(0, "closed"), 1, Ending("natural", 0)),
    ],
)
def test_how_a_budget_ends_on_a_trace(trace: Trace, budget: float, ending: Ending | None) -> None:
    """DESIGN section 1, worked by hand: natural below the budget, forced at it, unclosed never answered."""
    assert find_ending(trace, budget, LIMIT) == ending


def test_a_segment_of_token_ids_grows_the_trace() -> None:
    """`<think>` is not counted, every id after it is, and the end is read from the stop token."""

    def grow(trace: Trace, ids: list[int], *, stopped: bool, opened: bool) -> Trace:
        return grow_trace(trace, ids, stopped=stopped, opened=opened, open_id=OPEN, close_id=CLOSE)

    assert grow(Trace(), [OPEN, 1, 2], stopped=False, opened=False) == Trace(2, "open")
    assert grow(Trace(2), [3, CLOSE], stopped=True, opened=True) == Trace(3, "closed")
    assert grow(Trace(2), [CLOSE], stopped=True, opened=True) == Trace(2, "closed")
    assert grow(Trace(2), [3, EOS], stopped=True, opened=True) == Trace(3, "abandoned")
    assert grow(Trace(), [5, 6], stopped=False, opened=False) == Trace(0, "absent")
    assert grow(Trace(), [EOS], stopped=True, opened=False) == Trace(0, "absent")
    # Qwen's answer to /no_think: an empty block, whose newlines count.
    assert grow(Trace(), [OPEN, 10, CLOSE], stopped=True, opened=False) == Trace(1, "closed")


@given(
    natural=st.integers(0, 60),
    end=st.sampled_from(["closed", "abandoned", "never"]),
    budgets=st.sets(st.one_of(st.integers(1, 50), st.just(math.inf)), min_size=1),
    limit=st.integers(50, 70),
)
def test_walking_from_stop_to_stop_decides_every_budget_with_the_fewest_tokens(
    natural: int, end: str, budgets: set[float], limit: int
) -> None:
    """A simulated trace: the walk ends, decides each budget as the whole trace does, never overshooting."""
    whole = Trace(natural if end != "never" else limit, "open" if end == "never" else end)  # type: ignore[arg-type]
    trace, generated = Trace(), 0
    while (stop := next_stop(trace, budgets, limit)) is not None:
        assert trace.length < stop <= limit
        # An end after `natural` ids shows only once more than `natural` ids were asked for.
        trace = whole if whole.length < stop and whole.end != "open" else Trace(stop, "open")
        generated = trace.length
    assert generated <= min(max(budgets), limit, natural if end != "never" else limit)
    seen_whole = whole if whole.length < limit else Trace(limit, "open")
    for budget in budgets:
        assert find_ending(trace, budget, limit) == find_ending(seen_whole, budget, limit)
    assert len(find_answerable(trace, budgets, limit)) <= len(budgets)
