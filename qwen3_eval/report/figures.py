"""The curve: score against thinking budget, and the thinking tokens really used."""

import io
import math
from collections.abc import Sequence
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen3_eval.budget import format_budget
from qwen3_eval.report.tables import format_score
from qwen3_eval.stats.estimate import INTERVAL
from qwen3_eval.types import BASE, NON_THINKING, THINKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

NOTE_COLOR = "#57606a"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))
"""With the colours of the style these tell tasks apart in grey too."""

INFINITY_GAP = 1.4
"""How many octaves right of the largest finite budget `inf` stands."""


def draw_curve(summary: "pd.DataFrame") -> dict[str, bytes]:
    """Returns the figure of a summary as `{"png": ..., "svg": ...}`; equal summaries give equal bytes.

    Above: score against budget (log2) with 95 % intervals, and as a level line the score without thinking,
    or in mode `base`.
    Below, on the same axis: mean thinking tokens used, beside the line where a budget is used in full.
    Rows of groups are not drawn, nor those without a score.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    whole = summary[(summary["group"] == "") & summary["score"].notna()]
    tasks = list(dict.fromkeys(whole["task"]))
    thinking = whole[whole["mode"] == THINKING]
    level = whole[whole["mode"] == (NON_THINKING if NON_THINKING in set(whole["mode"]) else BASE)]
    places = _place_budgets(thinking["budget"].tolist())
    with as_file(files("qwen3_eval.reports") / "style.mplstyle") as style, mpl.rc_context(fname=style):
        figure = Figure(figsize=(8, 5.6 + 0.22 * (_legend_rows(tasks) - 1)))
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.15))
        for number, task in enumerate(tasks):
            look = {
                "color": mpl.rcParams["axes.prop_cycle"].by_key()["color"][number % 8],
                "marker": MARKERS[number % 8],
                "linestyle": LINES[number % 4],
            }
            # Neighbouring tasks step aside a little, so that their bars do not hide each other.
            shift = (number - (len(tasks) - 1) / 2) * 0.04
            rows = thinking[thinking["task"] == task]
            _draw_scores(top, rows, places, shift, look, values=len(tasks) == 1)
            _draw_tokens(bottom, rows, places, shift, look | {"label": task})
            _draw_baseline(top, level[level["task"] == task], look, tasks)
        _label_baselines(top, level, tasks)
        _dress(top, bottom, places)
        figure.suptitle(_title(whole, tasks), x=0.02, y=0.985, ha="left", va="top", size=14, weight="bold")
        figure.text(0.02, 0.012, _caption(whole), size=8.5, color=NOTE_COLOR, ha="left", va="bottom")
        if len(tasks) > 1:
            lines = {line.get_label(): line for line in bottom.get_lines()}
            named = [task for task in tasks if task in lines]
            figure.legend(
                [lines[task] for task in named],
                named,
                loc="upper left",
                bbox_to_anchor=(0.015, 0.94),
                ncols=4,
                handlelength=3.2,
                columnspacing=1.6,
                borderaxespad=0,
            )
        legend_height = 0.045 * _legend_rows(tasks)
        figure.subplots_adjust(left=0.085, right=0.85, top=0.915 - legend_height, bottom=0.135, hspace=0.12)
        return {
            "png": _save(figure, "png", {"Software": None}),
            "svg": _save(figure, "svg", {"Date": None, "Creator": None}),
        }


def _save(figure: Any, kind: str, metadata: dict[str, None]) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format=kind, metadata=metadata)
    return out.getvalue()


def _place_budgets(budgets: Sequence[float]) -> dict[float, float]:
    """Returns where each budget stands on the x axis: log2, and `inf` apart from the largest finite one."""
    finite = sorted({budget for budget in budgets if math.isfinite(budget)})
    places = {budget: math.log2(max(budget, 1)) for budget in finite}
    if math.inf in budgets:
        places[math.inf] = max(places.values(), default=0.0) + INFINITY_GAP
    return places


def _draw_scores(
    axes: "Axes",
    rows: "pd.DataFrame",
    places: dict[float, float],
    shift: float,
    look: Any,
    values: bool,
) -> None:
    if rows.empty:
        return
    x = [places[budget] + shift for budget in rows["budget"]]
    below, above = rows["score"] - rows["ci_low"], rows["ci_high"] - rows["score"]
    n_finite = sum(map(math.isfinite, rows["budget"]))
    axes.plot(x[:n_finite], rows["score"][:n_finite], color=look["color"], linestyle=look["linestyle"])
    if 0 < n_finite < len(x):  # the step to `inf` has no length that could be drawn to scale
        axes.plot(
            x[n_finite - 1 :],
            rows["score"][n_finite - 1 :],
            color=look["color"],
            linestyle=":",
            linewidth=1.3,
        )
    axes.errorbar(
        x,
        rows["score"],
        yerr=[below.clip(lower=0), above.clip(lower=0)],
        color=look["color"],
        marker=look["marker"],
        linestyle="none",
        elinewidth=1.3,
        capsize=3,
        clip_on=False,
        zorder=3,
    )
    if values:
        for number, (place, score) in enumerate(zip(x, rows["score"], strict=True)):
            # Beside the bar, off the line: left above a rise, left below a fall, right at the top.
            crowded = score > 0.9
            falls = number > 0 and rows["score"].iloc[number - 1] > score
            axes.annotate(
                format_score(score),
                (place, score),
                xytext=(7, -6) if crowded else (-7, -5 if falls else 5),
                textcoords="offset points",
                ha="left" if crowded else "right",
                va="top" if crowded or falls else "bottom",
                weight="bold",
                color=look["color"],
            )


def _draw_baseline(axes: "Axes", rows: "pd.DataFrame", look: Any, tasks: Sequence[str]) -> None:
    for low, high, score in zip(rows["ci_low"], rows["ci_high"], rows["score"], strict=True):
        if len(tasks) <= 3:  # more bands than that hide each other and the curves
            axes.axhspan(low, high, color=look["color"], alpha=0.12, linewidth=0)
        axes.axhline(score, color=look["color"], linestyle=look["linestyle"], linewidth=1.1, zorder=2)


def _label_baselines(axes: "Axes", rows: "pd.DataFrame", tasks: Sequence[str]) -> None:
    """Names the level lines in the right margin, where no curve is; near ones are stacked."""
    import matplotlib as mpl

    height = 0.0
    for task, score in sorted(zip(rows["task"], rows["score"], strict=True), key=lambda row: row[1]):
        height = max(height + 0.055, score)
        color = mpl.rcParams["axes.prop_cycle"].by_key()["color"][tasks.index(task) % 8]
        text = format_score(score) + (f" {task}" if len(tasks) > 1 else "")
        _note(axes, text, height, color, "bold")
    if height:
        said = "as a base model" if BASE in set(rows["mode"]) else "without thinking"
        _note(axes, said, height + 0.055, NOTE_COLOR, "normal")


def _note(axes: "Axes", text: str, height: float, color: str, weight: str) -> None:
    axes.text(
        1.012, height, text, transform=axes.transAxes, size=8.5, va="center", color=color, weight=weight
    )


def _draw_tokens(
    axes: "Axes", rows: "pd.DataFrame", places: dict[float, float], shift: float, look: Any
) -> None:
    used = rows[rows["thinking_tokens_mean"] > 0]  # a log axis has no place for none
    axes.plot(
        [places[b] + shift for b in used["budget"]], used["thinking_tokens_mean"], **look, markersize=4.5
    )


def _dress(top: "Axes", bottom: "Axes", places: dict[float, float]) -> None:
    """Puts scales, ticks and reference lines on both panels."""
    top.set_ylim(0, 1)
    top.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    top.set_ylabel("score")
    top.tick_params(axis="x", length=0)
    bottom.set_yscale("log", base=2)
    bottom.set_ylabel("tokens used")
    bottom.set_xlabel("thinking budget (tokens, log scale)")
    bottom.set_xticks(list(places.values()), [format_budget(budget) for budget in places])
    low, high = min(places.values(), default=0.0), max(places.values(), default=0.0)
    bottom.set_xlim(low - 0.45, high + 0.55)
    finite = [budget for budget in places if math.isfinite(budget)]
    if finite:
        bottom.plot(
            [places[budget] for budget in finite],
            finite,
            color="#8c959f",
            linewidth=1,
            linestyle=(0, (3, 2)),
            zorder=1,
        )
        bottom.annotate(
            "the whole budget",
            (places[finite[-1]], finite[-1]),
            xytext=(5, 0),
            textcoords="offset points",
            size=8,
            va="center",
            color=NOTE_COLOR,
        )
    _tick_tokens(bottom)
    if math.inf in places and finite:
        for axes in (top, bottom):
            axes.axvline(
                places[math.inf] - INFINITY_GAP / 2, color="#8c959f", linewidth=0.8, linestyle=(0, (1, 2))
            )


def _tick_tokens(axes: "Axes") -> None:
    """Ticks at powers of two, two to five of them, as 256, 1k, 4k."""
    heights = [float(y) for line in axes.get_lines() for y in np.asarray(line.get_ydata()) if y > 0] or [1.0]
    low, high = math.floor(math.log2(min(heights))), math.ceil(math.log2(max(heights)))
    low, high = max(min(low, high - 2), 0), max(high, 2)
    ticks = [2**power for power in range(low, high + 1, math.ceil((high - low) / 4))]
    axes.set_yticks(ticks, [format_budget(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(2 ** (low - 0.3), 2 ** (high + 0.3))


def _legend_rows(tasks: Sequence[str]) -> int:
    return 0 if len(tasks) < 2 else math.ceil(len(tasks) / 4)


def _title(whole: "pd.DataFrame", tasks: Sequence[str]) -> str:
    model = next((name for name in whole["model"] if name), "")
    subject = " on ".join(filter(None, [model, tasks[0] if len(tasks) == 1 else ""]))
    return f"{subject}: score by thinking budget" if subject else "score by thinking budget"


def _caption(whole: "pd.DataFrame") -> str:
    """States the questions, the repeats and the kind of interval, for each task where they differ."""
    if whole.empty:
        return "no record has a score yet"
    counts = {str(task): _count_of(rows) for task, rows in whole.groupby("task", sort=False)}
    if len(set(counts.values())) == 1:
        said = next(iter(counts.values()))
    else:
        said = "; ".join(f"{task} {count}" for task, count in list(counts.items())[:3])
        said += "; other tasks: see the table" if len(counts) > 3 else ""
    model = next((f"{name}, " for name in whole["model"] if name), "")
    return f"{model}{said}. Bars and bands: {INTERVAL}."


def _count_of(rows: "pd.DataFrame") -> str:
    low, high, repeats = rows["n_questions"].min(), rows["n_questions"].max(), rows["n_repeats"].max()
    questions = f"{high:,}" if low == high else f"{low:,}–{high:,}"
    noun = "question" if questions == "1" else "questions"
    return f"{questions} {noun}" + (f" × {repeats} repeats" if repeats > 1 else ", 1 repeat")
