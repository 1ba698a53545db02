"""A comparison as a person reads it in a terminal."""

import sys
from typing import TextIO

from qwen3_eval.compare.flips import tell_flips
from qwen3_eval.compare.side_by_side import SideBySide
from qwen3_eval.report.published.tables import print_standing
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.report.tables import print_table

_ELSEWHERE = ("could show",)
"""Columns that a terminal has no room for; the findings say the most of them."""


def print_comparison(found: SideBySide, file: TextIO | None = None) -> None:
    """Prints what differs between the runs, what could mislead, the findings and the tables."""
    file = file or sys.stdout
    for pair in found.unlike:
        print(pair.meaning, file=file)
        for each in pair.found:
            print(f"  {each.said}", file=file)
    for warning in found.warnings:
        print(f"warning: {warning}", file=file)
    for table in found.tables:
        print(f"\n{table.title}", file=file)
        _print_table(table, file)
    print(file=file)
    for task, said in found.findings:
        print(f"{task}: {said}", file=file)
    turned = tell_flips(found.flips)
    if turned:
        print(f"questions that turned, over all points: {turned}; flips.csv lists them", file=file)
    if found.published:
        print_standing(found.published.standing, file)


def _print_table(table: ReportTable, file: TextIO) -> None:
    shown = [place for place, heading in enumerate(table.headings) if heading not in _ELSEWHERE]
    rows = [[row[place] for place in shown] for row in (table.headings, *table.cells)]
    print_table(rows[0], rows[1:], table.n_words, file)
