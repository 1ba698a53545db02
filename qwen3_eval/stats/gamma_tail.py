"""The chance that a weighted sum of gamma variables is 0 or more, exactly."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

BEND = 0.3
"""How far the path of integration leans; any value well inside 0-0.5 gives the same chance."""


def tail_of_gammas(values: ArrayLike, counts: ArrayLike) -> float:
    """Returns the chance that the sum of values[k] times a Gamma(counts[k]) variable is 0 or more.

    It is the inverse Laplace transform of the sum's moment generating function, along a path through its
    saddle point that bends to where it falls off: exact but for a relative error below 1e-8.

    Source: Dirichlet weights are exponential variables over their sum, so a weighted mean passes 0 exactly
    where a sum of exponentials does; the path, Daniels 1954, Annals of Mathematical Statistics 25:631-650.
    """
    a, n = np.asarray(values, dtype=float), np.asarray(counts, dtype=float)
    some = (a != 0) & (n > 0)
    a, n = a[some], n[some]
    if (a > 0).all():
        return 1.0
    if (a < 0).all():
        return 0.0
    if n @ a > 0:  # the smaller side is integrated, so that no small chance drowns in 1
        return 1.0 - _integrate(-a, n)
    return _integrate(a, n)


def _integrate(a: Floats, n: Floats) -> float:
    """Returns the chance that the sum is above 0, where its mean is 0 or less."""
    from scipy.optimize import brentq

    end = 1 / a.max()  # the cumulant function is finite below
    start = 1 / math.sqrt(float(n @ a**2))

    def slope(s: float) -> float:
        return float(np.sum(n * a / (1 - a * s)))

    saddle = 0.0
    if slope(0.0) < 0:  # a mean of 0 may be a little above it, by rounding
        saddle = brentq(slope, 0.0, end * (1 - 1e-13), xtol=1e-6 * min(start, end), rtol=1e-6)
    s = max(saddle, min(start, end / 2))  # at 0 the integrand has a pole; any start right of it will do
    width = 1 / math.sqrt(float(n @ (a / (1 - a * s)) ** 2))
    # Far out the many small values fall off to one side only, and the path bends to there.
    sides = s + width * np.sinh(3.0) * (1j + np.array([BEND, -BEND]))
    right, left = np.abs(1 - a[:, None] * sides).T
    bend = BEND if n @ np.log(right) > n @ np.log(left) else -BEND
    total, step = 0.0, 0.075
    for begin in range(0, 24, 3):
        u = np.arange(begin + step / 2, begin + 3, step)
        path = s + width * (1j * np.sinh(u) + bend * (np.cosh(u) - 1))
        along = width * (1j * np.cosh(u) + bend * np.sinh(u)) * step / math.pi
        logs = -np.sum(n[:, None] * np.log(1 - a[:, None] * path), axis=0)
        heights = np.imag(np.exp(logs) / path * along)
        total += float(np.sum(heights))
        if np.abs(heights).max() < 1e-16 * abs(total):
            break
    return float(min(1.0, max(0.0, total)))
