"""compare.html: runs side by side in one self-contained page, and a reader for the questions that turned."""

from qwen3_eval.compare.flip_texts import PackedFlips
from qwen3_eval.compare.flips import tell_flips
from qwen3_eval.compare.side_by_side import SideBySide
from qwen3_eval.report.charts.interactive import draw_charts
from qwen3_eval.report.page import render_shell
from qwen3_eval.report.published.tables import tabulate_standing
from qwen3_eval.report.text_blocks import compress, render_within_limit


def render_comparison(found: SideBySide, flips: PackedFlips, svg: bytes) -> str:
    """Returns compare.html, of `MAX_PAGE_BYTES` at most, unless its tables alone are larger.

    `svg` is the static picture of the curves.
    """
    published = found.published
    context = {
        "title": found.title,
        "n_runs": len(found.runs),
        "tasks": found.tasks,
        "unlike": found.unlike,
        "findings": found.findings,
        "warnings": found.warnings,
        "tables": [*found.tables, *(tabulate_standing(published.standing) if published else [])],
        "turned": tell_flips(found.flips),
        "n_flips": flips.n_flips,
        "n_embedded": flips.n_embedded,
        "index": compress(flips.index),
    }
    charts = draw_charts(found.points, published.points if published else None)
    texts = flips.texts

    def render() -> str:
        return render_shell(
            "compare.html",
            context | {"blocks": texts.blocks, "left_out": texts.left_out},
            charts=charts,
            static={"score_by_budget": svg},
            scripts=["reader.js", "compare.js"],
            styles=["report.css", "compare.css"],
        )

    return render_within_limit(render, texts)
