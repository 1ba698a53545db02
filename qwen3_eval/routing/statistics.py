"""What a load tells of a router: how even it is, which experts it leaves out, whether two loads are alike.

A load is how often each expert was chosen, (..., E); its scale does not matter. Of E experts a token has k.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def load_share(load: Floats) -> Floats:
    """Returns each expert's share of all choices, (..., E), NaN where there are none."""
    total = load.sum(-1, keepdims=True)
    share: Floats = np.divide(load, total, out=np.full(load.shape, np.nan), where=total > 0)
    return share


def coefficient_of_variation(load: Floats) -> Floats:
    """Returns the standard deviation over the experts (the population's) by their mean, (...); 0 is even."""
    share = load_share(load)
    deviation: Floats = share.std(-1) * load.shape[-1]  # the mean share is 1 / E
    return deviation


def even_variation(tokens: float, num_experts: int, k: int) -> float:
    """Returns the coefficient of variation that an even router shows by chance after so many tokens.

    It is the root of the mean square. Each expert is in a token's k with probability k / E, so its count has
    the mean n k / E and, were tokens independent, the variance n (k / E) (1 - k / E).
    """
    return float(np.sqrt((num_experts - k) / (k * tokens))) if tokens else float("nan")


def dead_share(load: Floats) -> Floats:
    """Returns the share of the experts that were never chosen, (...), NaN where nothing was."""
    return np.where(load.sum(-1) > 0, (load == 0).mean(-1), np.nan)


def even_dead_share(tokens: float, num_experts: int, k: int) -> float:
    """Returns the share that an even router would be expected to leave out in so many independent tokens."""
    return float((1 - k / num_experts) ** tokens) if tokens else float("nan")


def relative_entropy(load: Floats) -> Floats:
    """Returns the load's entropy by that of an even load, log E, (...): 1 is even, 0 all on one expert."""
    share = load_share(load)
    bits = -np.where(share > 0, share * np.log2(np.where(share > 0, share, 1)), 0 * share).sum(-1)
    found: Floats = bits / np.log2(load.shape[-1])
    return found


def find_top(load: Floats, k: int) -> NDArray[np.int64]:
    """Returns the k busiest experts, (..., k), busiest first; of equals, the one with the lower number."""
    return np.argsort(-load, axis=-1, kind="stable")[..., :k]


def top_overlap(one: Floats, other: Floats, k: int) -> Floats:
    """Returns the share of the k busiest experts of one load that are among those of the other, (...).

    NaN where either load is empty. By chance, of two sets drawn blindly, it is k / E.
    """
    masks = []
    for load in (one, other):
        mask = np.zeros(load.shape, dtype=bool)
        np.put_along_axis(mask, find_top(load, k), True, axis=-1)
        masks.append(mask)
    shared = (masks[0] & masks[1]).sum(-1) / k
    return np.where((one.sum(-1) > 0) & (other.sum(-1) > 0), shared, np.nan)
