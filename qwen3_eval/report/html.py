"""report.html: one self-contained page with figures, tables and a reader for single questions."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qwen3_eval.budget import format_budget
from qwen3_eval.report.charts.interactive import draw_charts
from qwen3_eval.report.findings import list_findings, list_warnings
from qwen3_eval.report.formats import tabulate_scores
from qwen3_eval.report.page import render_shell
from qwen3_eval.report.points import points_of
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.report.tables import TABLE_HEADINGS, format_rows
from qwen3_eval.report.text_blocks import TextBlocks, compress, json_budget, render_within_limit

if TYPE_CHECKING:
    import pandas as pd

MAX_PAGE_RECORDS = 20_000
"""Most records that the page's reader lists."""

MAX_FIELD_CHARACTERS = 1000
"""A longer target, extracted answer or reason is clipped in the page."""


def choose_records(records: "pd.DataFrame") -> "pd.DataFrame":
    """Returns the records that the page lists, in their order: all, or `MAX_PAGE_RECORDS` at most.

    A question is listed with all its budgets and modes. First repeats go before second ones, and tasks take
    turns, so that a page that cannot hold a run still shows each part of it.
    """
    if len(records) <= MAX_PAGE_RECORDS:
        return records
    asked = records.groupby(["task", "sample_id", "repeat"], sort=False).size().rename("n").reset_index()
    asked["number"] = asked.groupby(["task", "repeat"], sort=False).cumcount()
    asked = asked.sort_values(["repeat", "number"], kind="stable")
    kept = asked[asked["n"].cumsum() <= MAX_PAGE_RECORDS]
    on_page = records[["task", "sample_id", "repeat"]].merge(kept, how="left")["n"].notna().to_numpy()
    return records[on_page]


def pack_index(records: "pd.DataFrame", places: Mapping[int, int], run: Mapping[str, Any]) -> str:
    """Returns the table of records that the reader filters, as JSON of columns; `places` numbers rollouts.

    Records that `choose_records` leaves out are counted, not listed.
    """
    shown = choose_records(records)
    plain = ("task", "group", "sample_id", "mode", "repeat", "outcome", "thinking_tokens", "answer_tokens",
             "finish_reason", "completion_key")  # fmt: skip
    columns: dict[str, list[Any]] = {name: shown[name].tolist() for name in plain}
    columns["budget"] = [json_budget(budget) for budget in shown["budget"]]
    columns["score"] = [None if math.isnan(score) else round(score, 4) for score in shown["score"]]
    columns["forced"] = [int(flag) for flag in shown["forced"]]
    columns["truncated"] = [int(flag) for flag in shown["truncated"]]
    columns["text"] = [places[rollout] for rollout in shown["rollout"]]
    for name in ("extracted", "target", "reason"):
        columns[name] = [
            value[:MAX_FIELD_CHARACTERS] if isinstance(value, str) else None for value in shown[name]
        ]
    budgets = sorted(set(records["budget"]))
    return json.dumps({
        "n_records": len(records),
        "columns": columns,
        "budgets": [[json_budget(budget), format_budget(budget)] for budget in budgets],
        "stop_text": run.get("stop_text", ""),
    })  # fmt: skip


def render_page(
    summary: "pd.DataFrame",
    run: Mapping[str, Any],
    svg: bytes,
    index: str,
    texts: TextBlocks,
    *,
    tables: Sequence[ReportTable] = (),
    reference: "pd.DataFrame | None" = None,
) -> str:
    """Returns report.html, of `MAX_PAGE_BYTES` at most, unless its tables alone are larger.

    `svg` is from `draw_curve`, `index` from `pack_index`; `texts` holds the rollouts in the same order, and
    gives up those for which there is no room. `tables` follow the scores, each under its title.
    `reference` are published scores that are drawn beside the measured ones: `REFERENCE_COLUMNS`.
    """
    parts = format_rows(summary[summary["group"] != ""])
    context = {
        "model": model_name(run),
        "date": str(run.get("finished") or run.get("started") or "")[:10],
        "findings": list_findings(summary),
        "warnings": list_warnings(summary),
        "scores": tabulate_scores(summary),
        "groups": ReportTable("groups", "", "Groups of each task", summary, TABLE_HEADINGS, parts, 3),
        "tables": tables,
        "settings": flatten_settings(run),
        "index": compress(index),
    }
    charts = draw_charts(points_of(summary, str(context["model"])), reference)

    def render() -> str:
        return render_shell(
            "report.html",
            context | {"blocks": texts.blocks, "left_out": texts.left_out},
            charts=charts,
            static={"score_by_budget": svg},
            scripts=["reader.js", "report.js"],
            styles=["report.css"],
        )

    return render_within_limit(render, texts)


def model_name(run: Mapping[str, Any]) -> str:
    """Returns the model's short name from run.json: `model` as a string, or its `name` or `path`."""
    model = run.get("model", "")
    if isinstance(model, Mapping):
        model = model.get("name") or str(model.get("path") or "").rstrip("/").rsplit("/", 1)[-1]
    # A path that is not UTF-8 arrives as lone surrogates, which neither pandas nor a page can hold.
    return str(model).encode("utf-8", "replace").decode("utf-8")


def flatten_settings(run: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Returns dotted names and values of a nested mapping, in its order."""
    flat = []
    for name, value in run.items():
        if isinstance(value, Mapping) and value:
            flat += flatten_settings(value, f"{prefix}{name}.")
        else:
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            flat.append((f"{prefix}{name}", shown))
    return flat
