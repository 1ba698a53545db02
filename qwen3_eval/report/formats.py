"""Tables and summaries as other programs read them: CSV, Markdown, LaTeX, JSON and JUnit XML."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from qwen3_eval.budget import format_budget
from qwen3_eval.report.counts import say_counts
from qwen3_eval.report.findings import list_warnings
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.report.tables import TABLE_HEADINGS, defuse_formula, format_rows
from qwen3_eval.stats.estimate import INTERVAL
from qwen3_eval.types import THINKING

if TYPE_CHECKING:
    import pandas as pd

JSON_FORMAT = 1
"""What summary.json calls its form. It rises where a name changes its meaning or goes."""

_OF_RUN = ("model", "status", "started", "finished", "modes", "budgets", "strategy", "stop_text", "sampling",
           "protocol", "sandbox", "versions")  # fmt: skip
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "–": "--", "−": "$-$", "×": r"$\times$", "→": r"$\to$",
    "●": r"$\bullet$", "·": r"$\cdot$", "\n": " ", "\r": " ",
}  # fmt: skip
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def table_csv(frame: "pd.DataFrame") -> str:
    """Returns a table's CSV: numbers with ten digits, infinite ones as `inf`, nothing where there is none.

    A text that a spreadsheet would run as a formula gets an apostrophe.
    """
    shown = frame.copy()
    for column in shown.columns:
        if shown[column].dtype.kind not in "biuf":
            shown[column] = [defuse_formula(v) if isinstance(v, str) else v for v in shown[column]]
    return str(shown.to_csv(index=False, lineterminator="\n", float_format="%.10g"))


def tabulate_scores(summary: "pd.DataFrame") -> ReportTable:
    """Returns the scores of the whole tasks as people read them; the frame is the whole summary."""
    whole = summary[summary["group"] == ""]
    shown = [place for place, heading in enumerate(TABLE_HEADINGS) if heading != "group"]
    cells = [[row[place] for place in shown] for row in format_rows(whole)]
    caption = (
        f"{say_counts(whole)} {INTERVAL}. Shares are of all records, tokens means over those with a verdict."
    )
    n_groups = len(summary.loc[summary["group"] != "", ["task", "group"]].drop_duplicates())
    if n_groups:
        caption += f" {n_groups:,} groups are in summary.csv."
    return ReportTable("summary", "Scores", caption, summary, [TABLE_HEADINGS[i] for i in shown], cells, 2)


def format_markdown(tables: Sequence[ReportTable], title: str, notes: Sequence[str] = ()) -> str:
    """Returns the tables in GitHub's Markdown, below a title and `notes`, as warnings."""
    lines = [f"# {_escape_markdown(title)}", ""]
    lines += [f"- {_escape_markdown(note)}" for note in notes] + [""] * bool(notes)
    for table in tables:
        rules = ["---" if number < table.n_words else "---:" for number in range(len(table.headings))]
        rows = [[_escape_markdown(cell) for cell in row] for row in (table.headings, *table.cells)]
        lines += [f"## {_escape_markdown(table.title)}", ""]
        lines += [f"| {' | '.join(row)} |" for row in (rows[0], rules, *rows[1:])]
        lines += ["", _escape_markdown(table.caption), ""]
    return "\n".join(lines)


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", " ".join(text.split()))


def format_latex(tables: Sequence[ReportTable]) -> str:
    """Returns the tables as LaTeX floats with booktabs' rules, labelled `tab:NAME`."""
    parts = [
        "% \\usepackage{booktabs} in the preamble. Long tables may be cut to the rows that are needed.\n"
    ]
    for table in tables:
        columns = "".join("l" if number < table.n_words else "r" for number in range(len(table.headings)))
        rows = [
            " & ".join(escape_latex(cell) for cell in row) + r" \\" for row in (table.headings, *table.cells)
        ]
        parts.append("\n".join([
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_latex(table.caption)}}}",
            rf"\label{{tab:{table.name}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            rows[0],
            r"\midrule",
            *rows[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]))  # fmt: skip
    return "\n".join(parts)


def escape_latex(text: str) -> str:
    """Returns text that LaTeX prints as it stands; what its fonts may lack is set in maths."""
    return "".join(_LATEX.get(character, character) for character in text)


def format_json(summary: "pd.DataFrame", tables: Sequence[ReportTable], run: Mapping[str, Any]) -> str:
    """Returns summary.json: of the run, its warnings, and each task's scores, curve and differences.

    Scores and shares are in 0-1. There is null for what has no number, and the strings "inf" and "-inf" for
    what has no end, as JSON has neither.
    """
    frames = {table.name: table.frame for table in tables}
    about = run.get("tasks") or {}
    tasks = {
        str(task): {
            "metric": about.get(task, {}).get("metric", "accuracy"),
            "average": about.get(task, {}).get("average", "questions"),
            "scores": _dicts(rows.drop(columns=["task", "model", "metric"])),
            "curve": next(iter(_rows_of(frames.get("curve"), str(task))), None),
            "differences": _rows_of(frames.get("differences"), str(task)),
            "repeats": _rows_of(frames.get("repeats"), str(task)),
        }
        for task, rows in summary.groupby("task", sort=False)
    }
    found = {
        "format": JSON_FORMAT,
        "run": {name: run[name] for name in _OF_RUN if name in run},
        "warnings": list_warnings(summary),
        "tasks": tasks,
    }
    return json.dumps(_as_json(found), indent=1, allow_nan=False) + "\n"


def _rows_of(frame: "pd.DataFrame | None", task: str) -> list[dict[str, Any]]:
    return [] if frame is None else _dicts(frame[frame["task"] == task].drop(columns="task"))


def _dicts(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    return frame.to_dict(orient="records")  # type: ignore[return-value]  # keys are our column names


def _as_json(value: Any) -> Any:
    """Returns the value with what JSON has no form for replaced, however deep it stands."""
    if isinstance(value, Mapping):
        return {str(_as_json(str(name))): _as_json(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(inner) for inner in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        return int(value) if value.is_integer() else value
    return value


def format_junit(summary: "pd.DataFrame") -> str:
    """Returns JUnit XML: a testsuite for each task, a testcase for each of its modes and budgets.

    A point with records in error has an <error>. A score never fails: that is the gate's to say. Warnings are
    in the testsuite's <system-out>.
    """
    whole = summary[summary["group"] == ""]
    root = ET.Element("testsuites", name="qwen3_eval")
    totals = [0, 0]
    for task, rows in whole.groupby("task", sort=False):
        suite = ET.SubElement(root, "testsuite", name=_as_xml(str(task)))
        n_errors = 0
        for cell, shown in zip(_dicts(rows), format_rows(rows), strict=True):
            case = ET.SubElement(
                suite, "testcase", classname=_as_xml(f"qwen3_eval.{task}"), name=_name_cell(cell)
            )
            if cell["error"] > 0:
                n_errors += 1
                said = f"{cell['error']:.2%} of the records have no verdict; they are left out of the score"
                ET.SubElement(case, "error", type="error", message=said)
            said = ", ".join(
                f"{name} {text}" for name, text in zip(TABLE_HEADINGS[4:], shown[4:], strict=True)
            )
            ET.SubElement(case, "system-out").text = _as_xml(said)
        warnings = list_warnings(summary[summary["task"] == task])
        if warnings:
            ET.SubElement(suite, "system-out").text = _as_xml("\n".join(warnings))
        totals = [totals[0] + len(rows), totals[1] + n_errors]
        suite.attrib |= {"tests": str(len(rows)), "failures": "0", "errors": str(n_errors)}
    root.attrib |= {"tests": str(totals[0]), "failures": "0", "errors": str(totals[1])}
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _name_cell(cell: Mapping[str, Any]) -> str:
    return (
        f"{cell['mode']} budget={format_budget(cell['budget'])}" if cell["mode"] == THINKING else cell["mode"]
    )


def _as_xml(text: str) -> str:
    """Returns the text without characters that XML cannot hold."""
    return _NOT_XML.sub("\ufffd", text)
