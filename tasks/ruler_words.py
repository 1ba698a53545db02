"""RULER's aggregation tasks: the ten most common words of a numbered list, the three of a coded text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase

from qwen3_eval.tasks.ruler_text import Draft, Draws, Encode, Recipe, read_words

N_COMMON = 10
N_FREQUENT = 3
ALPHA = 2.0
"""The exponent of the coded words' frequencies. Source: RULER, section 3 and synthetic.yaml."""

# Source: NVIDIA/RULER, scripts/data/synthetic/constants.py, without the answer's beginning, which would close
# the thinking; in the worked example of the common words it stays.
COMMON_WORDS = (
    "Below is a numbered list of words. In these words, some appear more often than others. Memorize the "
    "ones that appear most often.\n{context}\nQuestion: What are the 10 most common words in the above list?"
)
COMMON_WORDS_ANSWER = " Answer: The top 10 words that appear most often in the list are:"
CODED_WORDS = (
    "Read the following coded text and track the frequency of each coded word. Find the three most "
    "frequently appeared coded words. {context}\nQuestion: Do not provide any explanation. Please ignore the "
    "dots '....'. What are the three most frequently appeared words in the above coded text?"
)

_DOTS = "..."
_CODED_LETTERS = 6
_FEWEST_CODED = 100  # from here on the first five ranks differ in their counts


@dataclass(frozen=True)
class _ListForm:
    """How often the common and the other words appear, and the same of the worked example before the list."""

    common: int
    uncommon: int
    example_words: int
    example_common: int
    example_uncommon: int


# Source: NVIDIA/RULER, common_words_extraction.py and synthetic.yaml; the second is for below 4,096 tokens.
_LONG = _ListForm(30, 3, 40, 10, 3)
_SHORT = _ListForm(6, 1, 20, 3, 1)


def common_words(length: int, room: int, encode: Encode) -> Recipe:
    """Returns the recipe of `cwe`: 10 words appear 30 times in a list, others 3 times, after an example.

    Its size is the number of other words. Where the prompt would have less than 4,096 tokens, or where the
    whole list takes more than the `room`, the words appear 6 times and once.
    """
    vocabulary = _distinct_words()

    def recipe(form: _ListForm) -> Recipe:
        def build(i: int, draws: Draws, size: int) -> Draft:
            example, answer = _numbered_list(
                draws, vocabulary, form.example_words - N_COMMON, form.example_common, form.example_uncommon
            )
            worked = COMMON_WORDS.format(context=example) + f"{COMMON_WORDS_ANSWER} {_number(answer)}"
            context, common = _numbered_list(draws, vocabulary, size, form.common, form.uncommon)
            return Draft(f"{worked}\n{COMMON_WORDS.format(context=context)}", tuple(common))

        return Recipe(build, most=len(vocabulary) - N_COMMON)

    long = recipe(_LONG)
    fits = length >= 4096 and len(encode(long.build(0, Draws("trial"), 1).prompt)) <= room
    return long if fits else recipe(_SHORT)


def _numbered_list(
    draws: Draws, vocabulary: Sequence[str], n_uncommon: int, common_count: int, uncommon_count: int
) -> tuple[str, list[str]]:
    """Returns a list of words in random order, numbered from 1, and its common words."""
    words = draws.sample(vocabulary, N_COMMON + n_uncommon)
    common, uncommon = words[:N_COMMON], words[N_COMMON:]
    return _number(draws.shuffled(common * common_count + uncommon * uncommon_count)), common


def _number(words: Sequence[str]) -> str:
    return " ".join(f"{n}. {word}" for n, word in enumerate(words, 1))


def _distinct_words() -> list[str]:
    """Returns nouns, adjectives and verbs, sorted, without those that differ in capitals alone."""
    words = sorted({word for kind in read_words() for word in kind})
    return sorted({word.lower(): word for word in words}.values())


def coded_words(length: int, room: int, encode: Encode) -> Recipe:
    """Returns the recipe of `fwe`: words of six letters whose counts fall with the square of their rank.

    Its size is tokens. The first rank is dots, which the question says to ignore; the next three are asked.
    """
    template_tokens = len(encode(CODED_WORDS.format(context="")))

    def build(i: int, draws: Draws, size: int) -> Draft:
        vocabulary = [_DOTS, *_draw_coded_words(draws, length // 50 - 1)]
        counts = _counts_within(size - template_tokens, vocabulary, encode)
        words = [word for word, count in zip(vocabulary, counts, strict=False) for _ in range(count)]
        context = " ".join(draws.shuffled(words))
        return Draft(CODED_WORDS.format(context=context), tuple(vocabulary[1 : 1 + N_FREQUENT]))

    return Recipe(build, most=2 * room)


def _draw_coded_words(draws: Draws, n: int) -> list[str]:
    """Returns at least five and at most n different words of six letters."""
    drawn: dict[str, None] = {}
    while len(drawn) < max(n, 5):
        drawn[draws.word(ascii_lowercase, _CODED_LETTERS)] = None
    return list(drawn)


def _counts_within(budget: int, vocabulary: Sequence[str], encode: Encode) -> list[int]:
    """Returns each word's count by rank in the longest text of at most `budget` tokens."""
    tokens: list[int] = []

    def spent(n_words: int) -> int:
        counts = _zeta_counts(n_words, len(vocabulary))
        for word in vocabulary[len(tokens) : len(counts)]:
            tokens.append(len(encode(f" {word}")))
        return sum(count * cost for count, cost in zip(counts, tokens, strict=False))

    low, high = _FEWEST_CODED, max(budget, _FEWEST_CODED) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if spent(middle) <= budget else (low, middle)
    return _zeta_counts(low, len(vocabulary))


def _zeta_counts(n_words: int, n_ranks: int) -> list[int]:
    """Returns how often each rank appears in n_words draws of a zeta law, rounded down; no zeros.

    Source: NVIDIA/RULER, freq_words_extraction.py. zeta(2) is pi squared over 6.
    """
    counts: list[int] = []
    for rank in range(1, n_ranks + 1):
        count = int(n_words * rank**-ALPHA / (math.pi**2 / 6))
        if count == 0:
            break
        counts.append(count)
    return counts
