"""What `routing` prints, and leaves in the run's folder: the loads, the figures, a page with heat maps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from qwen3_eval.budget import format_budget
from qwen3_eval.errors import StoreError
from qwen3_eval.report.formats import table_csv
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.report.tables import format_share, print_table
from qwen3_eval.report.whole_file import write_all
from qwen3_eval.routing.figure import draw_heat_maps, say_share
from qwen3_eval.routing.measure import Tally, measure, tabulate_load
from qwen3_eval.routing.responses import SPANS

if TYPE_CHECKING:
    import pandas as pd

FEW_TOKENS = 0.01
"""Where an even router would by chance leave out a larger share of its experts, that is told."""
MAX_LOAD_ROWS = 3000
"""A longer table of loads is not in the page; routing.csv has it."""


@dataclass(frozen=True)
class Told:
    """What was found: sentences, the tables of spans and layers, and the page."""

    findings: Sequence[str]
    notes: Sequence[str]
    tables: Sequence[ReportTable]
    page: Path


def write_routing(
    tallies: Sequence[Tally], about: Mapping[str, Any], notes: Sequence[str], folder: Path
) -> Told:
    """Writes routing.csv, routing_spans.csv, routing_layers.csv and routing.html. Raises StoreError.

    Each file appears whole or not at all. `about` names the `model`, the `budget` of the responses, and the
    `seed` of the intervals.
    """
    import pandas as pd

    loads = pd.concat([tabulate_load(tally) for tally in tallies], ignore_index=True)
    measured = [measure(tally, about["seed"]) for tally in tallies]
    spans, layers = (pd.concat(tables, ignore_index=True) for tables in zip(*measured, strict=True))
    shape = tallies[0].counts.shape
    caption = (
        f"{shape[1]} layers of {shape[3]} experts, {tallies[0].k} of them per token; responses at budget "
        f"{format_budget(about['budget'])}"
    )
    tables = [tabulate_spans(spans, caption), tabulate_layers(layers)]
    told = Told(
        list_findings(spans, tallies[0].k), [*notes, *list_notes(spans)], tables, folder / "routing.html"
    )
    contents: dict[str, str | bytes] = {
        "routing.csv": table_csv(loads),
        **{f"{table.name}.csv": table_csv(table.frame) for table in tables},
        "routing.html": render_routing(tallies, told, loads, about),
    }
    try:
        write_all(folder, contents)
    except OSError as error:
        raise StoreError(
            f"what the routers chose cannot be written to '{folder}': {error.strerror or error}; make room, "
            "or mend the folder's permissions"
        ) from error
    return told


def print_routing(told: Told) -> None:
    """Prints both tables, the findings and the notes."""
    for table in told.tables:
        print_table(table.headings, table.cells, table.n_words)
        print(f"\n{fill(table.caption, 110)}\n")
    for said in told.findings:
        print(said)
    for note in told.notes:
        print(f"Note: {note}")
    print(f"\nrouting: {told.page}")


def tabulate_spans(spans: "pd.DataFrame", asked: str) -> ReportTable:
    """Returns the table of spans as people read it; its figures are means over the layers."""
    several = spans["task"].nunique() > 1
    headings = [
        *(["task"] if several else []), "span", "tokens", "CV", "95 % interval", "by chance", "dead",
        "by chance", "entropy", "shared", "95 % interval", "by chance",
    ]  # fmt: skip
    rows: list[dict[Any, Any]] = spans.to_dict(orient="records")
    cells = [
        [
            *([row["task"]] if several else []),
            row["span"],
            f"{row['tokens']:,}",
            _format(row["cv"]),
            _format_ends(row, "cv"),
            _format(row["cv_even"]),
            _format_share(row["dead"]),
            _format_share(row["dead_even"]),
            _format(row["entropy"]),
            _format_share(row["overlap"]),
            _format_ends(row, "overlap", shares=True),
            _format_share(row["overlap_chance"]),
        ]
        for row in rows
    ]
    counts = [
        f"{task}: {of_task['n_responses'].max():,} responses to {of_task['n_questions'].max():,} questions"
        for task, of_task in spans.groupby("task", sort=False)
    ]
    caption = (
        f"{'; '.join(counts)}. {asked}. Means over the layers. CV: the load's coefficient of variation "
        "over the experts. Dead: experts never chosen. Entropy: the load's, by that of an even one. Shared: "
        "of the busiest experts, as many as a token has, those that are among the thinking's too. By chance: "
        "what an even router shows in so many tokens, and what sets drawn blindly share. Intervals: "
        "bootstrap over questions."
    )
    return ReportTable("routing_spans", "Spans", caption, spans, headings, cells, 1 + several)


def tabulate_layers(layers: "pd.DataFrame") -> ReportTable:
    """Returns the table of layers as people read it, a row for each; the frame has one for each span."""
    several = layers["task"].nunique() > 1
    headings = [
        *(["task"] if several else []), "layer", *(f"CV {span}" for span in SPANS),
        *(f"dead {span}" for span in SPANS), "shared", "95 % interval", "by chance",
    ]  # fmt: skip
    cells = []
    for (task, layer), rows in layers.groupby(["task", "layer"], sort=False):
        of_span: dict[str, dict[Any, Any]] = {row["span"]: row for row in rows.to_dict(orient="records")}
        answer = of_span["answer"]
        cells.append([
            *([str(task)] if several else []),
            str(layer),
            *(_format(of_span[span]["cv"]) for span in SPANS),
            *(_format_share(of_span[span]["dead"]) for span in SPANS),
            _format_share(answer["overlap"]),
            _format_ends(answer, "overlap", shares=True),
            _format_share(answer["overlap_chance"]),
        ])  # fmt: skip
    caption = (
        "As above, each layer by itself. Shared: by thinking and answer. routing_layers.csv has the "
        "intervals of the CV, and what chance gives."
    )
    return ReportTable("routing_layers", "Layers", caption, layers, headings, cells, 1 + several)


def tabulate_shares(loads: "pd.DataFrame") -> ReportTable:
    """Returns the heat maps as a table: a row for each layer and expert, a column for each span."""
    several = loads["task"].nunique() > 1
    headings = [*(["task"] if several else []), "layer", "expert", *SPANS]
    wide = loads.pivot_table(index=["task", "layer", "expert"], columns="span", values="share", sort=False)
    cells = [
        [*([str(task)] if several else []), str(layer), str(expert),
         *("–" if math.isnan(row.get(span, math.nan)) else say_share(row[span]) for span in SPANS)]
        for (task, layer, expert), row in zip(wide.index, wide.to_dict(orient="records"), strict=True)
    ]  # fmt: skip
    caption = "Share of the choices in a layer and span"
    return ReportTable("routing", "Load", caption, loads, headings, cells, 2 + several)


def list_findings(spans: "pd.DataFrame", k: int) -> list[str]:
    """Returns a sentence for each task: whether the answer is routed as the thinking is, and how evenly."""
    found = []
    for task, rows in spans.groupby("task", sort=False):
        of_span: dict[str, dict[Any, Any]] = {row["span"]: row for row in rows.to_dict(orient="records")}
        answer, loads = of_span["answer"], []
        for name, row in of_span.items():
            if row["tokens"]:
                loads.append(f"{row['cv']:.2f} in the {name}")
        shared = f"{task}: no answer follows a thinking, so there is nothing to share"
        if not math.isnan(answer["overlap"]):
            shared = (
                f"{task}: thinking and answer share {_format_share(answer['overlap'])} of their {k} busiest "
                f"experts (95 % interval {_format_ends(answer, 'overlap', shares=True)}; by chance "
                f"{_format_share(answer['overlap_chance'])})"
            )
        found.append(f"{shared}; CV of the load: {', '.join(loads)}")
    return found


def list_notes(spans: "pd.DataFrame") -> list[str]:
    """Returns sentences about spans of so few tokens that experts look dead."""
    return [
        f"{row['task']}: {row['tokens']:,} tokens of the {row['span']} are few: an even router would leave "
        f"out {_format_share(row['dead_even'])} of its experts by chance"
        for row in spans.to_dict(orient="records")
        if row["tokens"] and row["dead_even"] > FEW_TOKENS
    ]


def render_routing(
    tallies: Sequence[Tally], told: Told, loads: "pd.DataFrame", about: Mapping[str, Any]
) -> str:
    """Returns routing.html: the findings, a heat map for each span, and the tables."""
    from markupsafe import Markup

    from qwen3_eval.report.page import render_shell

    maps = [draw_heat_maps(tally) for tally in tallies]
    context = {
        "model": about["model"],
        "budget": format_budget(about["budget"]),
        "findings": told.findings,
        "notes": told.notes,
        "figures": maps,
        "svg": Markup,  # drawn here, of numbers alone
        "share": say_share,
        "tables": told.tables,
        "loads": tabulate_shares(loads),
        "n_shown": MAX_LOAD_ROWS,
    }
    return render_shell("routing.html", context, styles=["routing.css"])


def _format(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _format_share(share: float) -> str:
    if math.isnan(share):
        return "–"
    return "0 %" if share == 0 else format_share(share)


def _format_ends(row: Mapping[Any, Any], name: str, *, shares: bool = False) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if math.isnan(low):
        return "–"
    return f"{low * 100:.0f} – {high * 100:.0f} %" if shares else f"{low:.2f} – {high:.2f}"
