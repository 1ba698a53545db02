"""All tables of a run beside its summary."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qwen3_eval.report.curve_tables import tabulate_curves
from qwen3_eval.report.difference_table import tabulate_differences
from qwen3_eval.report.efficiency_table import tabulate_efficiency
from qwen3_eval.report.repeat_tables import tabulate_repeats
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.report.task_cells import read_task_cells

if TYPE_CHECKING:
    import pandas as pd


def build_tables(
    records: "pd.DataFrame", summary: "pd.DataFrame", run: Mapping[str, Any], seed: int = 0
) -> list[ReportTable]:
    """Returns the tables `curve`, `differences`, `efficiency` and `repeats`, as far as the run has them.

    `records` are as `qwen3_eval.score.read_records` gives them, `summary` as `summarize` makes of them, `run`
    is what run.json holds, and `seed` that of resamples.
    """
    tasks = list(read_task_cells(records, run.get("tasks") or {}))
    found = [
        tabulate_curves(tasks, summary, seed),
        tabulate_differences(tasks),
        tabulate_efficiency(tasks, summary),
        tabulate_repeats(tasks, summary, seed),
    ]
    return [table for table in found if table is not None]
