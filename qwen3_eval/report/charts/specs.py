"""Specifications of interactive charts: score by budget, score by tokens used, and a share by budget.

Source: https://vega.github.io/vega-lite/docs/ (version 6).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from qwen3_eval.report.charts.rows import SHARES, Row
from qwen3_eval.report.points import Axis

Spec = dict[str, Any]

CONFIG: Mapping[str, Any] = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--ink)", "titleColor": "var(--ink)", "gridColor": "var(--rule)",
        "domainColor": "var(--axis)", "tickColor": "var(--axis)", "labelFontSize": 12, "titleFontSize": 12,
        "titleFontWeight": "normal", "titlePadding": 8,
    },
}  # fmt: skip
"""Colours are variables of page.css, so that a chart follows the theme without being drawn anew."""

_NOT_HIDDEN = "indexof(hidden, datum.t) < 0 && indexof(hidden, datum.r) < 0"
_LOOK = {
    name: {"field": name, "type": "nominal", "scale": None, "legend": None} for name in ("color", "dash")
}
_SERIES = {"color": _LOOK["color"], "strokeDash": _LOOK["dash"], "detail": [{"field": "s"}, {"field": "t"}]}


def draw_scores(rows: Sequence[Row], axis: Axis, title: str) -> Spec:
    """Returns score against the axis, with bars for the intervals; published scores are hollow."""
    x, y = _place(axis), _score()
    bars = {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}, "color": _LOOK["color"]}
    layers = [
        _layer({"type": "rule", "strokeWidth": 1.5, "aria": False}, bars, "isNumber(datum.low)"),
        _draw_published(x, y),
        _draw_points(x, y),
    ]
    if not axis.by_task:  # nothing joins tasks
        level = {"y": y, "color": _LOOK["color"], "strokeDash": _LOOK["dash"]}
        rule = {"type": "rule", "opacity": 0.5, "aria": False}
        published = {"x": x, "y": y, **_SERIES}
        layers[:0] = [
            _layer(rule, level, "datum.kind == 'direct'"),
            _layer(_line(1.2, opacity=0.8), published, "datum.kind == 'published' && datum.thinking"),
            *_join(x, y, 2),
        ]
    return _assemble([row for row in rows if row["y"] is not None], axis, title, layers, height=320)


def draw_tokens(rows: Sequence[Row], axis: Axis, title: str) -> Spec:
    """Returns score against mean thinking tokens, with a ring around the points of the Pareto front."""
    x, y = _place(axis, "z"), _score()
    ring = {"type": "point", "shape": "circle", "size": 330, "stroke": "var(--ink)", "strokeWidth": 1}
    order = {"order": {"field": "x", "type": "quantitative"}}
    layers = [
        _layer(_line(1.5, opacity=0.7), {"x": x, "y": y, **_SERIES, **order}, "datum.thinking"),
        _layer(ring | {"filled": False, "aria": False}, {"x": x, "y": y}, "datum.front"),
        _draw_points(x, y),
    ]
    placed = [row for row in rows if row["y"] is not None and row.get("z") is not None]
    return _assemble(placed, axis, title, layers, height=320)


def draw_share(rows: Sequence[Row], axis: Axis, title: str, share: str) -> Spec:
    """Returns a share of the records against the axis; the scale ends at the largest share, from 5 % on."""
    measured = [row for row in rows if row["kind"] != "published"]
    top = max(0.05, *(row[share] for row in measured))
    x = _place(axis)
    y = {"field": share, "type": "quantitative", "title": None, "scale": {"domain": [0, top], "nice": 4},
         "axis": {"format": "~%", "tickCount": 4}}  # fmt: skip
    layers = [] if axis.by_task else _join(x, y, 1.5)
    return _assemble(measured, axis, title, [*layers, _draw_points(x, y, size=60)], height=150)


def _assemble(rows: Sequence[Row], axis: Axis, title: str, layers: Sequence[Spec], height: int) -> Spec:
    split = {
        "data": {"values": [{"at": place} for place in axis.split]},
        "mark": {"type": "rule", "color": "var(--axis)", "strokeDash": [1, 3], "aria": False},
        "encoding": {"x": {"field": "at", "type": "quantitative"}},
    }
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": title,
        "width": "container",
        "height": height,
        "data": {"values": list(rows)},
        "params": [
            {"name": "hidden", "value": []},
            {"name": "places", "value": list(axis.places.values())},
            {"name": "names", "value": list(axis.names)},
        ],
        "transform": [{"filter": _NOT_HIDDEN}],
        "layer": [*([split] if axis.split else []), *layers],
    }


def _place(axis: Axis, field: str = "x") -> Spec:
    places = list(axis.places.values())
    low, high = min(places, default=0.0), max(places, default=0.0)
    labels: Spec = {"values": places, "labelExpr": "names[indexof(places, datum.value)]"}
    if axis.by_task:
        labels |= {"labelAngle": -35, "labelLimit": 120}
    return {
        "field": field, "type": "quantitative", "title": axis.title,
        "scale": {"domain": [low - 0.45, high + 0.45], "nice": False, "zero": False}, "axis": labels,
    }  # fmt: skip


def _score() -> Spec:
    return {
        "field": "y", "type": "quantitative", "title": "score", "scale": {"domain": [0, 1]},
        "axis": {"values": [0, 0.2, 0.4, 0.6, 0.8, 1], "format": ".1f"},
    }  # fmt: skip


def _line(width: float, **more: Any) -> Spec:
    return {"type": "line", "strokeWidth": width, "aria": False, **more}


def _join(x: Spec, y: Spec, width: float) -> list[Spec]:
    """Returns the lines of the series, and the dotted step to `inf`, which has no length to scale."""
    places = {"x": x, "y": y}
    dotted = {name: _SERIES[name] for name in ("color", "detail")}
    return [
        _layer(_line(width), places | _SERIES, "datum.kind == 'thinking' && datum.finite"),
        _layer(_line(1.3, strokeDash=[2, 3]), places | dotted, "datum.kind == 'thinking' && datum.step"),
    ]


def _draw_points(x: Spec, y: Spec, size: int = 90) -> Spec:
    titles = {
        "run": "run", "task": "task", "mode": "mode", "budget": "budget", "score": "score",
        "interval": "95 % interval", "tokens": "thinking tokens", "per_1k": "score per 1k tokens",
        **{f"{share}_said": name for share, name in SHARES.items()}, "asked": "questions",
    }  # fmt: skip
    mark = {"type": "point", "filled": True, "opacity": 1, "size": size, "strokeWidth": 0}
    return _layer(mark, {"x": x, "y": y, **_named(titles)}, "datum.kind != 'published'")


def _draw_published(x: Spec, y: Spec) -> Spec:
    titles = {"run": "published", "task": "task", "mode": "mode", "budget": "budget", "score": "score"}
    mark = {"type": "point", "filled": False, "opacity": 1, "size": 110, "strokeWidth": 1.8}
    return _layer(
        mark | {"fill": "var(--paper)"}, {"x": x, "y": y, **_named(titles)}, "datum.kind == 'published'"
    )


def _named(titles: Mapping[str, str]) -> Spec:
    return {
        "color": _LOOK["color"],
        "shape": {"field": "path", "type": "nominal", "scale": None, "legend": None},
        "description": {"field": "said"},
        "tooltip": [{"field": field, "type": "nominal", "title": title} for field, title in titles.items()],
    }


def _layer(mark: Spec, encoding: Spec, keep: str) -> Spec:
    return {"transform": [{"filter": keep}], "mark": mark, "encoding": encoding}
