"""The heat maps of routing.html: a layer's load in a row, an expert's in a column, a map for each span.

Drawn as SVG by hand: a cell is the series colour at some opacity, so it follows the page's theme and reads in
grey, and says its numbers when pointed at, without a script. Opacity goes by the root of the share, for among
many experts one that is busy would leave the others no shade between them. The maps of a task stand below
each other, an expert always at the same place.
"""

import math
from dataclasses import dataclass

import numpy as np

from qwen3_eval.routing.measure import Tally
from qwen3_eval.routing.responses import SPANS
from qwen3_eval.routing.statistics import Floats, load_share

WIDTH = 720
"""Of a map with many experts, in the SVG's own units; the page scales it."""
_MARGIN = 34  # for the layers' numbers
_FONT = 11


@dataclass(frozen=True)
class HeatMap:
    """A span's map as SVG, and how many tokens it rests on; `dead` says that crosses are in it."""

    span: str
    tokens: int
    svg: str
    dead: bool


@dataclass(frozen=True)
class HeatMaps:
    """The maps of a task, on one scale that ends at `largest`; `even` is the share of an even load."""

    task: str
    maps: tuple[HeatMap, ...]
    largest: float
    even: float

    @property
    def mark(self) -> float:
        """Where on the scale, 0-1, an even load is."""
        return find_shade(self.even, self.largest)


def draw_heat_maps(tally: Tally) -> HeatMaps:
    """Returns a map for each span that holds a token."""
    load = tally.counts.sum(0)  # (n_layers, n_spans, E)
    share = load_share(load.astype(float))
    largest = float(np.nanmax(share))
    maps = []
    for span, name in enumerate(SPANS):
        tokens = round(load[0, span].sum() / tally.k)
        if tokens:
            svg = _draw_map(tally, share[:, span], largest, name)
            maps.append(HeatMap(name, tokens, svg, bool((load[:, span] == 0).any())))
    return HeatMaps(tally.task, tuple(maps), largest, 1 / load.shape[-1])


def _draw_map(tally: Tally, share: Floats, largest: float, span: str) -> str:
    """Draws a map of `share` (n_layers, E)."""
    n_layers, num_experts = share.shape
    wide = min(30.0, (WIDTH - _MARGIN) / num_experts)
    high = min(24.0, max(9.0, wide))
    width, height = _MARGIN + wide * num_experts + 1, high * n_layers + 40
    gap = 1 if wide > 8 else 0.4
    cells, crosses = [], []
    for row, layer in enumerate(tally.layers):
        for expert, value in enumerate(share[row].tolist()):
            x, y = _MARGIN + expert * wide, row * high
            said = f"layer {layer}, expert {expert}: {say_share(value)} of the choices"
            cells.append(
                f'<rect x="{x:.2f}" y="{y:.2f}" width="{wide - gap:.2f}" height="{high - gap:.2f}" '
                f'fill-opacity="{find_shade(value, largest):.3f}"><title>{said}</title></rect>'
            )
            if value == 0:
                a, b, arm = x + (wide - gap) / 2, y + (high - gap) / 2, min(wide, high) / 5
                crosses.append(f"M{a - arm:.1f},{b - arm:.1f}l{2 * arm:.1f},{2 * arm:.1f}m0,{-2 * arm:.1f}"
                               f"l{-2 * arm:.1f},{2 * arm:.1f}")  # fmt: skip
    every = _choose_step(n_layers, high, _FONT + 3)
    labels = [
        f'<text x="{_MARGIN - 6}" y="{row * high + high / 2 + 4:.1f}" text-anchor="end">{layer}</text>'
        for row, layer in enumerate(tally.layers)
        if row % every == 0
    ]
    every = _choose_step(num_experts, wide, 26)
    labels += [
        f'<text x="{_MARGIN + (expert + 0.5) * wide:.1f}" y="{height - 26:.1f}" text-anchor="middle">'
        f"{expert}</text>"
        for expert in range(0, num_experts, every)
    ]
    labels.append(f'<text x="{_MARGIN}" y="{height - 10:.1f}">expert →   layer ↓</text>')
    named = f"Share of the choices of each expert in each layer, {span}; the tables below hold the numbers"
    return (
        f'<svg class="heat" role="img" aria-label="{named}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'style="max-width: {max(1.4 * width, 300):.0f}px; min-width: {min(0.66 * width, 600):.0f}px">'
        f'<rect class="back" x="{_MARGIN}" width="{wide * num_experts:.1f}" height="{high * n_layers:.1f}"/>'
        f'<g class="cells">{"".join(cells)}</g><path class="dead" d="{"".join(crosses)}"/>'
        f'<g class="labels">{"".join(labels)}</g></svg>'
    )


def find_shade(share: float, largest: float) -> float:
    """Returns the opacity of a share, 0-1."""
    return math.sqrt(share / largest)


def _choose_step(n: int, size: float, room: float) -> int:
    """Returns every which row or column gets its number, so that numbers have `room`."""
    return next((step for step in (1, 2, 4, 8, 16, 32) if step * size >= room), max(n, 1))


def say_share(share: float) -> str:
    """Returns a share of the choices as per cent, with the digits that are read."""
    if share == 0:
        return "none"
    return "<0.1 %" if share < 0.0005 else f"{share * 100:.1f} %"
