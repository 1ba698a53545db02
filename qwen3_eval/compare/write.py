"""Writes all that `compare` leaves in its folder; each file appears whole or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from qwen3_eval.compare.flip_texts import pack_flips
from qwen3_eval.compare.flips import tell_flips
from qwen3_eval.compare.page import render_comparison
from qwen3_eval.compare.side_by_side import SideBySide
from qwen3_eval.errors import StoreError
from qwen3_eval.report.figures import draw_runs
from qwen3_eval.report.formats import format_latex, format_markdown, table_csv
from qwen3_eval.report.published.tables import format_standing, tabulate_standing
from qwen3_eval.report.records import Texts
from qwen3_eval.report.whole_file import write_all

if TYPE_CHECKING:
    pass


def write_comparison(found: SideBySide, texts: Mapping[str, Texts], out_dir: Path) -> list[Path]:
    """Writes a CSV of each table and of the flips, comparison.parquet, .md and .tex, curves and compare.html.

    `texts` reads each run's texts, by its name. Returns the paths. Raises StoreError where a file cannot be
    written.
    """
    published = found.published
    figures = draw_runs(found.points, reference=published.points if published else None)
    packed = pack_flips(found.flips, found.runs, texts)
    tables = [*found.tables, *(tabulate_standing(published.standing) if published else [])]
    contents: dict[str, str | bytes] = {
        **{f"{table.name}.csv": table_csv(table.frame) for table in tables},
        "flips.csv": table_csv(found.flips),
        "comparison.md": format_comparison(found),
        "comparison.tex": format_latex(tables),
        "curves.svg": figures["svg"],
        "curves.png": figures["png"],
        "compare.html": render_comparison(found, packed, figures["svg"]),
    }
    if found.pairs:
        contents["comparison.parquet"] = found.tables[0].frame.to_parquet(index=False)
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        return write_all(out_dir, contents)
    except OSError as error:
        raise StoreError(
            f"the comparison cannot be written to '{out_dir}': {error.strerror or error}; give another "
            "folder, out=PATH"
        ) from error


def format_comparison(found: SideBySide) -> str:
    """Returns the comparison as Markdown: what differs, what could mislead, the findings and the tables."""
    notes = []
    for pair in found.unlike:
        notes += [pair.meaning, *(each.said for each in pair.found)]
    notes += [*found.warnings, *(f"{task}: {said}" for task, said in found.findings)]
    turned = tell_flips(found.flips)
    if turned:
        notes.append(f"Questions that turned, over all points: {turned}; flips.csv lists them.")
    text = format_markdown(found.tables, f"{found.title}, side by side", notes)
    if found.published:
        text += f"\n## Beside published models\n\n{format_standing(found.published.standing)}"
    return text
