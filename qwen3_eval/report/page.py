"""The shell of every page: one file that loads nothing, with a theme switch, tables and charts.

A template in reports/ extends page.html and takes its macros from macros.html. A content security policy
lets a page run its own scripts, by hash, and load nothing. Names and texts are a model's or a user's and may
hold anything: templates escape them, data stands as base64 or escaped JSON, scripts set them as text only.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from qwen3_eval.budget import format_budget
from qwen3_eval.report.charts.interactive import Charts
from qwen3_eval.report.charts.specs import CONFIG
from qwen3_eval.report.charts.vega import draw_static, read_library
from qwen3_eval.report.formats import table_csv
from qwen3_eval.report.looks import COLORS
from qwen3_eval.report.report_table import ReportTable

MAX_INLINE_CSV_BYTES = 500_000
"""A longer table's CSV link leads to the file beside the page; a shorter one's holds the file itself."""

INKS = {"#24292f": "ink", "#57606a": "soft", "#8c959f": "axis", "#d8dee4": "rule"} | {
    color: f"series-{number}" for number, color in enumerate(COLORS)
}
"""Colours of style.mplstyle, and the variables of page.css that stand for them in a page."""


def render_shell(
    template: str,
    context: Mapping[str, Any],
    *,
    charts: Charts | None = None,
    static: Mapping[str, bytes] | None = None,
    scripts: Sequence[str] = (),
    styles: Sequence[str] = (),
) -> str:
    """Returns the page of a template in reports/ that extends page.html.

    `charts` are drawn where the template calls `figures(charts)`; `static` gives matplotlib's SVG for charts
    by name, to stand where scripts are off. `scripts` and `styles` are files of reports/, which follow the
    shell's own.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(read_file),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals["csv_link"] = link_csv
    head = read_file("theme.js")
    body = [read_file(name) for name in ("page.js", *scripts)]
    if charts is not None and charts.charts:
        body += [read_library(), read_file("charts.js")]
    pictures = {} if charts is None else _draw_pictures(charts, static or {})
    text = environment.get_template(template).render(
        **context,
        charts=charts,
        chart_data=Markup(charts.pack() if charts else ""),
        pictures={name: [Markup(svg) for svg in drawn] for name, drawn in pictures.items()},
        head_script=Markup(head),
        scripts=[Markup(script) for script in body],
        hashes=[hash_script(script) for script in (head, *body)],
        style=Markup("\n".join(read_file(name) for name in ("page.css", *styles))),
    )
    # A setting or a name may hold a lone surrogate, which UTF-8 has no bytes for.
    return text.encode("utf-8", "replace").decode("utf-8")


def _draw_pictures(charts: Charts, static: Mapping[str, bytes]) -> dict[str, list[str]]:
    return {
        chart.name: [inline_svg(static[chart.name], chart.title)]
        if chart.name in static
        else [draw_static(panel.spec, CONFIG) for panel in chart.panels]
        for chart in charts.charts
    }


def inline_svg(svg: bytes, name: str) -> str:
    """Returns matplotlib's figure for a page: without prologue, named, in the colours of the theme."""
    from markupsafe import escape

    text = svg.decode()
    text = text[text.index("<svg") :]
    for color, variable in INKS.items():
        text = text.replace(color, f"var(--{variable})")
    text = text.replace("fill: #ffffff", "fill: none")
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(name)}"', 1)


def link_csv(table: ReportTable) -> str:
    """Returns where the table's CSV is: a data URI of the file itself, or, if that is long, its name."""
    csv = table_csv(table.frame).encode("utf-8", "replace")
    if len(csv) > MAX_INLINE_CSV_BYTES:
        return quote(f"{table.name}.csv")
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(csv).decode("ascii")


def link_question(
    task: str, sample_id: str, mode: str = "", budget: float | None = None, repeat: int | None = None
) -> str:
    """Returns the fragment that opens a question in report.html: `#q=chain/12&mode=thinking&budget=1k`."""
    parts = [("q", f"{task}/{sample_id}"), ("mode", mode)]
    parts.append(("budget", "" if budget is None else format_budget(budget)))
    parts.append(("repeat", "" if repeat is None else str(repeat)))
    return "#" + "&".join(
        f"{name}={quote(value, safe='/', errors='replace')}" for name, value in parts if value
    )


def hash_script(script: str) -> str:
    """Returns the source that a content security policy names an inline script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def read_file(name: str) -> str:
    """Returns a file of reports/."""
    return (files("qwen3_eval.reports") / name).read_text(encoding="utf-8")
