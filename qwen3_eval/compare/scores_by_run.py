"""What each run scored and spent: the summaries of several runs, a point's rows beside each other."""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING

from qwen3_eval.compare.run_costs import RunCost, format_seconds
from qwen3_eval.past_run import PastRun
from qwen3_eval.report.html import model_name
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.report.tables import format_rows, summarize
from qwen3_eval.types import MODES

if TYPE_CHECKING:
    import pandas as pd


def keep_shared(runs: Sequence[PastRun], tasks: Sequence[str]) -> list[PastRun]:
    """Returns the runs with the records of these tasks alone, on the questions that all runs of a task have.

    Where all of a task's runs have none in common, each keeps its own.
    """
    import pandas as pd

    kept: list[list[pd.DataFrame]] = [[] for _ in runs]
    for task in tasks:
        mine = [past.records[past.records["task"] == task] for past in runs]
        ids = [pd.Index(rows["sample_id"].unique()) for rows in mine if len(rows)]
        shared = reduce(lambda one, other: one.intersection(other), ids)
        for parts, rows in zip(kept, mine, strict=True):
            whole = not len(shared) or not len(rows)
            parts.append(rows if whole else rows[shared.get_indexer(rows["sample_id"]) >= 0])
    return [replace(past, records=pd.concat(parts)) for past, parts in zip(runs, kept, strict=True)]


def summarize_runs(runs: Sequence[PastRun], tasks: Sequence[str]) -> "pd.DataFrame":
    """Returns `SUMMARY_COLUMNS` for the whole tasks of all runs, and columns `run` and `seconds_mean`.

    It is over the questions of `keep_shared`. A point's rows follow each other in the order of the runs.
    `seconds_mean` is of a record, from call to reply: its thinking, as far as the budget let it go, and its
    answer.
    """
    import pandas as pd

    parts = []
    for number, past in enumerate(keep_shared(runs, tasks)):
        records = past.records
        summary = summarize(records, model_name(past.run), past.run.get("tasks"))
        summary = summary[summary["group"] == ""]
        scored = records[records["outcome"] != "error"]
        by_point = (scored["thinking_s"] + scored["answer_s"]).groupby(
            [scored["task"], scored["mode"], scored["budget"]]
        )
        means = by_point.mean().rename("seconds_mean").reset_index()
        summary = summary.merge(means, how="left", on=["task", "mode", "budget"])
        parts.append(summary.assign(run=past.name, number=number))
    every = pd.concat(parts, ignore_index=True)
    every["task_place"] = every["task"].map(list(tasks).index)
    every["mode_place"] = every["mode"].map(MODES.index)
    every = every.sort_values(["task_place", "mode_place", "budget", "number"], ignore_index=True)
    return every.drop(columns=["task_place", "mode_place", "number"])


def tabulate_scores(summary: "pd.DataFrame") -> ReportTable:
    """Returns the scores of `summarize_runs`, each with the shares that may explain it."""
    headings = [
        "task", "mode", "budget", "run", "score", "95 % interval", "forced", "truncated", "no answer",
        "error", "questions",
    ]  # fmt: skip
    cells = [
        [task, mode, budget, run, *shown, questions]
        for (task, _, mode, budget, *shown, _, questions), run in zip(
            format_rows(summary), summary["run"], strict=True
        )
    ]
    caption = (
        "On the questions that all runs of a task have. Intervals: 95 % Wilson, over questions, repeats "
        "averaged first. Shares are of all records."
    )
    return ReportTable("scores", "Scores", caption, summary, headings, cells, n_words=4)


def tabulate_tokens(summary: "pd.DataFrame") -> ReportTable:
    """Returns what a record of each point took: tokens of thinking and answer, and seconds."""
    columns = [
        "task", "mode", "budget", "run", "thinking_tokens_mean", "answer_tokens_mean", "seconds_mean",
        "n_questions", "n_repeats",
    ]  # fmt: skip
    headings = ["task", "mode", "budget", "run", "thinking tokens", "answer tokens", "seconds"]
    means = zip(*(summary[name] for name in columns[4:7]), strict=True)
    cells = [
        [task, mode, budget, run, f"{thinking:,.0f}", f"{answer:,.0f}", format_seconds(seconds)]
        for (task, _, mode, budget, *_), run, (thinking, answer, seconds) in zip(
            format_rows(summary), summary["run"], means, strict=True
        )
    ]
    caption = (
        "Means per record with a verdict, on the questions that all runs of a task have. Seconds: from call "
        "to reply, with other requests beside it; a trace counts as far as the budget let it go."
    )
    return ReportTable("tokens", "Tokens and time", caption, summary[columns], headings, cells, n_words=4)


def tabulate_costs(runs: Sequence[PastRun], costs: Sequence[RunCost]) -> ReportTable:
    """Returns what each run generated in all, whatever tasks are compared, and how long it took."""
    import pandas as pd

    engines = [_name_engine(past) for past in runs]
    frame = pd.DataFrame({
        "run": [past.name for past in runs],
        "model": [model_name(past.run) for past in runs],
        "engine": engines,
        "questions": [len(past.records[["task", "sample_id"]].drop_duplicates()) for past in runs],
        "requests": [cost.requests for cost in costs],
        "tokens": [cost.tokens for cost in costs],
        "wall_s": [cost.wall_s for cost in costs],
        "requests_s": [cost.requests_s for cost in costs],
        "started": [str(past.run.get("started") or "") for past in runs],
    })  # fmt: skip
    cells = [
        [
            past.name,
            model_name(past.run),
            engine,
            str(past.run.get("started") or "–")[:10],
            f"{cost.requests:,}",
            f"{cost.tokens:,}",
            format_seconds(cost.wall_s),
            f"{cost.tokens / cost.wall_s:,.0f}" if cost.wall_s > 0 else "–",
            format_seconds(cost.requests_s),
        ]
        for past, engine, cost in zip(runs, engines, costs, strict=True)
    ]
    headings = [
        "run", "model", "engine", "started", "requests", "tokens", "wall time", "tokens/s", "engine time",
    ]  # fmt: skip
    caption = (
        "All that each run generated, every token once. Wall time: from the first request to the last, "
        "without pauses between sessions. Engine time: the requests' own times added up; many ran at once."
    )
    return ReportTable("runs", "Runs", caption, frame, headings, cells, n_words=4)


def _name_engine(past: PastRun) -> str:
    engine = past.run.get("engine", {})
    name = str(engine.get("engine", ""))
    told = [f"{name} {engine.get(f'{name}_version', '')}".strip(), str(engine.get("device", ""))]
    return ", ".join(filter(None, told)) or "–"
