"""What a figure's axes hold: scores with their intervals, published scores, and the tokens used."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qwen3_eval.budget import format_budget
from qwen3_eval.report.looks import COLORS, MARKERS, Look, choose_look
from qwen3_eval.report.points import Axis, Series, as_dicts
from qwen3_eval.report.tables import format_score
from qwen3_eval.types import THINKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

NOTE_COLOR = "#57606a"
AXIS_COLOR = "#8c959f"


def line_style(look: Look) -> dict[str, Any]:
    """Returns a series' look in matplotlib's words."""
    return {
        "color": COLORS[look.color],
        "marker": look.marker.name,
        "linestyle": (0, look.dash) if look.dash else "-",
    }


def hollow_style(label: int, axis: Axis) -> dict[str, Any]:
    """Returns the look of the published scores with that number, but for the colour."""
    return {
        "marker": MARKERS[(label + 3) % len(MARKERS)].name,
        "markerfacecolor": "white",
        "markeredgewidth": 1.4,
        "linewidth": 1.1,
        "linestyle": "none" if axis.by_task else (0, (4, 3)),
    }


def draw_scores(axes: "Axes", points: "pd.DataFrame", series: Series, axis: Axis, *, values: bool) -> None:
    """Draws scores with intervals: lines join budgets, and level ones start where nothing was thought.

    `values` are written beside the points where there is room: of a lone curve, and of scores by task.
    """
    n_lines = len(points[["run", "task"]].drop_duplicates())
    for (run, task), rows in points.groupby(["run", "task"], sort=False):
        number = series.number(str(task), str(run))
        style = line_style(choose_look(number))
        bare = {"color": style["color"], "linestyle": style["linestyle"]}
        x, scores = _place(rows, axis), rows["score"].tolist()
        if n_lines > 1 and (series.by_run or not axis.by_task):
            x = [place + series.nudge(number) for place in x]
        thinking = [mode == THINKING for mode in rows["mode"]]
        line = [i for i, budget in enumerate(rows["budget"]) if thinking[i] and math.isfinite(budget)]
        axes.plot([x[i] for i in line], [scores[i] for i in line], **bare)
        if rows["budget"].max() == math.inf:  # the step to `inf` has no length that could be drawn to scale
            step = [*line[-1:], rows["budget"].tolist().index(math.inf)]
            axes.plot(
                [x[i] for i in step], [scores[i] for i in step], **bare | {"linestyle": ":"}, linewidth=1.3
            )
        for i, joined in enumerate(thinking):
            if not joined and not axis.by_task:
                axes.axhline(scores[i], **bare, linewidth=1, alpha=0.5)
        below, above = rows["score"] - rows["ci_low"], rows["ci_high"] - rows["score"]
        axes.errorbar(
            x, scores, yerr=[below.clip(lower=0), above.clip(lower=0)], color=style["color"],
            marker=style["marker"], linestyle="none", elinewidth=1.3, capsize=3, clip_on=False, zorder=3,
        )  # fmt: skip
        if values and (n_lines == 1 or (axis.by_task and not series.by_run)):
            _write_values(axes, x, scores, style["color"])


def _place(rows: "pd.DataFrame", axis: Axis) -> list[float]:
    return [axis.places[row["task" if axis.by_task else "budget"]] for row in as_dicts(rows)]


def _write_values(axes: "Axes", x: Sequence[float], scores: Sequence[float], color: str) -> None:
    for number, (place, score) in enumerate(zip(x, scores, strict=True)):
        # Beside the bar, off the line: left above a rise, left below a fall, right at the top.
        crowded = score > 0.9
        falls = number > 0 and x[number - 1] < place and scores[number - 1] > score
        axes.annotate(
            format_score(score), (place, score), xytext=(7, -6) if crowded else (-7, -5 if falls else 5),
            textcoords="offset points", ha="left" if crowded else "right",
            va="top" if crowded or falls else "bottom", weight="bold", color=color,
        )  # fmt: skip


def draw_reference(axes: "Axes", reference: "pd.DataFrame", series: Series, axis: Axis) -> None:
    """Draws published scores: hollow, those with thinking joined by a thin broken line."""
    for (label, task), rows in reference.groupby(["label", "task"], sort=False):
        color = NOTE_COLOR if series.by_run else COLORS[choose_look(series.tasks[str(task)]).color]
        for _, part in rows.sort_values("budget").groupby(rows["mode"] == THINKING):
            style = hollow_style(series.labels[str(label)], axis)
            axes.plot(_place(part, axis), part["score"], color=color, zorder=2.5, **style)


def draw_tokens(axes: "Axes", points: "pd.DataFrame", series: Series, axis: Axis) -> None:
    """Draws the mean thinking tokens of each budget on a log axis, which has no place for none."""
    heights = [1.0]
    for (run, task), rows in points.groupby(["run", "task"], sort=False):
        used = rows[rows["thinking_tokens_mean"] > 0]
        number = series.number(str(task), str(run))
        x = [place + series.nudge(number) for place in _place(used, axis)]
        axes.plot(x, used["thinking_tokens_mean"], markersize=4.5, **line_style(choose_look(number)))
        heights += used["thinking_tokens_mean"].tolist()
    finite = [budget for budget in axis.places if 0 < budget < math.inf]
    if finite:
        x = [axis.places[budget] for budget in finite]
        axes.plot(x, finite, color=AXIS_COLOR, linewidth=1, linestyle=(0, (3, 2)), zorder=1)
        axes.annotate(
            "the whole budget", (x[-1], finite[-1]), xytext=(5, 0), textcoords="offset points", size=8,
            va="center", color=NOTE_COLOR,
        )  # fmt: skip
    axes.set_yscale("log", base=2)
    _tick_tokens(axes, heights[1:] + finite or heights)


def _tick_tokens(axes: "Axes", heights: Sequence[float]) -> None:
    """Ticks at powers of two, two to five of them, as 256, 1k, 4k."""
    low, high = math.floor(math.log2(min(heights))), math.ceil(math.log2(max(heights)))
    low, high = max(min(low, high - 2), 0), max(high, 2)
    ticks = [2**power for power in range(low, high + 1, math.ceil((high - low) / 4))]
    axes.set_yticks(ticks, [format_budget(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(2 ** (low - 0.3), 2 ** (high + 0.3))


def dress_scores(axes: "Axes", axis: Axis, narrow: bool = False) -> None:
    """Puts scales and ticks on an axis of scores; a `narrow` one names every second budget at most."""
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    axes.set_ylabel("score")
    _tick_places(axes, axis)
    if narrow and len(axis.names) > 5:
        names = [
            name if place % 2 == len(axis.names) % 2 - 1 or name == "0" else ""
            for place, name in enumerate(axis.names)
        ]
        axes.set_xticks(list(axis.places.values()), names)


def dress_tokens(axes: "Axes", axis: Axis) -> None:
    """Puts words and ticks on an axis of tokens."""
    axes.set_ylabel("tokens used")
    axes.set_xlabel(axis.title)
    _tick_places(axes, axis)


def _tick_places(axes: "Axes", axis: Axis) -> None:
    places = list(axis.places.values())
    axes.set_xticks(places, [name if len(name) <= 28 else f"{name[:27]}…" for name in axis.names])
    if axis.by_task and len(places) > 3:
        for label in axes.get_xticklabels():
            label.set(rotation=35, ha="right", rotation_mode="anchor")
    axes.set_xlim(min(places, default=0.0) - 0.8, max(places, default=0.0) + 0.65)
    for place in axis.split:
        axes.axvline(place, color=AXIS_COLOR, linewidth=0.8, linestyle=(0, (1, 2)))
