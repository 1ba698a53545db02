"""Promises of the formats: what is written parses back, and no name breaks a table."""

import io
import json
import math
import re
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import about, draw_cells, join, make_cell
from made_reports import read_summary

from qwen3_eval.report.build_tables import build_tables
from qwen3_eval.report.formats import (
    escape_latex,
    format_json,
    format_junit,
    format_latex,
    format_markdown,
    table_csv,
    tabulate_scores,
)
from qwen3_eval.report.records import RecordText
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.report.tables import summarize
from qwen3_eval.report.write import write_report

HOSTILE = "a|b_c%d & <e> $f$ #{g}~^\\h\ni\u0001"
RUN: dict[str, Any] = {"model": {"name": "nano"}, "status": "done", "tasks": {"drawn": about("plain")}}


def make_run() -> tuple[pd.DataFrame, pd.DataFrame, list[ReportTable]]:
    records = draw_cells(40, "plain", 0)
    records.loc[0, "outcome"] = "error"
    records.loc[1:9, "truncated"] = True
    summary = summarize(records, "nano", RUN["tasks"])
    return records, summary, build_tables(records, summary, RUN)


RECORDS, SUMMARY, TABLES = make_run()


def hostile_table() -> ReportTable:
    frame = pd.DataFrame({"task": [HOSTILE], "budget": [math.inf]})
    return ReportTable("bad", HOSTILE, HOSTILE, frame, ("task", "a|b"), [(HOSTILE, "5 %")])


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_csv_reads_back(table: ReportTable) -> None:
    """Ten digits, inf and NaN come back; budgets are written as people write them."""
    text = table_csv(table.frame)
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(text)), table.frame, check_dtype=False, rtol=1e-9)
    assert "128," in text
    assert "128.0" not in text


def test_csv_starts_no_formula() -> None:
    """A name that a spreadsheet would run gets an apostrophe; a negative number does not."""
    text = table_csv(pd.DataFrame({"task": ["=1+1", "-x"], "difference": [-0.5, 1e-12]}))
    assert text == "task,difference\n'=1+1,-0.5\n'-x,1e-12\n"


def read_markdown(text: str) -> list[pd.DataFrame]:
    """The tables of a Markdown page, as a reader with pipes for borders has them."""
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    rows = [[re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines()] for block in blocks]
    plain = [[[re.sub(r"\\(.)", r"\1", cell.strip()) for cell in row] for row in block] for block in rows]
    return [pd.DataFrame(block[2:], columns=block[0]) for block in plain]


def test_markdown_reads_back() -> None:
    """Headings and cells of every table, titles, captions and warnings; numbers stand to the right."""
    tables = [tabulate_scores(SUMMARY), *TABLES]
    text = format_markdown(tables, "nano", ["drawn: 2 % were cut."])
    found = read_markdown(text)
    assert len(found) == len(tables) == 5
    for table, got in zip(tables, found, strict=True):
        assert tuple(got.columns) == tuple(table.headings)
        assert got.to_numpy().tolist() == [list(row) for row in table.cells]
        assert f"## {table.title}" in text
    assert text.startswith("# nano\n\n- drawn: 2 % were cut.\n\n## Scores")
    assert "| --- | --- | ---: |" in text


def test_markdown_holds_any_name() -> None:
    """Pipes, lines and markup of a name stay in their cell."""
    (got,) = read_markdown(format_markdown([hostile_table()], HOSTILE))
    assert got.shape == (1, 2)
    assert got.iloc[0, 0] == " ".join(HOSTILE.split())
    assert got.columns.tolist() == ["task", "a|b"]


def test_latex_escapes_by_hand() -> None:
    """Every character that LaTeX reads as something else, and those that its fonts lack."""
    assert escape_latex("50 % of $x_1 & #2 {a} ~ ^ \\") == (
        r"50 \% of \$x\_1 \& \#2 \{a\} \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )
    assert escape_latex("−0.1 – 2 × 3 → ● <|>") == (
        r"$-$0.1 -- 2 $\times$ 3 $\to$ $\bullet$ \textless{}\textbar{}\textgreater{}"
    )


@given(st.text())
def test_latex_leaves_nothing_unescaped(text: str) -> None:
    """With our own commands taken out, no special character is left."""
    commands = r"\\text[a-z]+\{\}|\$-\$|\$\\[a-z]+\$|\\[&%$#_{}]"
    assert not re.search(r"[\\&%$#_{}~^\n]", re.sub(commands, "", escape_latex(text)))


def test_latex_has_as_many_cells_as_columns() -> None:
    """Each row ends once, and has one separator fewer than there are columns, whatever a name holds."""
    for table in (*TABLES, hostile_table()):
        text = format_latex([table])
        (columns,) = re.findall(r"\\begin\{tabular\}\{([lr]+)\}", text)
        body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
        rows = re.findall(r"^(.*) \\\\$", body, re.MULTILINE)
        assert len(rows) == 1 + len(table.cells)
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(columns) - 1}
        assert columns == "l" * table.n_words + "r" * (len(table.headings) - table.n_words)
        assert rf"\label{{tab:{table.name}}}" in text


def refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is no JSON")


def test_json_is_strict_and_complete() -> None:
    """No NaN or Infinity; the scores are the summary's, the curve and the differences their tables'."""
    text = format_json(SUMMARY, TABLES, RUN | {"settings": {"secret": 1}, "budgets": ["128", "inf"]})
    found = json.loads(text, parse_constant=refuse)
    assert found["format"] == 1
    assert found["run"] == {"model": {"name": "nano"}, "status": "done", "budgets": ["128", "inf"]}
    assert any("truncated" in warning for warning in found["warnings"])
    task = found["tasks"]["drawn"]
    assert [row["budget"] for row in task["scores"]] == [128, 512, "inf", 0]
    assert [row["score"] for row in task["scores"]] == SUMMARY["score"].tolist()
    assert {"forced", "truncated", "no_answer", "error", "ci_low", "n_questions"} <= set(task["scores"][0])
    assert task["curve"]["area"] == TABLES[0].frame["area"].iloc[0]
    assert task["curve"]["fit_c"] is None
    assert len(task["differences"]) == len(TABLES[1].frame)
    assert task["repeats"]


def test_json_holds_any_name() -> None:
    """A lone surrogate, which a setting may hold and UTF-8 cannot, becomes a question mark."""
    summary = summarize(make_cell({"0": [1.0]}, task=HOSTILE))
    found = json.loads(format_json(summary, [], {"model": f"{HOSTILE}\ud800"}), parse_constant=refuse)
    assert list(found["tasks"]) == [HOSTILE]
    assert found["run"]["model"] == f"{HOSTILE}?"


def test_junit_has_a_suite_a_task_and_a_case_a_cell() -> None:
    """Errors are at the cells that have them, warnings in the suite, groups in their task; no score fails."""
    groups = {str(i): "a" if i % 2 else "b" for i in range(40)}
    other = make_cell({name: [1.0] for name in groups}, 128.0, "other", groups)
    root = ET.fromstring(format_junit(summarize(join(RECORDS, other))))
    assert (root.tag, root.attrib) == (
        "testsuites", {"name": "qwen3_eval", "tests": "5", "failures": "0", "errors": "1"},
    )  # fmt: skip
    suites = root.findall("testsuite")
    assert [(suite.get("name"), suite.get("tests"), suite.get("errors")) for suite in suites] == [
        ("drawn", "4", "1"), ("other", "1", "0"),
    ]  # fmt: skip
    cases = suites[0].findall("testcase")
    assert [case.get("name") for case in cases] == [
        "thinking budget=128", "thinking budget=512", "thinking budget=inf", "non-thinking",
    ]  # fmt: skip
    assert [case.find("error") is not None for case in cases] == [True, False, False, False]
    error = cases[0].find("error")
    assert error is not None
    assert error.get("message", "").startswith("1.25% of the records")
    assert "truncated" in (suites[0].findtext("system-out") or "")
    assert "score" in (cases[1].findtext("system-out") or "")
    assert suites[1].find("system-out") is None


@given(st.text(min_size=1))
def test_junit_is_well_formed_whatever_the_task_is_called(name: str) -> None:
    """Characters that XML cannot hold are replaced."""
    summary = SUMMARY.assign(task=f"{name}\x00\ufffe<&>")
    (suite,) = ET.fromstring(format_junit(summary).encode()).findall("testsuite")
    assert (suite.get("name") or "").endswith("\ufffd\ufffd<&>")


def test_scores_are_of_whole_tasks_and_count_the_groups() -> None:
    """Groups stand in the frame, and the caption says where they are."""
    summary = summarize(draw_cells(40, "groups", 0), tasks={"drawn": about("groups")})
    table = tabulate_scores(summary)
    assert len(table.cells) == 4
    assert len(table.frame) == len(summary) == 4 * 4
    assert table.caption.endswith("3 groups are in summary.csv.")


def test_a_report_leaves_every_table_in_every_form(tmp_path: Path) -> None:
    """CSV and Parquet of each table hold its frame, and the others parse; the old files keep their names."""
    paths = write_report(RECORDS, RUN, lambda rollout: RecordText("?", "", (), {200: "7"}), tmp_path)
    names = {path.name for path in paths}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert {
        "summary.csv",
        "samples.parquet",
        "curve.png",
        "curve.svg",
        "report.html",
        "pass_at_k.csv",
    } < names
    assert paths[0].name == "summary.csv"
    assert len(read_summary(str(paths[0]))) == len(SUMMARY)
    for table in TABLES:
        assert len(pd.read_csv(tmp_path / f"{table.name}.csv")) == len(table.frame)
        kept = pd.read_parquet(tmp_path / f"{table.name}.parquet")
        pd.testing.assert_frame_equal(kept, table.frame, check_dtype=False)
    assert len(pd.read_parquet(tmp_path / "summary.parquet")) == len(SUMMARY)
    assert len(read_markdown((tmp_path / "tables.md").read_text())) == 5
    assert (tmp_path / "tables.tex").read_text().count(r"\begin{tabular}") == 5
    json.loads((tmp_path / "summary.json").read_text(), parse_constant=refuse)
    ET.parse(tmp_path / "report.junit.xml")
    page = (tmp_path / "report.html").read_text()
    assert all(table.title in page for table in TABLES)
