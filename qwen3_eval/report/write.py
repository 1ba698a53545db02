"""Writes all that `report` leaves in a run folder; each file appears whole or not at all."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen3_eval.errors import StoreError
from qwen3_eval.report.build_tables import build_tables
from qwen3_eval.report.figures import draw_curve
from qwen3_eval.report.findings import list_warnings
from qwen3_eval.report.formats import (
    format_json,
    format_junit,
    format_latex,
    format_markdown,
    table_csv,
    tabulate_scores,
)
from qwen3_eval.report.html import choose_records, model_name, pack_index, render_page
from qwen3_eval.report.pass_at_k import summarize_pass_at_k
from qwen3_eval.report.records import RecordText, Texts
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.report.tables import summarize, summary_csv
from qwen3_eval.report.text_blocks import TextBlocks
from qwen3_eval.report.whole_file import open_draft, write_all

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

ROLLOUTS_PER_BATCH = 256


def write_report(
    records: "pd.DataFrame",
    run: Mapping[str, Any],
    texts: Texts,
    out_dir: Path,
    *,
    summary: "pd.DataFrame | None" = None,
    reference: "pd.DataFrame | None" = None,
    further: Sequence[ReportTable] = (),
) -> list[Path]:
    """Writes all that a report is, and returns the paths; summary.csv is the first.

    Beside it stand samples.parquet, curve.png, curve.svg and report.html, every table of `build_tables` as
    NAME.csv and NAME.parquet, all of them in tables.md and tables.tex, and summary.json and report.junit.xml
    for machines. Where questions were asked several times, pass_at_k.csv is among them.
    `records` is as `qwen3_eval.score.read_records` gives it, `run` what run.json holds. `texts` is called
    once for each rollout. `summary` is that of the records, where it is at hand. `reference` are published
    scores to draw beside the measured ones, `further` tables that come after those of the run. Raises
    StoreError where nothing is there to report, or a file cannot be written.
    """
    if records.empty:
        raise StoreError(f"'{out_dir}' holds no finished record yet; let the sweep run on, then report again")
    model = model_name(run)
    if summary is None:
        summary = summarize(records, model, run.get("tasks"))
    tables = [*build_tables(records, summary, run, _read_seed(run)), *further]
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        blocks = TextBlocks()
        samples, places = out_dir / "samples.parquet", {}
        draft = open_draft(samples)
        try:
            places = _write_samples(records, texts, blocks, draft)
            draft.replace(samples)
        finally:
            draft.unlink(missing_ok=True)
        figures = draw_curve(summary, reference=reference)
        index = pack_index(records, places, run)
        page = render_page(summary, run, figures["svg"], index, blocks, tables=tables, reference=reference)
        scores = tabulate_scores(summary)
        title, warnings = " ".join(filter(None, [model, "by thinking budget"])), list_warnings(summary)
        contents: dict[str, str | bytes] = {
            "summary.csv": summary_csv(summary),
            "curve.png": figures["png"],
            "curve.svg": figures["svg"],
            "report.html": page,
            "summary.json": format_json(summary, tables, run),
            "report.junit.xml": format_junit(summary),
            "tables.md": format_markdown([scores, *tables], title, warnings),
            "tables.tex": format_latex([scores, *tables]),
            "summary.parquet": summary.to_parquet(index=False),
        }
        for table in tables:
            contents[f"{table.name}.csv"] = table_csv(table.frame)
            contents[f"{table.name}.parquet"] = table.frame.to_parquet(index=False)
        repeated = summarize_pass_at_k(records, model, run.get("tasks") or {})
        if not repeated.empty:
            contents["pass_at_k.csv"] = summary_csv(repeated)
        paths = write_all(out_dir, contents)
    except OSError as error:
        raise StoreError(f"the report cannot be written to '{out_dir}': {error.strerror or error}") from error
    return [paths[0], samples, *paths[1:]]


def _read_seed(run: Mapping[str, Any]) -> int:
    """Returns the run's seed, with which its resamples are drawn too."""
    seed = (run.get("settings") or {}).get("seed", 0)
    return seed if isinstance(seed, int) and seed >= 0 else 0


def _write_samples(records: "pd.DataFrame", texts: Texts, blocks: TextBlocks, path: Path) -> dict[int, int]:
    """Writes samples.parquet batch by batch, fills `blocks`, and returns each rollout's place in them."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    order = list(dict.fromkeys(records["rollout"].tolist()))
    by_rollout = records.groupby("rollout", sort=False).indices
    on_page = set(choose_records(records)["rollout"].tolist())
    plain = records.to_dict(orient="records")  # much quicker to read row by row than the frame
    names = [*records.columns, "prompt", "thinking", "answer"]
    schema = pa.schema([(name, _parquet_type(name)) for name in names])
    with ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(order), ROLLOUTS_PER_BATCH):
            rows: list[dict[str, Any]] = []
            for rollout in order[start : start + ROLLOUTS_PER_BATCH]:
                text = texts(rollout)
                first = plain[by_rollout[rollout][0]]
                blocks.add(text, task=first["task"], repeat=first["repeat"], wanted=rollout in on_page)
                rows += [_parquet_row(plain[row], text) for row in by_rollout[rollout]]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    blocks.close()
    return {rollout: place for place, rollout in enumerate(order)}


def _parquet_row(record: Mapping[Any, Any], text: RecordText) -> dict[str, Any]:
    row = {
        **record,
        "prompt": text.prompt,
        "thinking": text.thinking_at(record["budget"]),
        "answer": text.answers.get(record["completion_key"]),
    }
    for name, value in row.items():
        if isinstance(value, str):  # Parquet holds UTF-8, which has no lone surrogates
            row[name] = value.encode("utf-8", "replace").decode("utf-8")
        elif isinstance(value, float) and _parquet_type(name) == "string":
            row[name] = None  # pandas writes a missing text as NaN
    return row


def _parquet_type(name: str) -> "pa.DataType | str":
    if name in ("repeat", "completion_key", "rollout", "seed") or name.endswith("_tokens"):
        return "int64"
    if name in ("score", "budget", "thinking_s", "answer_s"):
        return "float64"
    return "bool" if name in ("forced", "truncated") else "string"
