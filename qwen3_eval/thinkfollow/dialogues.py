"""Dialogues in which the mode is switched, and the mode that each turn asks for. Pure, but for the bank.

A dialogue carries its flags beside its text: whether `/think` is a switch or is talked about cannot be read
off the letters.
"""

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import pairwise
from typing import Literal

from qwen3_eval.types import NON_THINKING, THINKING, Message, Mode

Switch = Literal["/think", "/no_think"]
Place = Literal["start", "middle", "end"]
Trap = Literal["", "code", "sentence"]
Kind = Literal["plain", "trap", "hard"]

SWITCHES: tuple[Switch, ...] = ("/think", "/no_think")
PLACES: tuple[Place, ...] = ("start", "middle", "end")
DIFFICULTIES = ("trivial", "easy", "medium", "hard")
KINDS: tuple[Kind, ...] = ("plain", "trap", "hard")

_TRAP_SHARE, _HARD_SHARE = 0.15, 0.1
_TWO_SHARE, _SYSTEM_SHARE, _SYSTEM_FLAG_SHARE = 0.15, 0.4, 0.5
_SAME_LANGUAGE, _TASK_SHARE = 0.8, 0.5
_FLAG_SHARES = (0.3, 0.6, 0.9)
"""Of a dialogue's turns, how many have a flag: some, most, nearly all."""

_SYSTEMS = (
    "You are a helpful assistant.",
    "Answer in the language of the question.",
    "You are a patient teacher. Keep your answers short.",
    "You help people with everyday questions and with their homework.",
)

_TRAPS: dict[Trap, tuple[tuple[str, str], ...]] = {
    "code": (
        ("en", 'A line of my client:\n\n```python\nsend("Good morning! {flag}")\n```\n\nWhat does it send?'),
        ("en", "```sh\necho 'How are you? {flag}' >> messages.txt\n```\n\nExplain this in a sentence."),
        ("de", '```json\n{{"role": "user", "content": "Hallo {flag}"}}\n```\n\nIst das gültiges JSON?'),
        ("es", '```python\nfinal = "{flag}"\nprint(len(final))\n```\n\n¿Qué imprime este programa?'),
        ("zh", '```python\ntext = "你好 {flag}"\n```\n\n这段代码里的变量叫什么名字?'),
    ),
    "sentence": (
        ("en", 'A friend says that people type "{flag}" behind questions. Is that an English word?'),
        ("en", "A manual mentions the term «{flag}», which I do not use now. How is a slash pronounced?"),
        ("de", "Eine Anleitung erwähnt den Ausdruck „{flag}“ nur. Wie heißt sein erstes Zeichen?"),
        ("fr", "Dans cette phrase, le mot « {flag} » est une citation. Combien de mots compte-t-elle ?"),
        ("zh", "有一篇文章提到了“{flag}”这个写法,我只是引用它。斜杠用英语怎么说?"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Question:
    """A question to ask in a turn. `language` is an ISO 639-1 code, or `task:NAME` for a task's row."""

    language: str
    difficulty: str
    text: str


@dataclass(frozen=True)
class Flag:
    """A soft switch and where in its message it stands."""

    place: Place
    switch: Switch


@dataclass(frozen=True)
class UserTurn:
    """A user's message as it is sent; `flags` are its switches in the order in which they stand.

    `trap` says how it quotes a switch that is none; `quoted` is that switch.
    """

    text: str
    flags: tuple[Flag, ...] = ()
    language: str = "en"
    difficulty: str = ""
    trap: Trap = ""
    quoted: Switch | None = None


@dataclass(frozen=True)
class Dialogue:
    """The user's side of a dialogue. `hard` is the hard switch, under which all of it is asked."""

    name: str
    turns: tuple[UserTurn, ...]
    system: str = ""
    system_flags: tuple[Flag, ...] = ()
    hard: Mode = THINKING

    @property
    def kind(self) -> Kind:
        """`hard` under the hard switch non-thinking, `trap` where a switch is quoted, else `plain`."""
        if self.hard == NON_THINKING:
            return "hard"
        return "trap" if any(turn.trap for turn in self.turns) else "plain"

    def messages(self, answers: Sequence[str]) -> tuple[Message, ...]:
        """Returns what is sent in turn `len(answers)`, behind the answers to the turns before."""
        sent = [Message("system", self.system)] if self.system else []
        for turn, answer in zip(self.turns, answers, strict=False):
            sent += [Message("user", turn.text), Message("assistant", answer)]
        return (*sent, Message("user", self.turns[len(answers)].text))


def expected_modes(dialogue: Dialogue) -> tuple[Mode, ...]:
    """Returns the mode that each user turn asks for.

    The last switch in the dialogue so far wins, one in the system message included; before any, thinking is
    on. A quoted switch is none. Under the hard switch non-thinking nothing else counts.
    Source: Qwen3 technical report (arXiv 2505.09388), section 4.3; Qwen3-8B's model card, "Advanced Usage".
    """
    if dialogue.hard == NON_THINKING:
        return (NON_THINKING,) * len(dialogue.turns)
    mode, modes = THINKING, []
    for flags in (dialogue.system_flags, *(turn.flags for turn in dialogue.turns)):
        for flag in flags:
            mode = THINKING if flag.switch == "/think" else NON_THINKING
        modes.append(mode)
    return tuple(modes[1:])


def list_places(dialogue: Dialogue) -> tuple[str, ...]:
    """Returns where the switch in force stands, for each turn.

    `start`, `middle` or `end` of the turn itself, `two` where it has two or more; else `system` in the first
    turn behind a flagged system message, `kept` from an earlier turn, or `default` before any switch.
    """
    places: list[str] = []
    seen = bool(dialogue.system_flags)
    for number, turn in enumerate(dialogue.turns):
        if turn.flags:
            places.append("two" if len(turn.flags) > 1 else turn.flags[0].place)
        else:
            places.append(("system" if number == 0 else "kept") if seen else "default")
        seen = seen or bool(turn.flags)
    return tuple(places)


def list_directions(modes: Sequence[Mode]) -> tuple[str, ...]:
    """Returns how each turn's mode follows the one before: `first`, `stays` or `to`, and the mode."""
    befores = (None, *modes)
    return tuple(
        f"{'first' if before is None else 'stays' if before == mode else 'to'} {mode}"
        for before, mode in zip(befores, modes, strict=False)
    )


def count_switches(modes: Sequence[Mode]) -> tuple[int, ...]:
    """Returns for each turn how often the mode has changed before it."""
    changes = [0, *(a != b for a, b in pairwise(modes))]
    return tuple(sum(changes[:number]) for number in range(len(modes)))


def read_bank() -> tuple[Question, ...]:
    """Returns the package's own questions."""
    text = files("qwen3_eval.reports").joinpath("dialogues/questions.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return tuple(Question(row["language"], row["difficulty"], row["question"]) for row in rows)


def draw_dialogues(
    bank: Sequence[Question],
    count: int,
    seed: int,
    *,
    turns: tuple[int, int] = (1, 8),
    tasks: Sequence[Question] = (),
) -> list[Dialogue]:
    """Returns `count` dialogues of `turns` = (fewest, most) user turns; more begin with the same.

    About three in four are plain; the others quote a switch, or stand under the hard switch non-thinking.
    Where `tasks` holds questions, half of all turns ask one of them.
    """
    return [
        _draw_dialogue(bank, tasks, random.Random(f"{seed}/{number}"), f"d{number:04}", turns)
        for number in range(count)
    ]


def _draw_dialogue(
    bank: Sequence[Question],
    tasks: Sequence[Question],
    rng: random.Random,
    name: str,
    turns: tuple[int, int],
) -> Dialogue:
    kind = rng.random()
    share, language = rng.choice(_FLAG_SHARES), rng.choice(sorted({question.language for question in bank}))
    local = [question for question in bank if question.language == language]
    asked = []
    for _ in range(rng.randint(*turns)):
        pool = tasks if tasks and rng.random() < _TASK_SHARE else local
        if pool is local and rng.random() >= _SAME_LANGUAGE:
            pool = bank
        question = rng.choice(pool)
        text, flags = _put_flags(rng, question.text, share)
        asked.append(UserTurn(text, flags, question.language, question.difficulty))
    system = ""
    system_flags: tuple[Flag, ...] = ()
    if rng.random() < _SYSTEM_SHARE:
        system = rng.choice(_SYSTEMS)
        if rng.random() < _SYSTEM_FLAG_SHARE:
            flag = Flag(rng.choice(PLACES), rng.choice(SWITCHES))
            system, system_flags = insert_flag(system, flag), (flag,)
    dialogue = Dialogue(name, tuple(asked), system, system_flags)
    if kind < _TRAP_SHARE:
        return _set_trap(dialogue, rng)
    if kind < _TRAP_SHARE + _HARD_SHARE:
        return replace(dialogue, hard=NON_THINKING)
    return dialogue


def _put_flags(rng: random.Random, text: str, share: float) -> tuple[str, tuple[Flag, ...]]:
    if rng.random() >= share:
        return text, ()
    if rng.random() >= _TWO_SHARE:
        flag = Flag(rng.choice(PLACES), rng.choice(SWITCHES))
        return insert_flag(text, flag), (flag,)
    switches = rng.sample(SWITCHES, 2)
    first, last = sorted(rng.sample(range(len(PLACES)), 2))
    flags = (Flag(PLACES[first], switches[0]), Flag(PLACES[last], switches[1]))
    # From behind: a flag at the start would move the middle.
    return insert_flag(insert_flag(text, flags[1]), flags[0]), flags


def insert_flag(text: str, flag: Flag) -> str:
    """Returns the text with a switch at its start, its end, or at the blank nearest to its middle.

    Blanks stand around the switch, also in scripts without any: `天/think` is a path, not a switch.
    """
    if flag.place == "start":
        return f"{flag.switch} {text}"
    if flag.place == "end":
        return f"{text} {flag.switch}"
    half = len(text) // 2
    blanks = [place for place, letter in enumerate(text) if letter == " " and text[:place].strip()]
    place = min(blanks, key=lambda place: abs(place - half), default=half)
    return f"{text[:place].rstrip()} {flag.switch} {text[place:].lstrip()}"


def _set_trap(dialogue: Dialogue, rng: random.Random) -> Dialogue:
    """Returns the dialogue with one turn that quotes the switch which would change the mode in force."""
    place = rng.randrange(len(dialogue.turns))
    turns = list(dialogue.turns)
    turns[place] = replace(turns[place], flags=())
    in_force = expected_modes(replace(dialogue, turns=tuple(turns)))[place]
    quoted: Switch = "/no_think" if in_force == THINKING else "/think"
    trap: Trap = rng.choice(("code", "sentence"))
    language, text = rng.choice(_TRAPS[trap])
    turns[place] = UserTurn(text.format(flag=quoted), (), language, "easy", trap, quoted)
    return replace(dialogue, turns=tuple(turns))
