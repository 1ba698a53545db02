"""Figures for print: score against thinking budget, of one run's tasks or of several runs, as PNG and SVG."""

import io
import math
import textwrap
from dataclasses import replace
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

from qwen3_eval.report.charts.tables import describe_counts
from qwen3_eval.report.curve_axes import (
    NOTE_COLOR,
    draw_reference,
    draw_scores,
    draw_tokens,
    dress_scores,
    dress_tokens,
    hollow_style,
    line_style,
)
from qwen3_eval.report.looks import choose_look
from qwen3_eval.report.points import Axis, Series, points_of, read_budget_axis
from qwen3_eval.stats.estimate import INTERVAL
from qwen3_eval.types import BASE, THINKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 8.0
"""Inches; heights grow with what is drawn."""

CROWD = 6
"""More tasks than this do not share an axis."""

CAPTION_CHARACTERS = 125
LABEL_CHARACTERS = 28


def draw_curve(summary: "pd.DataFrame", *, reference: "pd.DataFrame | None" = None) -> dict[str, bytes]:
    """Returns the figure of a summary's whole tasks, as `draw_runs` does."""
    model = next((str(name) for name in summary["model"] if name), "")
    return draw_runs(points_of(summary, model), reference=reference)


def draw_runs(points: "pd.DataFrame", *, reference: "pd.DataFrame | None" = None) -> dict[str, bytes]:
    """Returns the figure of points as `{"png": ..., "svg": ...}`; equal points give equal bytes.

    `points` are `POINT_COLUMNS`; those without a score are not drawn. Tasks of one run, and runs on one task,
    share an axis: score against budget (log2) with 95 % intervals, at 0 the score without thinking or in mode
    `base`, and below it the mean thinking tokens used. Each task has an axis of its own where there are
    several runs and tasks, or more tasks than `CROWD`. Where nothing was asked with thinking there is no
    curve: scores stand by task. `reference` are published scores, drawn hollow: `REFERENCE_COLUMNS`.
    """
    import matplotlib as mpl

    points = points[points["score"].notna()]
    if reference is not None:
        reference = reference[reference["task"].isin(set(points["task"]))]
    series = Series.of(points, reference)
    axis = read_budget_axis(points, reference, series)
    with as_file(files("qwen3_eval.reports") / "style.mplstyle") as style, mpl.rc_context(fname=style):
        apart = not axis.by_task and len(series.tasks) > (1 if series.by_run else CROWD)
        figure = (_draw_apart if apart else _draw_together)(points, reference, series, axis)
        return {
            "png": save_figure(figure, "png", {"Software": None}),
            "svg": save_figure(figure, "svg", {"Date": None, "Creator": None}),
        }


def save_figure(figure: Any, kind: str, metadata: dict[str, None]) -> bytes:
    """Returns a figure as a file of that kind."""
    out = io.BytesIO()
    figure.savefig(out, format=kind, metadata=metadata)
    return out.getvalue()


def _draw_together(
    points: "pd.DataFrame", reference: "pd.DataFrame | None", series: Series, axis: Axis
) -> "Figure":
    """Returns one axis of scores and, where it is of budgets, one of tokens below it."""
    figure = _frame(points, series, axis, height=4.0 if axis.by_task else 4.8)
    if axis.by_task:
        top = figure.subplots()
    else:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.15))
        draw_tokens(bottom, points[points["mode"] == THINKING], series, axis)
        dress_tokens(bottom, axis)
        top.tick_params(axis="x", length=0)
    _draw_scores(top, points, reference, series, axis, together=True)
    return figure


def _draw_apart(
    points: "pd.DataFrame", reference: "pd.DataFrame | None", series: Series, axis: Axis
) -> "Figure":
    """Returns an axis of scores for each task."""
    n_columns = 2 if len(series.tasks) <= 4 else 3
    n_rows = math.ceil(len(series.tasks) / n_columns)
    figure = _frame(points, series, axis, height=(2.6 if n_columns == 2 else 2.1) * n_rows + 0.3)
    panels = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False).flatten()
    for place, panel in enumerate(panels):
        if place >= len(series.tasks):
            panel.set_visible(False)
            continue
        task = list(series.tasks)[place]
        near = None if reference is None else reference[reference["task"] == task]
        shown = series if series.by_run else replace(series, tasks={task: 0})
        _draw_scores(panel, points[points["task"] == task], near, shown, axis, narrow=n_columns > 2)
        panel.set_title(_clip(task, 34 if n_columns == 2 else 24), size=10)
        panel.set_ylabel("" if place % n_columns else "score")
        if place + n_columns >= len(series.tasks):  # the last of its column
            panel.set_xlabel(axis.title, size=8.5)
    return figure


def _draw_scores(
    axes: "Axes",
    points: "pd.DataFrame",
    reference: "pd.DataFrame | None",
    series: Series,
    axis: Axis,
    *,
    together: bool = False,
    narrow: bool = False,
) -> None:
    draw_scores(axes, points, series, axis, values=together)
    if reference is not None:
        draw_reference(axes, reference, series, axis)
    dress_scores(axes, axis, narrow=narrow)


def _frame(points: "pd.DataFrame", series: Series, axis: Axis, height: float) -> "Figure":
    """Returns a figure with title, legend and caption, and `height` inches left for its axes."""
    from matplotlib.figure import Figure

    caption = textwrap.wrap(_caption(points, series, axis), CAPTION_CHARACTERS)
    handles = _list_handles(series, axis)
    longest = max((len(str(handle.get_label())) for handle in handles), default=0)
    n_columns = max(1, min(4, len(handles), 100 // (longest + 9)))
    head = 0.5 + 0.215 * math.ceil(len(handles) / n_columns)
    foot = 0.18 + 0.165 * len(caption)
    whole = head + height + foot
    figure = Figure(figsize=(WIDTH, whole), layout="constrained")
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0.005, foot / whole, 0.985, height / whole))  # type: ignore[call-arg]
    figure.text(0.02, 1 - 0.12 / whole, _title(series, axis), ha="left", va="top", size=14, weight="bold")
    figure.text(0.02, 0.1 / whole, "\n".join(caption), size=8.5, color=NOTE_COLOR, ha="left", va="bottom")
    if handles:
        figure.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(0.015, 1 - 0.45 / whole), ncols=n_columns,
            handlelength=3.2, columnspacing=1.6, borderaxespad=0,
        ).set_in_layout(False)  # fmt: skip
    return figure


def _list_handles(series: Series, axis: Axis) -> list[Any]:
    """Returns the lines of the legend; what the axes name already needs none."""
    from matplotlib.lines import Line2D

    names: list[str] = []
    if series.by_run:
        names = list(series.runs)
    elif not axis.by_task and 1 < len(series.tasks) <= CROWD:
        names = list(series.tasks)
    handles = [
        Line2D([], [], label=_clip(name), **line_style(choose_look(n))) for n, name in enumerate(names)
    ]
    return handles + [
        Line2D([], [], label=label, color=NOTE_COLOR, **hollow_style(n, axis))
        for label, n in series.labels.items()
    ]


def _clip(name: str, most: int = LABEL_CHARACTERS) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _title(series: Series, axis: Axis) -> str:
    subject = [] if series.by_run else [run for run in series.runs if run]
    if len(series.tasks) == 1:
        subject.append(next(iter(series.tasks)))
    what = "score by task" if axis.by_task else "score by thinking budget"
    return f"{' on '.join(subject)}: {what}" if subject else what.capitalize()


def _caption(points: "pd.DataFrame", series: Series, axis: Axis) -> str:
    if points.empty:
        return describe_counts(points)
    said = [f"{describe_counts(points)}. Bars: {INTERVAL}."]
    base = BASE in set(points["mode"])
    if axis.by_task:
        said.append("Asked as a base model." if base else "Asked without thinking.")
    elif (points["mode"] != THINKING).any():
        said.append(f"At 0: {'as a base model' if base else 'without thinking'}.")
    if series.labels:
        said.append("Hollow: published scores.")
    return " ".join(said)
