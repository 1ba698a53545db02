"""Score against mean tokens: each policy a point or a curve, the fixed budgets beneath."""

import math
from importlib.resources import as_file, files
from textwrap import fill
from typing import TYPE_CHECKING, Any

from qwen3_eval.policy.points import BY_GROUP, FIXED, ORACLE, PREDICTOR, PREDICTOR_SKIPS, STABLE, name_option
from qwen3_eval.report.curve_axes import NOTE_COLOR
from qwen3_eval.report.figures import save_figure
from qwen3_eval.stats.estimate import INTERVAL

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MOST_TASKS = 8
"""Panels beyond which a figure is no longer read; the table has every task."""

LOOKS: dict[str, dict[str, Any]] = {
    FIXED: {"color": "#24292f", "marker": "o", "linestyle": "-"},
    ORACLE: {"color": "#6e7781", "marker": "", "linestyle": (0, (1, 1))},
    PREDICTOR: {"color": "#d55e00", "marker": "s", "linestyle": (0, (5, 1.5))},
    PREDICTOR_SKIPS: {"color": "#0072b2", "marker": "^", "linestyle": (0, (6, 1.5, 1, 1.5))},
    BY_GROUP: {"color": "#009e73", "marker": "P", "linestyle": "none"},
    STABLE: {"color": "#cc79a7", "marker": "D", "linestyle": "none"},
}
"""Line and marker tell policies apart in grey too."""

COSTS_SHOWN = (
    ("all_tokens_mean", "mean tokens a question: thinking, answers, probes"),
    ("thinking_tokens_mean", "mean thinking tokens a question"),
)


def draw_policies(table: "pd.DataFrame", run: str) -> dict[str, bytes]:
    """Returns the figure of a table as `{"png": ..., "svg": ...}`; equal tables give equal bytes.

    A row of panels for each task: score against all tokens, and against thinking tokens, with 95 % intervals.
    On the linear axis a random mix of two fixed budgets lies on the straight line between them.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(table["task"]))[:MOST_TASKS]
    with as_file(files("qwen3_eval.reports") / "style.mplstyle") as style, mpl.rc_context(fname=style):
        height = 3.6 * len(tasks)
        figure = Figure(figsize=(10, height + 1.4))
        axes = figure.subplots(len(tasks), 2, squeeze=False, sharey=True)
        for row, task in zip(axes, tasks, strict=True):
            for panel, (cost, label) in zip(row, COSTS_SHOWN, strict=True):
                _draw_task(panel, table[table["task"] == task], cost)
                panel.set_xlabel(label)
            row[0].set_ylabel(f"{task}: score")
        unit = 1 / (height + 1.4)  # an inch of the figure
        figure.suptitle(
            f"{run}: a budget for each question",
            x=0.02,
            y=1 - 0.1 * unit,
            ha="left",
            va="top",
            size=14,
            weight="bold",
        )
        figure.text(
            0.02, 0.08 * unit, fill(_caption(table, tasks), 130), size=8.5, color=NOTE_COLOR, va="bottom"
        )
        lines = {line.get_label(): line for panel in axes.flat for line in panel.get_lines()}
        named = [policy for policy in LOOKS if policy in lines]
        figure.legend(
            [lines[policy] for policy in named],
            named,
            loc="upper left",
            bbox_to_anchor=(0.012, 1 - 0.36 * unit),
            ncols=6,
            fontsize=9,
            handlelength=2.8,
            columnspacing=1.2,
            borderaxespad=0,
        )
        figure.subplots_adjust(
            left=0.07, right=0.985, top=1 - 0.75 * unit, bottom=0.85 * unit, wspace=0.06, hspace=0.3
        )
        return {
            "png": save_figure(figure, "png", {"Software": None}),
            "svg": save_figure(figure, "svg", {"Date": None, "Creator": None}),
        }


def _draw_task(axes: "Axes", rows: "pd.DataFrame", cost: str) -> None:
    for policy, look in LOOKS.items():
        mine = rows[rows["policy"] == policy].sort_values(cost, kind="stable")
        if mine.empty:
            continue
        axes.plot(
            mine[cost],
            mine["score"],
            **look,
            label=policy,
            markersize=5,
            linewidth=1.6,
            zorder=4 if policy != FIXED else 3,
        )
        if policy != ORACLE:
            below, above = mine["score"] - mine["ci_low"], mine["ci_high"] - mine["score"]
            axes.errorbar(
                mine[cost],
                mine["score"],
                yerr=[below.clip(lower=0), above.clip(lower=0)],
                linestyle="none",
                color=look["color"],
                elinewidth=0.7,
                alpha=0.6,
            )
        if policy == FIXED:
            _name_budgets(axes, mine, cost)
    axes.set_ylim(-0.02, 1.03)
    axes.set_xlim(left=-0.01 * float(rows[cost].max()))
    axes.xaxis.set_major_formatter("{x:,.0f}")


def _name_budgets(axes: "Axes", fixed: "pd.DataFrame", cost: str) -> None:
    """Writes each budget below its point, but where the next one would stand on it; 0 is non-thinking."""
    last = -math.inf
    widest = float(fixed[cost].max()) or 1.0
    for x, y, name in zip(fixed[cost], fixed["score"], fixed["setting"], strict=True):
        name = "0" if name == name_option(0) else name
        if x - last >= 0.045 * widest:
            below = -9 if y > 0.08 else 3
            axes.annotate(
                name, (x, y), xytext=(6, below), textcoords="offset points", size=8, color=NOTE_COLOR
            )
            last = x


def _caption(table: "pd.DataFrame", tasks: list[str]) -> str:
    counts = []
    for task in tasks[:3]:
        rows = table[table["task"] == task]
        repeats = int(rows["n_repeats"].max())
        counts.append(
            f"{task}: {rows['n_questions'].max():,} questions × {repeats} repeat{'s' * (repeats > 1)}"
        )
    more = "; other tasks: see the table" if len(set(table["task"])) > 3 else ""
    return f"{'; '.join(counts)}{more}. Bars: {INTERVAL}. The oracle knows the verdicts."
