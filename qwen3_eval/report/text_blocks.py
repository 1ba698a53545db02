"""The texts in a page: compressed blocks, of which a reader inflates the one that it opens.

Where all texts do not fit, those of the first repeats stay, and of each task about as much as of any other.
"""

import base64
import gzip
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from qwen3_eval.report.records import RecordText

MAX_TEXT_CHARACTERS = 200_000
"""A longer prompt, thinking or answer is clipped in the page (about 50,000 tokens)."""

MAX_PAGE_BYTES = 30_000_000
"""Most bytes of a page. Texts that do not fit are left out; they are in samples.parquet."""

BLOCK_CHARACTERS = 2**19
"""Texts are compressed in blocks of about this size, so that opening a record inflates one block only."""


@dataclass
class _Layer:
    """The texts of one task and of repeats that are given up together."""

    closed: list[tuple[Sequence[int], str]] = field(default_factory=list)  # (places, base64)
    bytes: int = 0
    places: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    characters: int = 0
    full: bool = False


class TextBlocks:
    """Collects the texts of rollouts, in order; a rollout's place is how many came before it."""

    def __init__(self) -> None:
        self.count = 0
        self.left_out = 0  # wanted rollouts without texts
        self._layers: dict[tuple[int, str], _Layer] = {}

    def add(self, text: RecordText, *, task: str = "", repeat: int = 0, wanted: bool = True) -> None:
        """Takes the texts of the next rollout. One that is not `wanted` has its place, and no texts."""
        place, self.count = self.count, self.count + 1
        if not wanted:
            return
        key = (repeat.bit_length(), task)
        layer = self._layers.setdefault(key, _Layer())
        if any(other.full and (at == key or at[0] < key[0]) for at, other in self._layers.items()):
            self.left_out += 1
            return
        layer.places.append(place)
        layer.texts.append(json.dumps(_pack_text(text)))
        layer.characters += len(layer.texts[-1])
        if layer.characters >= BLOCK_CHARACTERS:
            self._close(layer)
            self._shrink(MAX_PAGE_BYTES)

    def close(self, most_bytes: int | None = None) -> None:
        """Compresses what is open, and leaves out texts until the blocks are no more than `most_bytes`."""
        for layer in self._layers.values():
            self._close(layer)
        self._shrink(MAX_PAGE_BYTES if most_bytes is None else most_bytes)

    @property
    def blocks(self) -> list[tuple[Sequence[int], str]]:
        """The closed blocks: the places in each, and its texts as base64 of compressed JSON."""
        return [block for key in sorted(self._layers) for block in self._layers[key].closed]

    def _close(self, layer: _Layer) -> None:
        if layer.places:
            packed = compress("[" + ",".join(layer.texts) + "]")
            layer.closed.append((tuple(layer.places), packed))
            layer.bytes += len(packed)
            layer.places, layer.texts, layer.characters = [], [], 0

    def _shrink(self, most_bytes: int) -> None:
        """Drops blocks, of the last repeats first, and there from the task that has most."""
        while (filled := {key: at for key, at in self._layers.items() if at.closed}) and sum(
            layer.bytes for layer in filled.values()
        ) > most_bytes:
            key = max(filled, key=lambda key: (key[0], filled[key].bytes))
            places, packed = filled[key].closed.pop()
            filled[key].bytes -= len(packed)
            filled[key].full = True
            self.left_out += len(places)


def compress(text: str) -> str:
    """Returns gzip, then base64; equal texts give equal results."""
    return base64.b64encode(gzip.compress(text.encode("ascii"), 6, mtime=0)).decode("ascii")


def _pack_text(text: RecordText) -> dict[str, Any]:
    """Returns the texts, clipped, with cuts counted in UTF-16 units as JavaScript counts."""
    thinking = text.thinking[:MAX_TEXT_CHARACTERS]
    return {
        "prompt": text.prompt[:MAX_TEXT_CHARACTERS],
        "thinking": thinking,
        "cuts": [
            [json_budget(budget), len(thinking[:offset].encode("utf-16-le", "surrogatepass")) // 2]
            for budget, offset in sorted(text.cuts)
        ],
        "answers": {str(key): answer[:MAX_TEXT_CHARACTERS] for key, answer in text.answers.items()},
        "clipped": any(
            len(part) > MAX_TEXT_CHARACTERS for part in (text.prompt, text.thinking, *text.answers.values())
        ),
    }


def json_budget(budget: float) -> float | str:
    """Returns the budget for JSON, which has no infinity."""
    return "inf" if math.isinf(budget) else int(budget)


def render_within_limit(render: Callable[[], str], texts: TextBlocks) -> str:
    """Returns the page that `render` gives, called again with fewer texts where it exceeds MAX_PAGE_BYTES."""
    page = render()
    over = len(page.encode()) - MAX_PAGE_BYTES
    if over > 0:
        texts.close(sum(len(packed) for _, packed in texts.blocks) - over)
        page = render()
    return page
