"""The summary of a run: one row per (task, group, mode, budget), as CSV and for the terminal."""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from qwen3_eval.budget import format_budget
from qwen3_eval.report.cell_estimates import FLAGS, TOKENS, estimate_cells

if TYPE_CHECKING:
    import pandas as pd

SUMMARY_COLUMNS = (
    "task", "group", "model", "mode", "budget", "n_questions", "n_repeats", "metric", "score", "stderr",
    "ci_low", "ci_high", "forced", "truncated", "no_answer", "error", "thinking_tokens_mean",
    "answer_tokens_mean",
)  # fmt: skip


def summarize(
    records: "pd.DataFrame", model: str = "", tasks: Mapping[str, Mapping[str, Any]] | None = None
) -> "pd.DataFrame":
    """Returns `SUMMARY_COLUMNS`, a row per (task, group, mode, budget); group "" is the whole task.

    Tasks keep their order of appearance; below each, the whole task comes before its groups, thinking
    before non-thinking, and budgets rise. `n_questions` counts the questions that have a score: `error`
    verdicts are left out of score and interval. The shares `forced`, `truncated`, `no_answer` and `error`
    are of all records of the row; token means are of those without error. `tasks` is what run.json says
    of each: its `metric`, else "accuracy"; its `average`: over "questions", or "groups" where the whole
    task's score is the mean of its top groups' scores; and whether these are `parallel`, sharing questions.
    """
    import pandas as pd

    rows = []
    for cell in estimate_cells(records, tasks or {}):
        got = cell.estimates[0]
        rows.append({
            "task": cell.task,
            "group": cell.group,
            "model": model,
            "mode": cell.mode,
            "budget": cell.budget,
            "n_questions": got.n_questions,
            "n_repeats": got.n_repeats,
            "metric": (tasks or {}).get(cell.task, {}).get("metric", "accuracy"),
            "score": got.score,
            "stderr": got.stderr,
            "ci_low": got.ci_low,
            "ci_high": got.ci_high,
            **{name: cell.means[name] for name in FLAGS},
            **{f"{name}_mean": cell.means[name] for name in TOKENS},
        })  # fmt: skip
    return pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))


def summary_csv(summary: "pd.DataFrame") -> str:
    """Returns summary.csv, or another table like it: scores and shares in 0-1, budgets as an int, `inf` or 0.

    Numbers keep six decimals. A name that a spreadsheet would run as a formula gets a leading apostrophe.
    """
    shown = summary.round(6)
    shown["budget"] = [str(budget if math.isinf(budget) else int(budget)) for budget in summary["budget"]]
    for column in {"task", "group", "model", "metric"} & set(summary.columns):
        shown[column] = [defuse_formula(str(text)) for text in summary[column]]
    return str(shown.to_csv(index=False, lineterminator="\n"))


def defuse_formula(text: str) -> str:
    """Returns `text` as a spreadsheet shows it: one that would start a formula gets an apostrophe."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


TABLE_HEADINGS = (
    "task", "group", "mode", "budget", "score", "95 % interval", "forced", "truncated", "no answer", "error",
    "thinking tokens", "questions",
)  # fmt: skip
_TEXT_COLUMNS = 3
"""So many headings from the left are words; the others are numbers, and stand to the right."""


def format_rows(summary: "pd.DataFrame") -> list[tuple[str, ...]]:
    """Returns the cells of `TABLE_HEADINGS` for each row of the summary, as people read them."""
    return [
        (
            row["task"],
            row["group"] or "all",
            row["mode"],
            "–" if row["budget"] == 0 else format_budget(row["budget"]),
            format_score(row["score"]),
            "–" if math.isnan(row["ci_low"]) else f"{row['ci_low']:.2f} – {row['ci_high']:.2f}",
            *(format_share(row[share]) for share in ("forced", "truncated", "no_answer", "error")),
            "–" if math.isnan(row["thinking_tokens_mean"]) else f"{row['thinking_tokens_mean']:,.0f}",
            f"{row['n_questions']:,}" + (f" × {row['n_repeats']}" if row["n_repeats"] > 1 else ""),
        )
        for row in _as_dicts(summary)
    ]


def format_score(score: float) -> str:
    """Returns a score with the digits that are read; 0.999 is not written as a full 1.00."""
    if math.isnan(score):
        return "–"
    return f"{score:.3f}" if 0.995 <= score < 1 or 0 < score < 0.005 else f"{score:.2f}"


def format_share(share: float) -> str:
    """Returns a share as per cent; a share above 0 never reads as none."""
    if share == 0:
        return "–"
    return "<1 %" if share < 0.005 else f"{share * 100:.0f} %"


def format_difference(difference: float) -> str:
    """Returns a signed difference of scores with three decimals, a true minus before it."""
    return "0.000" if abs(difference) < 5e-4 else f"{difference:+.3f}".replace("-", "−")


def format_interval(low: float, high: float) -> str:
    """Returns `−0.012 to +0.034`."""
    return f"{format_difference(low)} to {format_difference(high)}"


def format_p(p: float) -> str:
    """Returns a p value with the digits that are read."""
    if math.isnan(p):
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def print_summary(summary: "pd.DataFrame", file: TextIO | None = None, groups: bool = False) -> None:
    """Prints the summary as a table: with rules and colour on a terminal, as aligned text elsewhere.

    Rows of groups are left out, and counted, unless `groups`.
    """
    file = file or sys.stdout
    shown = summary if groups else summary[summary["group"] == ""]
    headings, rows = list(TABLE_HEADINGS), [list(row) for row in format_rows(shown)]
    if not groups:
        for line in (headings, *rows):
            del line[1]
    n_words = _TEXT_COLUMNS - (not groups)
    print_table(headings, rows, n_words, file)
    n_hidden = 0 if groups else len(summary[summary["group"] != ""][["task", "group"]].drop_duplicates())
    if n_hidden:
        print(f"{n_hidden} groups are in summary.csv", file=file)


def print_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], n_words: int, file: TextIO | None = None
) -> None:
    """Prints a table: with rules and colour on a terminal, as aligned text elsewhere.

    The first `n_words` columns stand to the left, the others to the right.
    """
    file = file or sys.stdout
    (_print_rich if file.isatty() else _print_plain)(headings, rows, n_words, file)


def _print_rich(headings: Sequence[str], rows: Sequence[Sequence[str]], n_words: int, file: TextIO) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(headings):
        words = number < n_words
        table.add_column(
            heading, justify="left" if words else "right", overflow="fold" if words else "ellipsis"
        )
    for number, row in enumerate(rows):
        last = number + 1 == len(rows) or rows[number + 1][0] != row[0]
        cells = [Text(cell, style="bold" if headings[i] == "score" else "") for i, cell in enumerate(row)]
        table.add_row(*cells, end_section=last)
    Console(file=file).print(table)


def _print_plain(headings: Sequence[str], rows: Sequence[Sequence[str]], n_words: int, file: TextIO) -> None:
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for row in (headings, *rows):
        cells = [
            cell.ljust(width) if number < n_words else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip(), file=file)


def _as_dicts(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    return frame.to_dict(orient="records")  # type: ignore[return-value]  # keys are our column names
