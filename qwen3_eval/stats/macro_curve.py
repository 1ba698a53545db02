"""The curve of a task whose groups count alike whatever their size: the mean of the groups' curves."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qwen3_eval.stats.bootstrap import N_RESAMPLES
from qwen3_eval.stats.curve import (
    Curve,
    area_weights,
    budget_reaching,
    fit_saturation,
    gain_per_doubling,
    gain_steps,
)
from qwen3_eval.stats.estimate import Estimate, estimate_macro

Floats = NDArray[np.float64]


def measure_macro_curve(
    scores: ArrayLike,
    budgets: Sequence[float],
    groups: Sequence[Hashable],
    seed: int,
    clusters: Sequence[Hashable] | None = None,
    n_resamples: int = N_RESAMPLES,
) -> Curve:
    """Returns what `measure_curve` does, of the mean of the groups' curves.

    `scores` and `budgets` are as `measure_curve` takes them; `groups` and `clusters` name each row's group
    and cluster. `n_questions` counts the rows that have a score at every budget.
    """
    values = np.asarray(scores, dtype=float)
    whole = np.flatnonzero(~np.isnan(values).any(axis=1))
    kept, names = values[whole], [groups[i] for i in whole]
    labels = None if clusters is None else [clusters[i] for i in whole]
    rows = macro_rows(kept, names)
    return Curve(
        n_questions=len(kept),
        area=_area(kept, budgets, names, labels),
        gain=gain_per_doubling(rows, budgets, labels),
        steps=gain_steps(rows, budgets, labels),
        reached=budget_reaching(rows, budgets, seed, labels, n_resamples=n_resamples),
        saturation=fit_saturation(rows, budgets, seed, labels, n_resamples),
    )


def macro_rows(scores: ArrayLike, groups: Sequence[Hashable]) -> Floats:
    """Returns rows whose plain mean is the mean of the groups' means, and whose error is that mean's.

    `scores` is (n_questions, n_columns) without NaN. What comes back has its shape, and values beyond 0-1:
    the mean, and a question's distance from its group's mean times the weight that its group gives it. A
    group of one question shows no spread.

    Source: stratified mean with equal weights, Cochran 1977, Sampling Techniques, section 5.3; its error as
    the mean of one number a question, as `estimate_macro` has it.
    """
    values = np.asarray(scores, dtype=float)
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    of_row = np.array([numbers[group] for group in groups], dtype=int)
    if not len(of_row):
        return values
    sizes = np.bincount(of_row)
    sums = np.stack([np.bincount(of_row, column) for column in values.T], axis=1)
    means = sums / sizes[:, None]  # (n_groups, n_columns)
    scale = np.sqrt(sizes / np.maximum(sizes - 1, 1)) * len(values) / (sizes * len(sizes))
    rows: Floats = means.mean(axis=0) + (values - means[of_row]) * scale[of_row][:, None]
    return rows


def _area(
    scores: Floats, budgets: Sequence[float], groups: Sequence[Hashable], clusters: Sequence[Hashable] | None
) -> Estimate | None:
    """Returns the area of `qwen3_eval.stats.curve.area`, each group counting alike."""
    places = np.asarray(budgets, dtype=float)
    finite = (places > 0) & np.isfinite(places)
    if finite.sum() < 2 or not len(scores):
        return None
    areas = np.round(scores[:, finite] @ area_weights(places[finite]), 12)
    members: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    labels = None if clusters is None else [[clusters[i] for i in rows] for rows in members.values()]
    return estimate_macro([areas[rows, None] for rows in members.values()], labels)
