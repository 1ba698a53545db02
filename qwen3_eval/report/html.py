"""report.html: one self-contained page with the curve, the table and a reader for single questions.

Texts are a model's output and may hold anything. They are embedded as base64 of compressed JSON, which no
markup can break out of, and the script shows them as text nodes only. A content security policy lets the
page run its one script, by hash, and load nothing.
"""

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from qwen3_eval.budget import format_budget
from qwen3_eval.report.findings import list_findings, list_warnings
from qwen3_eval.report.records import RecordText
from qwen3_eval.report.tables import TABLE_HEADINGS, format_rows

if TYPE_CHECKING:
    import pandas as pd

MAX_TEXT_CHARACTERS = 200_000
"""A longer prompt, thinking or answer is clipped in the page (about 50,000 tokens)."""

MAX_PAGE_BYTES = 48 * 2**20
"""Most bytes of texts in the page; later records keep their verdict and name samples.parquet for the rest."""

BLOCK_CHARACTERS = 2**19
"""Texts are compressed in blocks of about this size, so that opening a record inflates one block only."""


class TextBlocks:
    """Collects the texts of rollouts, in order, as compressed blocks for the page."""

    def __init__(self) -> None:
        self.blocks: list[tuple[int, int, str]] = []  # (first rollout, number of rollouts, base64)
        self.count = 0
        self.left_out = 0
        self._bytes = 0
        self._open: list[str] = []
        self._open_characters = 0

    def add(self, text: RecordText) -> None:
        """Appends a rollout; past `MAX_PAGE_BYTES` its texts are left out, and counted."""
        if self._bytes >= MAX_PAGE_BYTES:
            self.left_out += 1
            self._open.append("null")
        else:
            self._open.append(json.dumps(_pack_text(text)))
        self.count += 1
        self._open_characters += len(self._open[-1])
        if self._open_characters >= BLOCK_CHARACTERS:
            self.close()

    def close(self) -> None:
        """Compresses what is open."""
        if self._open:
            packed = compress("[" + ",".join(self._open) + "]")
            self.blocks.append((self.count - len(self._open), len(self._open), packed))
            self._bytes += len(packed)
            self._open, self._open_characters = [], 0


def compress(text: str) -> str:
    """Returns gzip, then base64; equal texts give equal results."""
    return base64.b64encode(gzip.compress(text.encode("ascii"), 6, mtime=0)).decode("ascii")


def _pack_text(text: RecordText) -> dict[str, Any]:
    """Returns the texts, clipped, with cuts counted in UTF-16 units as JavaScript counts."""
    thinking = text.thinking[:MAX_TEXT_CHARACTERS]
    return {
        "prompt": text.prompt[:MAX_TEXT_CHARACTERS],
        "thinking": thinking,
        "cuts": [
            [_json_budget(budget), len(thinking[:offset].encode("utf-16-le", "surrogatepass")) // 2]
            for budget, offset in sorted(text.cuts)
        ],
        "answers": {str(key): answer[:MAX_TEXT_CHARACTERS] for key, answer in text.answers.items()},
        "clipped": any(
            len(part) > MAX_TEXT_CHARACTERS for part in (text.prompt, text.thinking, *text.answers.values())
        ),
    }


def _json_budget(budget: float) -> float | str:
    return "inf" if math.isinf(budget) else int(budget)  # JSON has no infinity


def pack_index(records: "pd.DataFrame", places: Mapping[int, int], run: Mapping[str, Any]) -> str:
    """Returns the table of records that the reader filters, as JSON of columns; `places` numbers rollouts."""
    plain = ("task", "group", "sample_id", "mode", "repeat", "outcome", "thinking_tokens", "answer_tokens",
             "finish_reason", "completion_key")  # fmt: skip
    columns: dict[str, list[Any]] = {name: records[name].tolist() for name in plain}
    columns["budget"] = [_json_budget(budget) for budget in records["budget"]]
    columns["score"] = [None if math.isnan(score) else round(score, 4) for score in records["score"]]
    columns["forced"] = [int(flag) for flag in records["forced"]]
    columns["truncated"] = [int(flag) for flag in records["truncated"]]
    columns["text"] = [places[rollout] for rollout in records["rollout"]]
    for name in ("extracted", "target", "reason"):
        columns[name] = [value[:2000] if isinstance(value, str) else None for value in records[name]]
    budgets = sorted(set(records["budget"]))
    return json.dumps({
        "n": len(records),
        "columns": columns,
        "budgets": [[_json_budget(budget), format_budget(budget)] for budget in budgets],
        "stop_text": run.get("stop_text", ""),
    })  # fmt: skip


def render_page(
    summary: "pd.DataFrame", run: Mapping[str, Any], svg: bytes, index: str, texts: TextBlocks
) -> str:
    """Returns report.html. `index` is from `pack_index`; `texts` holds the rollouts in the same order."""
    import jinja2
    from markupsafe import Markup

    script = _read("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    page = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    rows = format_rows(summary)
    text = page.from_string(_read("report.html")).render(
        model=model_name(run),
        date=str(run.get("finished") or run.get("started") or "")[:10],
        findings=list_findings(summary),
        warnings=list_warnings(summary),
        headings=[name for name in TABLE_HEADINGS if name != "group"],
        rows=[(task, *numbers) for task, group, *numbers in rows if group == "all"],
        group_headings=TABLE_HEADINGS,
        group_rows=[row for row in rows if row[1] != "all"],
        settings=flatten_settings(run),
        left_out=texts.left_out,
        script=Markup(script),
        script_hash=digest,
        style=Markup(_read("report.css")),
        svg=Markup(_inline_svg(svg)),
        index=compress(index),
        blocks=texts.blocks,
    )
    # A setting or a name may hold a lone surrogate, which UTF-8 has no bytes for.
    return text.encode("utf-8", "replace").decode("utf-8")


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


def _inline_svg(svg: bytes) -> str:
    """Returns the figure for the page: no prologue, named by its caption, its ink following the theme."""
    text = svg.decode()
    text = text[text.index("<svg") :]
    swaps = {
        "#24292f": "var(--ink)",
        "#57606a": "var(--soft)",
        "#8c959f": "var(--axis)",
        "#d8dee4": "var(--rule)",
    }
    for color, variable in swaps.items():
        text = text.replace(color, variable)
    return text.replace("fill: #ffffff", "fill: none").replace(
        "<svg", '<svg role="img" aria-labelledby="curve-caption"', 1
    )


def _read(name: str) -> str:
    return (files("qwen3_eval.reports") / name).read_text(encoding="utf-8")
