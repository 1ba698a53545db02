"""What `thinkfollow` leaves: the turns, the tables, a page, a summary for machines, and what it prints."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen3_eval.errors import StoreError
from qwen3_eval.report.formats import format_markdown, table_csv
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.thinkfollow.audit import Audit
from qwen3_eval.thinkfollow.judge import Standing
from qwen3_eval.thinkfollow.junit import render_junit
from qwen3_eval.thinkfollow.tables import read_stages

if TYPE_CHECKING:
    import pandas as pd

MAX_EXAMPLES = 40
"""Failing turns that the page shows; thinkfollow_turns.csv has all turns."""
MAX_SHOWN = 4_000
"""Letters of a text that the page shows."""
_TURN_TEXTS = ("user", "system", "thinking", "answer", "error")


def write_thinkfollow(
    frame: "pd.DataFrame",
    tables: Sequence[ReportTable],
    standings: Sequence[Standing],
    about: Mapping[str, Any],
    folder: Path,
    notes: Sequence[str] = (),
) -> list[Path]:
    """Writes all that is told of a run, each file whole or not at all; thinkfollow.json is the first.

    `about` is what thinkfollow.json says of the run beside its figures. Raises StoreError.
    """
    from qwen3_eval.report.whole_file import write_all

    title = f"ThinkFollow of {about['model']['name']}"
    contents: dict[str, str | bytes] = {
        "thinkfollow.json": _format_summary(tables, standings, about, notes),
        "thinkfollow_turns.parquet": frame.to_parquet(index=False),
        "thinkfollow_turns.csv": _turns_csv(frame),
        "thinkfollow.md": format_markdown(tables, title, notes),
        "thinkfollow.xml": render_junit(frame, standings, about),
        "thinkfollow.html": render(frame, tables, standings, title, notes, about.get("leaks", ())),
    }
    contents |= {f"{table.name}.csv": table_csv(table.frame) for table in tables}
    try:
        return write_all(folder, contents)
    except OSError as error:
        raise StoreError(f"run.dir='{folder}' cannot be written: {error.strerror or error}") from error


def _turns_csv(frame: "pd.DataFrame") -> str:
    """The turns without their ids. A text that a spreadsheet would run as a formula gets an apostrophe."""
    from qwen3_eval.report.tables import defuse_formula

    shown = frame.drop(columns=["ids"])
    shown = shown.assign(**{name: [defuse_formula(text) for text in shown[name]] for name in _TURN_TEXTS})
    return str(shown.to_csv(index=False, lineterminator="\n"))


def _format_summary(
    tables: Sequence[ReportTable],
    standings: Sequence[Standing],
    about: Mapping[str, Any],
    notes: Sequence[str],
) -> str:
    told = {
        **about,
        "standings": [vars(standing) for standing in standings],
        "notes": list(notes),
        "figures": {
            table.name.removeprefix("thinkfollow_"): json.loads(table.frame.to_json(orient="records"))
            for table in tables
        },
    }
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def render(
    frame: "pd.DataFrame",
    tables: Sequence[ReportTable],
    standings: Sequence[Standing],
    title: str,
    notes: Sequence[str],
    leaks: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Returns thinkfollow.html: the tables, and failing turns and signs of leaks to read."""
    from qwen3_eval.report.page import render_shell

    failed = frame[(frame["done"] != frame["asked"]) & (frame["done"] != "")]
    examples = [
        {**row, **{name: _clip(row[name]) for name in ("user", "thinking", "answer")}}
        for row in failed.head(MAX_EXAMPLES).to_dict(orient="records")
    ]
    context = {
        "title": title,
        "standings": standings,
        "notes": notes,
        "tables": tables,
        "examples": examples,
        "n_failed": len(failed),
        "leaks": [{**leak, "answer": _clip(leak["answer"])} for leak in leaks],
        "n_turns": len(frame),
    }
    return render_shell("thinkfollow.html", context, styles=["report.css"])


def _clip(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]} …"


def print_audit(audit: Audit) -> None:
    """Prints whether budgets were kept, and where not."""
    if not audit.breaches:
        print(f"budget audit: {audit.n_checked:,} records keep their budgets")
        return
    print(f"budget audit: FAILED, {len(audit.breaches):,} breaches in {audit.n_checked:,} records")
    for breach in audit.breaches[:MAX_EXAMPLES]:
        print(f"  {breach.place}: {breach.said}")


def print_thinkfollow(
    tables: Sequence[ReportTable], standings: Sequence[Standing], notes: Sequence[str], paths: Sequence[Path]
) -> None:
    """Prints compliance, what was asked and done, the published figures, and the standing."""
    from qwen3_eval.report.tables import print_table

    shown = {table.name: table for table in tables}
    for name in ("thinkfollow_compliance", "thinkfollow_confusion", "thinkfollow_against"):
        if name not in shown:
            continue
        table = shown[name]
        print_table(table.headings, table.cells, table.n_words, sys.stdout)
        print()
    stages = [f"{score:.3f} {model}" for model, score, _ in read_stages().itertuples(index=False)]
    print(f"The Qwen3 report's own ThinkFollow, on dialogues it does not publish: {', '.join(stages)}")
    for standing in standings:
        print(f"budget {standing.budget}: {standing.outcome} – {standing.said}")
    for note in notes:
        print(f"Note: {note}")
    page = next(path for path in paths if path.suffix == ".html")
    print(f"\nreport: {page}")
