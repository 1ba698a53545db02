"""Where a finished run was not made as the published numbers were: what stands beside each comparison."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qwen3_eval.budget import format_budget, parse_budget
from qwen3_eval.config import EngineConfig, SweepConfig
from qwen3_eval.errors import QwenEvalError
from qwen3_eval.protocol import QWEN3_REPORT, list_departures
from qwen3_eval.report.html import model_name
from qwen3_eval.report.published.scores import REFERENCES, find_model, published_budget
from qwen3_eval.report.published.wins import Wins
from qwen3_eval.task import Task, load_task
from qwen3_eval.types import MODES, THINKING, Sampling

_OTHER_BENCHMARKS = {
    "MATH": "math500: these are 500 of the 5,000 problems of MATH, which the published score is of",
    "GPQA": "gpqa_diamond: the report's base table says GPQA; most of its scores fit Diamond's 198 rows",
}


def list_run_departures(
    run: Mapping[str, Any], wins: Sequence[Wins], reference: str = QWEN3_REPORT
) -> list[str]:
    """Returns a sentence for each thing in which the run differs from what it is counted against.

    `run` is what run.json holds, `wins` are that run's; modes and tasks that none is of are left out. The
    settings are held against the reference's protocol also where the run was not asked to follow it.
    """
    found: list[str] = []
    tasks = [task for task in run.get("tasks", {}) if any(task in set(w.rows["task"]) for w in wins)]
    if not tasks:
        return found
    name = model_name(run)
    if not find_model(name, reference):
        found.append(f"the model, {name}, is none of those in the {REFERENCES[reference]}")
    modes = [mode for mode in MODES if any(w.mode == mode and w.n_benchmarks for w in wins)]
    protocol = run.get("protocol", {})
    if protocol.get("name") != reference:
        found.append(f"the run was made without protocol={reference}")
    else:
        found += protocol.get("departures", [])
    found += _of_settings(run, tasks, modes)
    found += _of_counts(wins)
    return list(dict.fromkeys(found))


def _of_settings(run: Mapping[str, Any], names: Sequence[str], modes: Sequence[Any]) -> Iterator[str]:
    """Yields what `protocol=qwen3-report` would have said to the settings that run.json has."""
    if "settings" not in run or not set(modes) <= set(run.get("sampling", {})):
        yield "the settings of the run are not in its run.json"
        return
    tasks, options = [], {}
    for name in names:
        try:
            task: Task = load_task(name)
            options[name] = task.read_options(run.get("identity", {}).get(f"options.{name}", {}))
        except QwenEvalError:  # a task of the user's took the name, or its options are of another version
            yield f"{name}: its protocol is not known here"
            continue
        tasks.append(task)
    budgets = [parse_budget(budget) for budget in run.get("budgets", [])]
    sampling = {mode: Sampling(**values) for mode, values in run["sampling"].items()}
    yield from list_departures(_read_config(run), tasks, options, modes, budgets, sampling)


def _read_config(run: Mapping[str, Any]) -> SweepConfig:
    settings = run["settings"]
    known = ("max_answer_tokens", "max_output_tokens", "stop_text", "limit", "repeats")
    return SweepConfig(
        protocol=QWEN3_REPORT,
        engine=EngineConfig(yarn_factor=settings.get("engine", {}).get("yarn_factor", 1.0)),
        **{name: settings[name] for name in known if name in settings},
    )


def _of_counts(wins: Sequence[Wins]) -> Iterator[str]:
    for rows, mode in ((w.rows, w.mode) for w in wins):
        for benchmark, task, budget in zip(rows["benchmark"], rows["task"], rows["budget"], strict=True):
            if benchmark in _OTHER_BENCHMARKS:
                yield _OTHER_BENCHMARKS[benchmark]
            wanted = published_budget(mode, task)
            if mode == THINKING and not math.isnan(budget) and budget != wanted:
                yield (
                    f"{task}: the score at budget={format_budget(budget)} stands for that at "
                    f"{format_budget(wanted)}, which was not measured"
                )
