"""Promises of the dialogues: what a turn asks is what a reader would say it asks, and draws are stable."""

import re
from collections import Counter

import pytest

from qwen3_eval.chat import THINK_CLOSE, THINK_OPEN, find_last_switch
from qwen3_eval.thinkfollow.dialogues import (
    DIFFICULTIES,
    Dialogue,
    Flag,
    Question,
    UserTurn,
    count_switches,
    draw_dialogues,
    expected_modes,
    insert_flag,
    list_directions,
    list_places,
    read_bank,
)
from qwen3_eval.types import NON_THINKING, THINKING

T, N = THINKING, NON_THINKING
ON, OFF = Flag("end", "/think"), Flag("end", "/no_think")
PLAIN = UserTurn("why?")
QUOTED = UserTurn('what is "/no_think"?', (), trap="sentence", quoted="/no_think")

DRAWN = draw_dialogues(read_bank(), 400, 0)


def say(*flags: Flag) -> UserTurn:
    return UserTurn("why?", flags)


# Written by hand: (system flags, turns, hard switch) and the mode of each turn.
TABLE = [
    ((), [PLAIN], T, [T]),
    ((), [say(ON)], T, [T]),
    ((), [say(OFF)], T, [N]),
    ((), [PLAIN, say(OFF), PLAIN, PLAIN], T, [T, N, N, N]),
    ((), [say(OFF), say(ON), PLAIN], T, [N, T, T]),
    ((), [say(ON, OFF)], T, [N]),
    ((), [say(OFF, ON), PLAIN], T, [T, T]),
    ((), [say(OFF, ON, OFF), PLAIN], T, [N, N]),
    ((OFF,), [PLAIN, PLAIN], T, [N, N]),
    ((OFF,), [say(ON), PLAIN], T, [T, T]),
    ((ON,), [PLAIN, say(OFF)], T, [T, N]),
    ((OFF, ON), [PLAIN], T, [T]),
    ((), [QUOTED, PLAIN], T, [T, T]),
    ((), [say(OFF), UserTurn("`/think`", (), trap="code", quoted="/think"), PLAIN], T, [N, N, N]),
    ((), [say(ON)], N, [N]),
    ((ON,), [PLAIN, say(ON), say(OFF)], N, [N, N, N]),
]


@pytest.mark.parametrize(("system_flags", "turns", "hard", "modes"), TABLE)
def test_expected_modes(
    system_flags: tuple[Flag, ...], turns: list[UserTurn], hard: str, modes: list[str]
) -> None:
    """The last switch so far wins, a quoted one is none, and the hard switch non-thinking beats all."""
    dialogue = Dialogue("d", tuple(turns), "s", system_flags, T if hard == T else N)
    assert list(expected_modes(dialogue)) == modes


def test_what_is_told_of_each_turn() -> None:
    """Place, direction and earlier switches, worked by hand on one dialogue."""
    turns = (PLAIN, say(ON), PLAIN, say(Flag("start", "/think"), OFF), say(Flag("middle", "/no_think")))
    dialogue = Dialogue("d", turns, "s /no_think", (OFF,))
    assert list_places(dialogue) == ("system", "end", "kept", "two", "middle")
    modes = expected_modes(dialogue)
    assert modes == (N, T, T, N, N)
    assert list_directions(modes) == (
        "first non-thinking", "to thinking", "stays thinking", "to non-thinking", "stays non-thinking",
    )  # fmt: skip
    assert count_switches(modes) == (0, 0, 1, 1, 2)
    assert list_places(Dialogue("d", (PLAIN, say(ON), PLAIN))) == ("default", "end", "kept")


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("How old is Rome?", "start", "/think How old is Rome?"),
        ("How old is Rome?", "end", "How old is Rome? /think"),
        ("How old is Rome?", "middle", "How old /think is Rome?"),
        ("今天天气好", "middle", "今天 /think 天气好"),
        ("Hi", "middle", "H /think i"),
    ],
)
def test_where_a_flag_is_put(text: str, place: str, said: str) -> None:
    """Blanks stand around a flag, also in a script without any, and no letter is lost."""
    got = insert_flag(text, Flag(place, "/think"))  # type: ignore[arg-type]  # the table holds places alone
    assert got == said


def test_flags_in_the_text_are_those_beside_it() -> None:
    """Each message holds exactly the flags that its turn lists, in their order, and a trap its quoted one."""
    for dialogue in DRAWN:
        for turn in dialogue.turns:
            found = re.findall(r"/(?:no_)?think\b", turn.text)
            listed: list[str] = [flag.switch for flag in turn.flags]
            assert found == (listed or ([str(turn.quoted)] if turn.trap else []))
        assert re.findall(r"/(?:no_)?think\b", dialogue.system) == [f.switch for f in dialogue.system_flags]


def test_the_rule_is_the_one_that_rendering_knows() -> None:
    """Without traps, the mode asked is what the harness itself reads off the messages."""
    checked = 0
    for dialogue in (d for d in DRAWN if d.kind == "plain"):
        for number, mode in enumerate(expected_modes(dialogue)):
            switch = find_last_switch(dialogue.messages(["answer"] * number))
            assert mode == (N if switch == "/no_think" else T)
            checked += 1
    assert checked > 1000


def test_a_trap_quotes_what_would_change_the_mode() -> None:
    """Else following it could not be told from ignoring it; and the turn has no flag of its own."""
    traps = [d for d in DRAWN if d.kind == "trap"]
    assert len(traps) > 30
    for dialogue in traps:
        for turn, mode in zip(dialogue.turns, expected_modes(dialogue), strict=True):
            if turn.trap:
                assert not turn.flags
                assert turn.quoted == ("/no_think" if mode == T else "/think")
    assert {turn.trap for d in traps for turn in d.turns} == {"", "code", "sentence"}


def test_draws_are_stable_and_cover_what_they_should() -> None:
    """More dialogues begin with the same ones, another seed gives others, and every form occurs."""
    assert draw_dialogues(read_bank(), 20, 0) == DRAWN[:20]
    assert draw_dialogues(read_bank(), 20, 1) != DRAWN[:20]
    kinds = Counter(d.kind for d in DRAWN)
    assert abs(kinds["plain"] / len(DRAWN) - 0.75) < 0.08
    assert {len(d.turns) for d in DRAWN} == set(range(1, 9))
    places = Counter(place for d in DRAWN for place in list_places(d))
    assert set(places) == {"start", "middle", "end", "two", "system", "kept", "default"}
    assert min(places.values()) > 20
    hard = [expected_modes(Dialogue(d.name, d.turns)) for d in DRAWN if d.kind == "hard"]
    assert {mode for modes in hard for mode in modes} == {T, N}  # crossed: the soft switches ask for both


def test_task_questions_are_half_of_the_turns() -> None:
    """Where a task's questions are given, they are mixed with ours."""
    rows = [Question("task:mine", "", f"question {number}") for number in range(9)]
    drawn = draw_dialogues(read_bank(), 200, 3, turns=(4, 4), tasks=rows)
    languages = [turn.language for d in drawn for turn in d.turns if not turn.trap]
    share = languages.count("task:mine") / len(languages)
    assert 0.42 < share < 0.58
    assert {len(d.turns) for d in drawn} == {4}


def test_the_bank() -> None:
    """At least 300 distinct questions in 12 languages, all difficulties in each, none with a flag or tag."""
    bank = read_bank()
    assert len({question.text for question in bank}) == len(bank) >= 300
    languages = Counter(question.language for question in bank)
    assert len(languages) >= 12
    for language in languages:
        mine = {question.difficulty for question in bank if question.language == language}
        assert mine == set(DIFFICULTIES)
    for question in bank:
        assert "/think" not in question.text
        assert "no_think" not in question.text
        assert THINK_OPEN not in question.text
        assert THINK_CLOSE not in question.text
