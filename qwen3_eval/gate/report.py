"""A gate's verdict for people and for machines: terminal, Markdown, JSON, JUnit XML, GitHub annotations."""

import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from qwen3_eval.errors import StoreError
from qwen3_eval.gate.judge import GateVerdict, Judged
from qwen3_eval.gate.words import advise, explain, format_row, headings, headline, sides

MAX_ROWS = 15
"""Rows of a pull request's table that stand in the open; the others are folded."""
MAX_ANNOTATIONS = 8
"""GitHub shows ten of each kind for a step."""
_ORDER = {"regression": 0, "inconclusive": 1, "pass": 2}
_MARKS = {"regression": "❌", "inconclusive": "❔", "pass": "✅"}


@dataclass(frozen=True)
class GateReport:
    """All that is told of a gate. `inconclusive` is the setting, `limited` says that questions are left."""

    verdict: GateVerdict
    exit_code: int
    baseline: str
    baseline_model: str
    candidate: str
    candidate_model: str
    inconclusive: str
    limited: bool
    notes: Sequence[str]


def print_gate(report: GateReport, paths: Sequence[Path]) -> None:
    """Prints the verdict, the table and what to do."""
    verdict = report.verdict
    print(f"gate: {verdict.outcome.upper()} – {headline(report)}")
    print(f"{sides(report)}\n")
    _print_table(headings(verdict), [format_row(each) for each in verdict.judged])
    print()
    for line in (*advise(report), *(f"Note: {note}" for note in report.notes)):
        print(line)
    print(f"{', '.join(path.name for path in paths)} are in {paths[0].parent}")


def write_gate(report: GateReport, folder: Path) -> list[Path]:
    """Writes gate.md, gate.json and gate.xml (JUnit), each whole or not at all. Raises StoreError."""
    from qwen3_eval.report.whole_file import write_all

    contents = {
        "gate.md": render_markdown(report),
        "gate.json": json.dumps(describe_gate(report), indent=1, ensure_ascii=False) + "\n",
        "gate.xml": render_junit(report),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return write_all(folder, contents)
    except OSError as error:
        raise StoreError(f"out='{folder}' cannot be written: {error.strerror or error}") from error


def announce(report: GateReport) -> None:
    """Prints annotations, and adds the Markdown to the step's summary, where GitHub Actions runs this.

    Source: GitHub's documentation, workflow commands for GitHub Actions.
    """
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    for line in list_annotations(report):
        print(line)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(render_markdown(report))
        except OSError as error:  # the verdict stands without it
            print(f"the step's summary cannot be written: {error.strerror or error}", file=sys.stderr)


def list_annotations(report: GateReport) -> list[str]:
    """Returns GitHub's workflow commands: an error for each regression, else one for the whole."""
    whole = f"{headline(report)}. {' '.join(advise(report))}".strip()
    if report.verdict.outcome == "regression":
        found = [each for each in report.verdict.judged if each.outcome == "regression"]
        lines = [
            _annotate("error", f"gate: regression, {each.metric.place}", explain(each))
            for each in found[:MAX_ANNOTATIONS]
        ]
        rest = len(found) - len(lines)
        return [*lines, *([_annotate("error", "gate: regression", f"and {rest} more")] if rest else [])]
    kind = {0: "notice", 1: "error"}.get(report.exit_code, "warning")
    return [_annotate(kind, f"gate: {report.verdict.outcome}", whole)]


def render_markdown(report: GateReport) -> str:
    """Returns the verdict for a pull request: what it is, what does not pass, what to do; the rest folded."""
    verdict = report.verdict
    judged = sorted(verdict.judged, key=lambda each: _ORDER[each.outcome])
    in_open = [each for each in judged if each.outcome != "pass"][:MAX_ROWS]
    folded = judged[len(in_open) :]
    if not in_open and len(folded) <= MAX_ROWS:
        in_open, folded = folded, []
    lines = [
        f"## {_MARKS[verdict.outcome]} Gate: {verdict.outcome}",
        "",
        f"**{_escape(_capital(headline(report)))}.** {_escape(_capital(sides(report)))}.",
        "",
        *_markdown_table(in_open, verdict),
    ]
    lines += [f"- {_escape(line)}" for line in advise(report)] + [""]
    if folded:
        n_pass = sum(each.outcome == "pass" for each in folded)
        said = "pass" if n_pass == len(folded) else "more"
        said = f"{len(folded)} check{'s' * (len(folded) > 1)}: {said}"
        lines += [f"<details><summary>{said}</summary>", "", *_markdown_table(folded, verdict)]
        lines += ["</details>", ""]
    if report.notes:
        lines += ["<details><summary>Notes</summary>", ""]
        lines += [f"- {_escape(note)}" for note in report.notes] + ["", "</details>", ""]
    return "\n".join(lines) + "\n"


def render_junit(report: GateReport) -> str:
    """Returns JUnit XML: a test for each metric, failed by a regression; one that cannot pass is an error."""
    judged = report.verdict.judged
    suite = ElementTree.Element("testsuite", name="gate", tests=str(len(judged)))
    properties = ElementTree.SubElement(suite, "properties")
    for name in ("baseline", "baseline_model", "candidate", "candidate_model"):
        ElementTree.SubElement(properties, "property", name=name, value=_printable(getattr(report, name)))
    counts = {"failure": 0, "error": 0, "skipped": 0}
    for each in judged:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"gate.{each.metric.task}", name=each.metric.place, time="0"
        )
        kind = _junit_kind(each, report.inconclusive)
        if kind:
            counts[kind] += 1
            message = _printable(explain(each, report.limited))
            found = ElementTree.SubElement(case, kind, message=message)
            if kind != "skipped":
                found.set("type", each.outcome)
                found.text = message
    for kind, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(name, str(counts[kind]))
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(suites, encoding="unicode")}\n'


def describe_gate(report: GateReport) -> dict[str, Any]:
    """Returns the verdict for machines, as gate.json holds it: scores in 0-1, null where unknown."""
    return {
        "verdict": report.verdict.outcome,
        "exit_code": report.exit_code,
        "said": headline(report),
        "advice": advise(report),
        "alpha": report.verdict.alpha,
        "baseline": {"name": report.baseline, "model": report.baseline_model},
        "candidate": {"name": report.candidate, "model": report.candidate_model},
        "notes": list(report.notes),
        "metrics": [_describe(each, report.limited) for each in report.verdict.judged],
    }


def _describe(each: Judged, limited: bool) -> dict[str, Any]:
    metric, drop, need = each.metric, each.drop, each.need
    return {
        "name": metric.name,
        "task": metric.task,
        "mode": metric.mode,
        "budget": metric.budget,
        "outcome": each.outcome,
        "said": explain(each, limited),
        "holes": list(metric.holes),
        "paired": metric.paired,
        "baseline": _plain(each.baseline),
        "candidate": _plain(each.candidate),
        "drop": _plain(drop.drop),
        "drop_low": _plain(drop.low),
        "drop_high": _plain(drop.high),
        "max_drop": metric.max_drop,
        "worse": metric.worse,
        "relative": metric.relative,
        "p_within": _plain(drop.p_within),
        "p_beyond": _plain(drop.p_beyond),
        "p_beyond_holm": _plain(each.p_beyond),
        "n_questions": drop.n_questions,
        "n_units": drop.n_units,
        "n_repeats": metric.n_repeats,
        "need": None if need is None else vars(need),
    }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.6g}")


def _junit_kind(each: Judged, inconclusive: str) -> str:
    if each.outcome == "pass":
        return ""
    if each.outcome == "regression":
        return "failure"
    if each.metric.holes:
        return "error"
    return {"pass": "skipped", "fail": "failure"}.get(inconclusive, "error")


def _annotate(kind: str, title: str, message: str) -> str:
    """Returns one workflow command; what would end it is escaped as GitHub's toolkit does."""
    for sign, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        title, message = title.replace(sign, code), message.replace(sign, code)
    title = title.replace(":", "%3A").replace(",", "%2C")
    return f"::{kind} title={title}::{message}"


def _markdown_table(judged: Sequence[Judged], verdict: GateVerdict) -> list[str]:
    if not judged:
        return []
    names = headings(verdict)
    rows = [[_escape(cell) for cell in format_row(each)] for each in judged]
    rule = ["---", *["---:"] * (len(names) - 2), "---"]
    return [f"| {' | '.join(cells)} |" for cells in (names, rule, *rows)] + [""]


def _escape(text: str) -> str:
    for sign, code in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("\n", " ")):
        text = text.replace(sign, code)
    return text


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _printable(text: str) -> str:
    """XML has no control characters."""
    return "".join(sign for sign in text if sign in "\t\n" or sign.isprintable())


def _print_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    for row in (names, *rows):
        cells = [
            cell.ljust(width) if number in (0, len(names) - 1) else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
