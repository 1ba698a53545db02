"""The fit of a curve that saturates, score(B) = c - a B^-b, and silence where the data do not support one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qwen3_eval.stats.bootstrap import Interval, percentile_ends
from qwen3_eval.stats.curve_points import CurvePoints, Floats
from qwen3_eval.stats.estimate import clustered_stderr

MIN_BUDGETS = 4
FLATTEST, STEEPEST = 0.05, 4.0
"""Exponents b that a fit may find: a doubling leaves 2^-b of the gap to c, from 97 % to 6 %. A flatter curve
shows no end, a steeper one is at its end from its second budget on; either way the data hold no b."""
N_EXPONENTS = 128


@dataclass(frozen=True)
class Saturation:
    """The fit score(B) = c - a B^-b: c the score it tends to, in 0-1, b how fast, a in the units of B^b."""

    c: Interval
    a: float
    b: Interval

    def predict(self, budgets: ArrayLike) -> Floats:
        """Returns the fitted scores at `budgets`, tokens above 0 or inf."""
        scores: Floats = self.c.value - self.a * np.asarray(budgets, dtype=float) ** -self.b.value
        return scores


def fit_points(curve: CurvePoints, draws: Floats) -> Saturation | None:
    """Returns the fit, None where the data hold none; `draws` are means, (n_resamples, n_budgets)."""
    if curve.finite.sum() < MIN_BUDGETS:
        return None
    scores, budgets = curve.scores[:, curve.finite], curve.budgets[curve.finite]
    means = scores.mean(axis=0)
    rise = curve.mean_of(scores[:, -1] - scores[:, 0], 1.0)
    if not rise.ci_low > 0:
        return None
    errors = np.array([clustered_stderr(column, curve.labels)[0] for column in scores.T])
    # Scores that all agree are no certainty: a budget counts with what one answer in n would have as error.
    errors = np.maximum(errors, 1 / len(scores))
    unit = budgets / budgets[0]  # keeps B^-b within 0-1; a is turned back below
    c, a, b = _solve(means[None], unit, errors)
    if not _inside(b)[0] or not 0 < c[0] <= 1 or not a[0] > 0:
        return None
    if np.any(np.abs(means - (c[0] - a[0] * unit ** -b[0])) > 3 * errors):
        return None
    c_draws, _, b_draws = _solve(draws[:, curve.finite], unit, errors)
    b_ends, c_ends = percentile_ends(b_draws), percentile_ends(c_draws)
    if not _inside(np.array(b_ends)).all() or not c_ends[1] - c_ends[0] <= means.max() - means[0]:
        return None
    return Saturation(
        Interval(float(c[0]), c_ends[0], min(1.0, c_ends[1])),
        float(a[0] * budgets[0] ** b[0]),
        Interval(float(b[0]), *b_ends),
    )


def _inside(b: Floats) -> NDArray[np.bool_]:
    return (b > FLATTEST * 1.001) & (b < STEEPEST * 0.999)


def _solve(means: Floats, unit: Floats, errors: Floats) -> tuple[Floats, Floats, Floats]:
    """Returns c, a and b, each (n,), of the fits to n curves of `means` (n, n_budgets).

    For a given b the fit is a straight line in B^-b, whose squared error has a formula; b is found on a grid,
    and then twice on a finer one around the best.
    """
    weights = errors**-2 / np.sum(errors**-2)
    centred = means - (means @ weights)[:, None]

    def explained(b: Floats) -> tuple[Floats, Floats]:
        """Returns the part of the variance that each b explains, and its slope; b is (n or 1, n_tried)."""
        power = unit ** -b[..., None]  # (n or 1, n_tried, n_budgets)
        power -= (power @ weights)[..., None]
        shared = np.einsum(
            "nj,ntj->nt", centred * weights, np.broadcast_to(power, (len(means), *power.shape[1:]))
        )
        own = (power**2) @ weights
        return shared**2 / own, shared / own

    grid = np.geomspace(FLATTEST, STEEPEST, N_EXPONENTS)[None]
    best = grid[0, explained(grid)[0].argmax(axis=1)]
    reach = (STEEPEST / FLATTEST) ** (1 / (N_EXPONENTS - 1))
    for _ in range(3):
        near = np.clip(best[:, None] * np.geomspace(1 / reach, reach, 17), FLATTEST, STEEPEST)
        best = np.take_along_axis(near, explained(near)[0].argmax(axis=1)[:, None], axis=1)[:, 0]
        reach **= 1 / 8
    slope = explained(best[:, None])[1][:, 0]
    c = means @ weights - slope * ((unit ** -best[:, None]) @ weights)
    return c, -slope, best
