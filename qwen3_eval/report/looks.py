"""How series look: colours, markers and line patterns, the same in print and in pages."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Marker:
    """A marker as matplotlib names it, and as an SVG path in the square from -1 to 1."""

    name: str
    path: str


MARKERS = (
    Marker("o", "M-.8,0A.8,.8,0,1,1,.8,0A.8,.8,0,1,1,-.8,0Z"),
    Marker("s", "M-.75,-.75H.75V.75H-.75Z"),
    Marker("^", "M0,-.9L.95,.8H-.95Z"),
    Marker("D", "M0,-1L1,0L0,1L-1,0Z"),
    Marker("v", "M0,.9L.95,-.8H-.95Z"),
    Marker("P", "M-.32,-.95H.32V-.32H.95V.32H.32V.95H-.32V.32H-.95V-.32H-.32Z"),
    Marker("X", "M-.9,-.5L-.5,-.9L0,-.4L.5,-.9L.9,-.5L.4,0L.9,.5L.5,.9L0,.4L-.5,.9L-.9,.5L-.4,0Z"),
    Marker("*", "M0,-1L.29,-.4L.95,-.31L.47,.15L.59,.81L0,.5L-.59,.81L-.47,.15L-.95,-.31L-.29,-.4Z"),
)  # fmt: skip

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#6e7781")
"""Those of style.mplstyle; page.css has them as --series-0 to --series-7, and brighter ones for the dark."""

DASHES: tuple[tuple[float, ...], ...] = ((), (5, 1.5), (1, 1), (6, 1.5, 1, 1.5))
"""Line patterns, in line widths. With marker and colour they tell series apart in grey too."""


@dataclass(frozen=True)
class Look:
    """How a series is drawn; `color` is a place in `COLORS`."""

    color: int
    marker: Marker
    dash: tuple[float, ...]


def choose_look(number: int) -> Look:
    """Returns the look of the series with that number; those of the first 32 differ without colour, too."""
    turn, place = divmod(number, len(COLORS))
    marker = MARKERS[(place + 3 * turn) % len(MARKERS)]
    return Look(place, marker, DASHES[(place + 2 * turn) % len(DASHES)])
