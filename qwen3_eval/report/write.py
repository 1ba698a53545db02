"""Writes all that `report` leaves in a run folder; each file appears whole or not at all."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp
from typing import TYPE_CHECKING, Any

from qwen3_eval.errors import StoreError
from qwen3_eval.report.figures import draw_curve
from qwen3_eval.report.html import TextBlocks, model_name, pack_index, render_page
from qwen3_eval.report.pass_at_k import summarize_pass_at_k
from qwen3_eval.report.records import RecordText, Texts
from qwen3_eval.report.tables import summarize, summary_csv

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

ROLLOUTS_PER_BATCH = 256


def write_report(
    records: "pd.DataFrame",
    run: Mapping[str, Any],
    texts: Texts,
    out_dir: Path,
) -> list[Path]:
    """Writes summary.csv, samples.parquet, curve.png, curve.svg and report.html; returns their paths.

    Where questions were asked several times, pass_at_k.csv is among them.
    `records` is as `qwen3_eval.score.read_records` gives it, `run` what run.json holds. `texts` is called
    once for each rollout. Raises StoreError where nothing is there to report, or a file cannot be written.
    """
    if records.empty:
        raise StoreError(f"'{out_dir}' holds no finished record yet; let the sweep run on, then report again")
    summary = summarize(records, model_name(run), run.get("tasks"))
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        blocks = TextBlocks()
        samples, places = out_dir / "samples.parquet", {}
        draft = _draft(samples)
        try:
            places = _write_samples(records, texts, blocks, draft)
            draft.replace(samples)
        finally:
            draft.unlink(missing_ok=True)
        figures = draw_curve(summary)
        page = render_page(summary, run, figures["svg"], pack_index(records, places, run), blocks)
        contents = {
            "summary.csv": summary_csv(summary).encode("utf-8", "replace"),
            "curve.png": figures["png"],
            "curve.svg": figures["svg"],
            "report.html": page.encode(),
        }
        repeated = summarize_pass_at_k(records, model_name(run), run.get("tasks") or {})
        if not repeated.empty:
            contents["pass_at_k.csv"] = summary_csv(repeated).encode("utf-8", "replace")
        for name, content in contents.items():
            _write_whole(out_dir / name, content)
    except OSError as error:
        raise StoreError(f"the report cannot be written to '{out_dir}': {error.strerror or error}") from error
    return [out_dir / "summary.csv", samples, *(out_dir / name for name in list(contents)[1:])]


def _write_samples(records: "pd.DataFrame", texts: Texts, blocks: TextBlocks, path: Path) -> dict[int, int]:
    """Writes samples.parquet batch by batch, fills `blocks`, and returns each rollout's place in them."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    order = list(dict.fromkeys(records["rollout"].tolist()))
    by_rollout = records.groupby("rollout", sort=False).indices
    plain = records.to_dict(orient="records")  # much quicker to read row by row than the frame
    names = [*records.columns, "prompt", "thinking", "answer"]
    schema = pa.schema([(name, _parquet_type(name)) for name in names])
    with ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(order), ROLLOUTS_PER_BATCH):
            rows: list[dict[str, Any]] = []
            for rollout in order[start : start + ROLLOUTS_PER_BATCH]:
                text = texts(rollout)
                blocks.add(text)
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


def _draft(path: Path) -> Path:
    """Returns a new empty file beside `path`, with the rights that a plainly opened file would have."""
    handle, name = mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with suppress(OSError), os.fdopen(handle):
        umask = os.umask(0)
        os.umask(umask)
        os.fchmod(handle, 0o666 & ~umask)
    return Path(name)


def _write_whole(path: Path, content: bytes) -> None:
    """Replaces the file in one step, so that a reader never meets half of it."""
    draft = _draft(path)
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
