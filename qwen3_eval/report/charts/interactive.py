"""Charts that answer to hover, keys and toggles: what a page draws, and in which words.

`draw_charts` takes the points of one run or of several. Of one run, tasks are the series on one axis; of
several, runs are, on an axis for each task. charts.js draws what `Charts.pack` returns.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qwen3_eval.report.charts.rows import (
    SHARES,
    Row,
    css_color,
    css_dash,
    published_marker,
    read_token_axis,
    shape_rows,
    take_task,
)
from qwen3_eval.report.charts.specs import CONFIG, draw_scores, draw_share, draw_tokens
from qwen3_eval.report.charts.tables import describe_counts, tabulate_points, tabulate_shares, tabulate_tokens
from qwen3_eval.report.looks import choose_look
from qwen3_eval.report.points import Axis, Series, read_budget_axis
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.stats.estimate import INTERVAL
from qwen3_eval.types import BASE, THINKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Panel:
    """One axis: a Vega-Lite specification, and the legend's key of its task, "" for several tasks."""

    title: str
    spec: Mapping[str, Any]
    task: str = ""


@dataclass(frozen=True)
class Chart:
    """A figure of one or more panels, and the same numbers as a table."""

    name: str
    title: str
    caption: str
    panels: Sequence[Panel]
    table: ReportTable


@dataclass(frozen=True)
class Entry:
    """A line of a legend: the key that it toggles, and how that is drawn (a CSS colour, an SVG path)."""

    key: str
    label: str
    color: str = ""
    path: str = ""
    dash: str = ""
    hollow: bool = False


@dataclass(frozen=True)
class Charts:
    """`legends` are (title, entries): the tasks, runs and published scores that can be shown or hidden."""

    charts: Sequence[Chart]
    legends: Sequence[tuple[str, Sequence[Entry]]]

    def pack(self) -> str:
        """Returns JSON for charts.js, which can stand inside a script element whatever the names hold."""
        specs = [panel.spec for chart in self.charts for panel in chart.panels]
        text = json.dumps({"config": CONFIG, "specs": specs}, allow_nan=False)
        return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def draw_charts(points: "pd.DataFrame", reference: "pd.DataFrame | None" = None) -> Charts:
    """Returns the charts of `points` (`POINT_COLUMNS`): score by budget, score by tokens used, and shares.

    `reference` (`REFERENCE_COLUMNS`) is drawn hollow beside the points of the same task. A figure that would
    be empty is left out: tokens where nothing was asked with thinking, and shares where all are 0.
    """
    if reference is not None:
        reference = reference[reference["task"].isin(set(points["task"]))]
    series = Series.of(points, reference)
    axis, tokens = read_budget_axis(points, reference, series), read_token_axis(points)
    rows = shape_rows(points, reference, series, axis, tokens)
    charts = [
        _chart_scores(points, rows, series, axis),
        _chart_tokens(points, rows, series, tokens),
        _chart_shares(points, rows, series, axis),
    ]
    return Charts([chart for chart in charts if chart.panels], _list_legends(series))


def _chart_scores(points: "pd.DataFrame", rows: Sequence[Row], series: Series, axis: Axis) -> Chart:
    title = "Score by task" if axis.by_task else "Score by thinking budget"
    caption = f"{describe_counts(points)}. Bars: {INTERVAL}."
    modes = set(points["mode"]) - {THINKING}
    if modes and not axis.by_task:
        caption += " At 0: as a base model." if BASE in modes else " At 0: without thinking."
    if math.inf in axis.places:
        caption += " inf: no cap but the output limit."
    if series.labels:
        caption += " Hollow: published scores."
    panels = [
        Panel(task, draw_scores(take_task(rows, key), axis, _name(title, task)), key)
        for key, task in series.panels
    ]
    return Chart("score_by_budget", title, caption, panels, tabulate_points(points))


def _chart_tokens(points: "pd.DataFrame", rows: Sequence[Row], series: Series, axis: Axis) -> Chart:
    title = "Score by thinking tokens really used"
    over = "budgets, modes and runs" if series.by_run else "budgets and modes"
    caption = (
        "Each point stands at the mean thinking tokens that its budget cost. Ringed: no point of its task is "
        f"as good with fewer (the Pareto front over {over})."
    )
    panels = [
        Panel(task, draw_tokens(take_task(rows, key), axis, _name(title, task)), key)
        for key, task in series.panels
        if any(row["thinking"] and row["y"] is not None for row in take_task(rows, key))
    ]
    return Chart("score_by_tokens", title, caption, panels, tabulate_tokens(points))


def _chart_shares(points: "pd.DataFrame", rows: Sequence[Row], series: Series, axis: Axis) -> Chart:
    drawn = [share for share in SHARES if (points[share] > 0).any()]
    absent = [SHARES[share] for share in SHARES if share not in drawn]
    caption = (
        "Shares of all records. Forced: the thinking reached its budget. Truncated: an output limit was hit. "
        "No answer: scores 0. Error: left out of the score."
        + (f" There was none of: {', '.join(absent)}." if absent else "")
    )
    panels = [
        Panel(
            _name(SHARES[share], task),
            draw_share(take_task(rows, key), axis, _name(f"Share of records {SHARES[share]}", task), share),
            key,
        )
        for key, task in series.panels
        for share in drawn
        if any(row.get(share) for row in take_task(rows, key))
    ]
    title = "Forced, truncated, without an answer, in error"
    return Chart("shares_by_budget", title, caption, panels, tabulate_shares(points))


def _name(title: str, task: str) -> str:
    return f"{title}: {task}" if task else title


def _list_legends(series: Series) -> list[tuple[str, Sequence[Entry]]]:
    """Returns tasks and runs where there are several, and published scores where there are any."""
    legends: list[tuple[str, Sequence[Entry]]] = []
    if len(series.tasks) > 1:
        dressed = not series.by_run
        tasks = [
            _dress(f"t{n}", task, n) if dressed else Entry(f"t{n}", task) for task, n in series.tasks.items()
        ]
        legends.append(("Tasks", tasks))
    if series.by_run:
        legends.append(("Runs", [_dress(f"r{n}", run, n) for run, n in series.runs.items()]))
    if series.labels:
        published = [
            Entry(f"p{n}", label, "var(--soft)", published_marker(n), "4 3", hollow=True)
            for label, n in series.labels.items()
        ]
        legends.append(("Published", published))
    return legends


def _dress(key: str, label: str, number: int) -> Entry:
    look = choose_look(number)
    return Entry(key, label, css_color(look), look.marker.path, " ".join(map(str, css_dash(look))))
