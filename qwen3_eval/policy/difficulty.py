"""How hard a question is, from its prompt alone: a forest that learns it from other questions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qwen3_eval.policy.policies import Floats, Grid, Ints

N_TREES = 50
LEAVES = 40
"""A prediction is the mean of at least one in so many of the training questions, in each tree, or of five."""
MOST_TRAINED = 2000
"""Questions a fold learns from; of more, a random choice, since the forest's time grows with them."""
N_NUMBERS = 12
N_HASHED = 128
N_HASHED_GROUPS = 32
MAX_ENDS = 4000
"""Words are read from so much of a prompt's beginning and as much of its end; its length is that of all."""


@dataclass(frozen=True)
class Forecast:
    """Each option's predicted score, and tokens of thinking and answer: (n_questions, n_options)."""

    score: Floats
    tokens: Floats


def assign_folds(cluster: Ints, n_folds: int, seed: int) -> Ints:
    """Returns each question's fold, (n_questions,), the questions of a `cluster` in the same one.

    There are `n_folds`, or as many as clusters where those are fewer, and none of them is empty.
    """
    n_clusters = int(cluster.max()) + 1
    order = np.random.default_rng(seed).permutation(n_clusters)
    folds: Ints = (order % n_folds)[cluster]
    return folds


def read_features(prompts: Sequence[str], prompt_tokens: Sequence[int], groups: Sequence[str]) -> Floats:
    """Returns what a server knows of each question before it answers, (n_questions, n_features).

    Lengths (tokens, characters, words, lines), digits, question marks, the numbers in it (how many, the
    largest, the first of them in their order, as logarithms), hashed words and pairs of words, and the hashed
    names of its task and groups.
    """
    from scipy.sparse import hstack
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.feature_extraction.text import HashingVectorizer

    ends = [p if len(p) <= 2 * MAX_ENDS else f"{p[:MAX_ENDS]} {p[-MAX_ENDS:]}" for p in prompts]
    plain = [_count(*of_one) for of_one in zip(prompts, ends, prompt_tokens, strict=True)]
    words = HashingVectorizer(n_features=N_HASHED, ngram_range=(1, 2), norm=None, alternate_sign=False)
    names = FeatureHasher(N_HASHED_GROUPS, input_type="string", alternate_sign=False)
    prefixes = [
        ["/".join(group.split("/")[: i + 1]) for i in range(group.count("/") + 1)] for group in groups
    ]
    hashed = hstack([words.transform(ends), names.transform(prefixes)]).toarray()
    return np.column_stack([np.array(plain), hashed])


def _count(prompt: str, read: str, tokens: int) -> list[float]:
    numbers = [float(found) for found in re.findall(r"\d{1,15}(?:\.\d+)?", read)]
    shown = [np.log1p(number) for number in numbers[:N_NUMBERS]]
    return [
        np.log1p(tokens),
        np.log1p(len(prompt)),
        np.log1p(len(read.split())),
        len(set(read.lower().split())) / max(1, len(read.split())),
        prompt.count("\n"),
        sum(character.isdigit() for character in read),
        read.count("?"),
        len(numbers),
        np.log1p(max(numbers, default=0.0)),
        np.log1p(numbers[-1]) if numbers else -1.0,
        *shown,
        *[-1.0] * (N_NUMBERS - len(shown)),
    ]


def forecast(grid: Grid, features: Floats, folds: Ints, seed: int, n_trees: int = N_TREES) -> Forecast:
    """Returns a forecast of each question that was learnt from the questions of the other `folds` alone.

    Extremely randomised trees over the features (n_questions, n_features), one forest for the mean score at
    each option and one for its tokens. Without bootstrap each tree sees every training question, so features
    that tell nothing apart give the training mean.

    Source: Geurts, Ernst and Wehenkel 2006, "Extremely randomized trees", Machine Learning 63:3-42.
    """
    from sklearn.ensemble import ExtraTreesRegressor

    score, tokens = grid.of_questions(grid.score), grid.of_questions(grid.total)
    predicted = Forecast(np.empty_like(score), np.empty_like(tokens))
    for fold in np.unique(folds):
        random = np.random.default_rng([seed, int(fold)])
        others, mine = np.flatnonzero(folds != fold), folds == fold
        if len(others) > MOST_TRAINED:
            others = random.choice(others, MOST_TRAINED, replace=False)
        scale = tokens[others].std(axis=0) + 1  # else the largest budget alone would decide the splits
        for known, made, unit in ((score, predicted.score, 1.0), (tokens, predicted.tokens, scale)):
            forest = ExtraTreesRegressor(
                n_trees,
                min_samples_leaf=max(5, len(others) // LEAVES),
                random_state=int(random.integers(2**31)),
            )
            forest.fit(features[others], known[others] / unit)
            made[mine] = forest.predict(features[mine]) * unit
    return predicted


def list_prices(tokens: Floats) -> list[float]:
    """Returns prices in score per token, falling, from one at which the cheapest option is taken.

    `tokens` (n_options,) are the options' mean tokens. At a price of 1 / t one more right answer is worth t
    tokens: powers of two and the middle between them, from the cheapest option's tokens to 64 times those of
    the dearest.
    """
    low, high = np.floor(np.log2(max(2.0, tokens.min()))), np.ceil(np.log2(64 * max(1.0, tokens.max())))
    return [1 / (part * 2**k) for k in range(int(low), int(high) + 1) for part in (1.0, 1.5)]
