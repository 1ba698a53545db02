"""Which of a task's questions are asked: a limit, a share or a shard, the same on every machine."""

import hashlib
import math
from collections.abc import Sequence
from typing import TypeVar

from qwen3_eval.errors import ConfigError
from qwen3_eval.types import Sample, Unmade

Question = TypeVar("Question", bound=Sample | Unmade)


def select(samples: Sequence[Question], limit: int | None, shard: tuple[int, int] = (1, 1)) -> list[Question]:
    """Returns the first `limit` samples (None for all) in a pseudo-random order that never changes.

    The order is that of a hash of each sample_id, so it needs no seed and no knowledge of the other samples.
    Hence limit=200 is a subset of limit=400, a longer run extends a shorter one, and groups that lie
    together in the data are mixed in every prefix: what is done when a run is stopped is a fair draw.
    Of those, shard (k, n) is every n-th from the k-th on: the n shards are the whole, of equal size to one
    question, and a larger limit only adds to each.
    Raises ConfigError where `limit` is below 1.
    """
    if limit is not None and limit < 1:
        raise ConfigError(
            f"limit={limit} selects nothing; give the number of questions per task, or null for all"
        )
    k, n = shard
    return sorted(samples, key=_draw)[:limit][k - 1 :: n]


def take_share(samples: Sequence[Question], share: float) -> tuple[Question, ...]:
    """Returns `share` of each group, rounded up, in data order: the same questions on every machine.

    It is the first part of the order of `select`, so a larger share holds a smaller one.
    """
    groups: dict[str, list[Question]] = {}
    for sample in samples:
        groups.setdefault(sample.group, []).append(sample)
    taken = {
        sample.sample_id
        for group in groups.values()
        for sample in sorted(group, key=_draw)[: _count(share, len(group))]
    }
    return tuple(sample for sample in samples if sample.sample_id in taken)


def _count(share: float, total: int) -> int:
    return math.ceil(round(share * total, 6))  # 0.1 * 30 is a little more than 3


def _draw(sample: Sample | Unmade) -> bytes:
    """A place in a pseudo-random order that needs no seed and no knowledge of the other samples."""
    return hashlib.sha256(sample.sample_id.encode()).digest()
