"""Wins against published models as people read them: on a terminal, as Markdown, as tables of the page."""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from qwen3_eval.budget import format_budget
from qwen3_eval.report.published.scores import REFERENCES
from qwen3_eval.report.published.standing import Standing
from qwen3_eval.report.published.wins import WINS_COLUMNS, Wins
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.report.tables import print_table
from qwen3_eval.stats.estimate import INTERVAL

RULE = (
    "A measured score wins or loses only where its interval excludes the published value, whose own error is "
    "not known. There is no correction for the number of benchmarks."
)
RULE_OF_PUBLISHED = "Published scores are compared as printed."
FEW_ROWS = 20
"""Up to so many benchmarks are printed one by one; more are left to the page and the CSV."""

SCORE_HEADINGS = (
    "run", "mode", "against", "benchmark", "outcome", "budget", "score", "95 % interval", "published",
    "difference", "questions",
)  # fmt: skip


def tabulate_standing(standing: Standing) -> list[ReportTable]:
    """Returns three tables: the counts (`wins`), the scores (`published`), and the departures of protocol.

    One that would be empty is left out.
    """
    said = REFERENCES[standing.reference]
    tables = []
    if standing.wins:
        tables.append(_tabulate_counts(standing, said))
    if any(wins.n_benchmarks for wins in standing.wins):
        tables.append(_tabulate_scores(standing.wins, said))
    if any(standing.departures.values()):
        tables.append(_tabulate_departures(standing, said))
    return tables


def print_standing(standing: Standing, file: TextIO | None = None) -> None:
    """Prints the counts, the scores behind them where they are few, and the departures of protocol."""
    file = file or sys.stdout
    for table in tabulate_standing(standing):
        print(f"\n{table.title}", file=file)
        if table.name == "published" and len(table.cells) > FEW_ROWS:
            print(f"{len(table.cells)} scores are in {table.name}.csv", file=file)
        elif table.name == "departures":
            _print_list(table, file)
        else:
            print_table(table.headings, table.cells, table.n_words, file)
    print(f"\n{_say_uncounted(standing)}", file=file)


def format_standing(standing: Standing) -> str:
    """Returns the same as Markdown, with every score."""
    parts = []
    for table in tabulate_standing(standing):
        aligned = ["---"] * table.n_words + ["---:"] * (len(table.headings) - table.n_words)
        rows = [table.headings, aligned, *table.cells]
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        parts.append("\n".join([f"### {table.title}", "", *lines, "", table.caption]))
    return "\n\n".join([*parts, _say_uncounted(standing)]) + "\n"


def _say_uncounted(standing: Standing) -> str:
    """Returns the rule where something was counted, and which tasks were not."""
    if any(wins.n_benchmarks for wins in standing.wins):
        said = [_state_rule(standing.wins)]
    else:
        said = [f"Nothing here has a counterpart in the {REFERENCES[standing.reference]}."]
    if standing.uncounted:
        said.append(f"Not counted: {'; '.join(standing.uncounted)}.")
    return " ".join(said)


def _state_rule(wins: Sequence[Wins]) -> str:
    measured = not all(w.is_published for w in wins)
    published = any(w.is_published for w in wins)
    return " ".join([f"{INTERVAL}. {RULE}"] * measured + [RULE_OF_PUBLISHED] * published)


def _tabulate_counts(standing: Standing, said: str) -> ReportTable:
    import pandas as pd

    frame = pd.DataFrame([
        {
            "run": w.ours,
            "mode": w.mode,
            "against": w.theirs,
            "n_benchmarks": w.n_benchmarks,
            "wins": w.wins,
            "ties": w.ties,
            "not_told_apart": w.undecided,
            "losses": w.losses,
            "as_published": _format_count(w.as_published),
        }
        for w in standing.wins
    ])  # fmt: skip
    columns = ["n_benchmarks", "wins", "ties", "not_told_apart", "losses"]
    for name, of in (("ties", True), ("not_told_apart", False)):
        if not any(w.is_published is of for w in standing.wins):
            columns.remove(name)
    cells = [
        [
            row["run"],
            row["mode"],
            row["against"],
            *(str(row[name]) if row["n_benchmarks"] or name == "n_benchmarks" else "–" for name in columns),
            row["as_published"] or "–",
        ]
        for row in frame.to_dict(orient="records")
    ]
    headings = ["run", "mode", "against", "benchmarks", *(name.replace("_", " ") for name in columns[1:])]
    return ReportTable(
        "wins",
        f"Wins and losses against models of the {said}",
        f"{_state_rule(standing.wins)} As published: wins, ties and losses of the same two models in the "
        "report's own tables, on all its benchmarks.",
        frame,
        [*headings, "as published"],
        cells,
        3,
    )


def _format_count(wins: Wins | None) -> str:
    return "" if wins is None else f"{wins.wins}–{wins.ties}–{wins.losses} of {wins.n_benchmarks}"


def _tabulate_scores(wins: Sequence[Wins], said: str) -> ReportTable:
    import pandas as pd

    frame = pd.concat(
        [w.rows.assign(run=w.ours, mode=w.mode, against=w.theirs) for w in wins if w.n_benchmarks],
        ignore_index=True,
    )
    frame = frame[["run", "mode", "against", *WINS_COLUMNS]]
    return ReportTable(
        "published",
        f"Measured scores beside those of the {said}",
        _state_rule(wins),
        frame,
        SCORE_HEADINGS,
        [_format_row(row) for row in frame.to_dict(orient="records")],
        5,
    )


def _format_row(row: Mapping[Any, Any]) -> list[str]:
    measured = row["n_questions"] > 0
    benchmark = f"{row['benchmark']} ({row['source_table'].lower()})"
    return [
        row["run"],
        row["mode"],
        row["against"],
        benchmark,
        row["outcome"],
        format_budget(row["budget"]) if measured and row["budget"] else "–",
        _format(row["ours"]),
        "–" if math.isnan(row["ci_low"]) else f"{row['ci_low']:.3f} – {row['ci_high']:.3f}",
        _format(row["theirs"]),
        f"{row['ours'] - row['theirs']:+.3f}".replace("-", "−"),
        (f"{row['n_questions']:,}" + (f" × {row['n_repeats']}" if row["n_repeats"] > 1 else ""))
        if measured
        else "–",
    ]


def _format(score: float) -> str:
    """Returns a score with three decimals; marks out of 10 and ratings as they are printed."""
    return f"{score:.3f}" if score <= 1 else f"{score:g}"


def _tabulate_departures(standing: Standing, said: str) -> ReportTable:
    import pandas as pd

    rows = [(name, departure) for name, listed in standing.departures.items() for departure in listed]
    return ReportTable(
        "departures",
        f"Departures from the protocol of the {said}",
        "What was done otherwise than in the report, as far as run.json and the cards of the tasks tell.",
        pd.DataFrame(rows, columns=["run", "departure"]),
        ("run", "departure"),
        [list(row) for row in rows],
        2,
    )


def _print_list(table: ReportTable, file: TextIO) -> None:
    """Prints the departures below the run that they are of; a table of sentences would break its lines."""
    shown = ""
    for name, departure in table.cells:
        if name != shown:
            print(f"{name}:", file=file)
            shown = name
        print(f"  - {departure}", file=file)
