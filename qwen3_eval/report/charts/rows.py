"""The data of interactive charts: a row for each point, with its place, its look and its tooltip's words.

Names that came from outside stand in rows only, never in the expressions of a specification.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from qwen3_eval.budget import format_budget
from qwen3_eval.report.looks import MARKERS, Look, choose_look
from qwen3_eval.report.points import Axis, Series, as_dicts, name_log_axis
from qwen3_eval.report.tables import format_score, format_share
from qwen3_eval.stats.curve import pareto_front
from qwen3_eval.types import THINKING

if TYPE_CHECKING:
    import pandas as pd

SHARES = {"forced": "forced", "truncated": "truncated", "no_answer": "no answer", "error": "error"}

Row = dict[str, Any]


def read_token_axis(points: "pd.DataFrame") -> Axis:
    """Returns the axis of mean thinking tokens, with two to six ticks at powers of two, and one at 0."""
    used = [tokens for tokens in points["thinking_tokens_mean"] if tokens >= 0]
    some = [tokens for tokens in used if tokens > 0] or [1.0]
    low, high = (max(0.0, math.log2(tokens)) for tokens in (min(some), max(some)))
    step = max(1, math.ceil((math.ceil(high) - math.floor(low)) / 5))
    ticks = [2.0**power for power in range(math.floor(low), math.ceil(high) + step, step)]
    return name_log_axis("mean thinking tokens used (log scale)", ticks + [0.0] * (0 in used))


def shape_rows(
    points: "pd.DataFrame", reference: "pd.DataFrame | None", series: Series, axis: Axis, token_axis: Axis
) -> list[Row]:
    """Returns a row for each point, then one for each published score.

    `x` is its place on `axis`, `z` on `token_axis`; `kind` is thinking, direct or published. `finite` rows
    are joined by a line, `step` rows by the dotted one to `inf`. `t` and `r` are keys of the legend.
    """
    front = _find_front(points)
    rows = []
    for point in as_dicts(points):
        number = series.number(point["task"], point["run"])
        row = _start_row(point, series, axis) | _dress(choose_look(number))
        row["x"] += 0 if axis.by_task and not series.by_run else series.nudge(number)
        row |= {"r": f"r{series.runs[point['run']]}", "s": f"s{number}", "run": point["run"] or "–"}
        row |= _describe(point, token_axis)
        row["front"] = (point["run"], point["task"], point["mode"], point["budget"]) in front
        row["said"] = _say(row, point["run"] if series.by_run else "")
        rows.append(row)
    for point in [] if reference is None else as_dicts(reference):
        label = series.labels[point["label"]]
        row = _start_row(point, series, axis) | _dress(choose_look(series.tasks[point["task"]]))
        row |= {"kind": "published", "run": point["label"], "r": f"p{label}", "s": f"p{label}"}
        row |= {"path": published_marker(label), "dash": [4, 3]}
        row["color"] = "var(--soft)" if series.by_run else row["color"]
        row["said"] = f"{point['label']}, published: {_place(row)}, score {row['score']}"
        rows.append(row)
    _mark_steps(rows)
    return rows


def published_marker(label: int) -> str:
    """Returns the path of the hollow marker of the published scores with that number."""
    return MARKERS[(label + 3) % len(MARKERS)].path


def css_color(look: Look) -> str:
    """Returns the colour as page.css names it."""
    return f"var(--series-{look.color})"


def css_dash(look: Look) -> list[float]:
    """Returns the line pattern in pixels, for a line of two."""
    return [2 * part for part in look.dash] or [1, 0]


def _start_row(point: Mapping[str, Any], series: Series, axis: Axis) -> Row:
    thinking = point["mode"] == THINKING
    return {
        "t": f"t{series.tasks[point['task']]}",
        "kind": "thinking" if thinking else "direct",
        "thinking": thinking,
        "finite": thinking and math.isfinite(point["budget"]),
        "task": point["task"],
        "mode": point["mode"],
        "budget": format_budget(point["budget"]) if thinking else "–",
        "x": axis.places[point["task"] if axis.by_task else point["budget"]],
        "y": _number(point["score"]),
        "score": format_score(point["score"]),
    }


def _dress(look: Look) -> Row:
    return {"color": css_color(look), "path": look.marker.path, "dash": css_dash(look)}


def _describe(point: Mapping[str, Any], token_axis: Axis) -> Row:
    tokens, repeats = point["thinking_tokens_mean"], int(point["n_repeats"])
    place = (
        None
        if math.isnan(tokens)
        else math.log2(max(tokens, 1))
        if tokens
        else min(token_axis.places.values())
    )
    return {
        "z": place,
        "low": _number(point["ci_low"]),
        "high": _number(point["ci_high"]),
        "interval": f"{point['ci_low']:.3f} – {point['ci_high']:.3f}",
        "tokens": "–" if math.isnan(tokens) else f"{tokens:,.0f}",
        "per_1k": f"{1000 * point['score'] / tokens:.3f}" if tokens > 0 else "–",
        "asked": f"{int(point['n_questions']):,}" + (f" × {repeats}" if repeats > 1 else ""),
        **{share: _number(point[share]) for share in SHARES},
        **{f"{share}_said": format_share(point[share]) for share in SHARES},
    }


def _mark_steps(rows: Sequence[Row]) -> None:
    """Marks the two ends of each step to `inf`."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["thinking"] and row["y"] is not None:
            groups.setdefault((row["s"], row["t"]), []).append(row)
    for group in groups.values():
        group.sort(key=lambda row: float(row["x"]))
        for before, row in pairwise(group):
            if not row["finite"]:
                before["step"] = row["step"] = True


def _find_front(points: "pd.DataFrame") -> set[tuple[str, str, str, float]]:
    """Returns (run, task, mode, budget) of the points that no other of their task beats."""
    found = set()
    for task, rows in points.groupby("task", sort=False):
        for place in pareto_front(list(zip(rows["thinking_tokens_mean"], rows["score"], strict=True))):
            row = rows.iloc[place]
            found.add((row["run"], str(task), row["mode"], row["budget"]))
    return found


def _say(row: Row, run: str) -> str:
    """Returns what a screen reader says of a point."""
    start = f"{run}, {_place(row)}" if run else _place(row)
    shares = "".join(f", {row[f'{share}_said']} {name}" for share, name in SHARES.items() if row[share])
    if row["y"] is None:
        return f"{start}: no score{shares}"
    return (
        f"{start}: score {row['score']}, interval {row['interval']}, {row['tokens']} thinking tokens{shares}"
    )


def _place(row: Row) -> str:
    return f"{row['task']}, " + (f"budget {row['budget']}" if row["thinking"] else str(row["mode"]))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 6)  # JSON has no NaN


def take_task(rows: Sequence[Row], key: str) -> list[Row]:
    """Returns the rows of the task with that key, or all for ""."""
    return [row for row in rows if key in ("", row["t"])]
