"""`policy`: ways to choose a budget per question, judged on a run's stored traces, without a model."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from qwen3_eval.config import PolicyConfig
from qwen3_eval.errors import ConfigError, StoreError, did_you_mean
from qwen3_eval.past_run import PastRun, read_past_run
from qwen3_eval.policy.difficulty import assign_folds, forecast, read_features
from qwen3_eval.policy.grid import join_grids, read_grid
from qwen3_eval.policy.points import judge_policies
from qwen3_eval.policy.policies import Floats, Grid
from qwen3_eval.policy.report import print_policies, write_policies
from qwen3_eval.report.findings import FEW_QUESTIONS
from qwen3_eval.store import Store
from qwen3_eval.types import THINKING

ALL_TASKS = "all tasks"


def policy(config: PolicyConfig) -> int:
    """Judges the policies on each task of a run, and on all together; prints and writes what was found."""
    import pandas as pd

    if config.folds < 2:
        raise ConfigError(f"folds={config.folds}: cross-validation needs 2 or more, as folds=5")
    past = read_past_run(config.run.dir, "run.dir")
    grids = {task: _read_task(past, task) for task in choose_tasks(past, config.task)}
    print("learning from the prompts how hard the questions are ...", file=sys.stderr, flush=True)
    features = {task: _read_features(past, task, grid) for task, grid in grids.items()}
    if len(grids) > 1 and len({grid.options for grid in grids.values()}) == 1:
        features[ALL_TASKS] = np.concatenate(list(features.values()))
        grids[ALL_TASKS] = join_grids(grids)
    tables = []
    for task, grid in grids.items():
        folds = assign_folds(grid.cluster, config.folds, config.seed)
        predicted = forecast(grid, features[task], folds, config.seed)
        tables.append(judge_policies(task, grid, predicted, folds))
    table = pd.concat(tables, ignore_index=True)
    notes = {task: list_notes(grid) for task, grid in grids.items()}
    settings: dict[str, Any] = {"folds": config.folds, "seed": config.seed}
    print_policies(table, notes)
    paths = write_policies(table, notes, {"run": past.name, **settings}, past.folder)
    print(f"\npolicies: {next(path for path in paths if path.suffix == '.md')}")
    return 0


def choose_tasks(past: PastRun, asked: Any) -> list[str]:
    """Returns the tasks to judge: those `asked` for, or all of the run's. Raises ConfigError."""
    names = [str(name) for name in ([asked] if isinstance(asked, str) else asked or [])]
    known = list(dict.fromkeys(past.records["task"]))
    for name in names:
        if name not in known:
            raise ConfigError(
                f"task '{name}' is not in run.dir='{past.folder}'{did_you_mean(name, known)} "
                f"it holds: {', '.join(known)}"
            )
    return list(dict.fromkeys(names)) or known


def _read_task(past: PastRun, task: str) -> Grid:
    """Returns the grid of a task. Raises StoreError where there is nothing to choose between, or to learn."""
    records = past.records[past.records["task"] == task]
    thinking = records[records["mode"] == THINKING]
    budgets = thinking["budget"].nunique()
    more = "the same sweep with mode=thinking budget=[1k,4k,8k] generates what is missing"
    if thinking.empty:
        modes = ", ".join(dict.fromkeys(records["mode"]))
        raise StoreError(
            f"run.dir='{past.folder}' has no thinking records of {task}, only {modes}; a policy chooses "
            f"between thinking budgets: {more}"
        )
    if budgets < 2:
        only = past.run["budgets"][0] if len(past.run["budgets"]) == 1 else "one alone"
        raise StoreError(
            f"run.dir='{past.folder}' has one thinking budget of {task} ({only}); a policy chooses between "
            f"two or more: {more}"
        )
    grid = read_grid(records, past.run.get("tasks", {}).get(task, {}))
    if grid is None or len(set(grid.cluster.tolist())) < 2:
        n = 0 if grid is None else grid.n_questions
        raise StoreError(
            f"run.dir='{past.folder}': {n} question{'s' * (n != 1)} of {task} "
            f"{'has' if n == 1 else 'have'} a score at each of its {budgets} budgets; what is learnt from "
            "some questions is judged on others: let the sweep run on, or ask more questions (limit=)"
        )
    return grid


def _read_features(past: PastRun, task: str, grid: Grid) -> Floats:
    records = past.records[(past.records["task"] == task) & (past.records["mode"] == THINKING)]
    firsts = records.drop_duplicates("sample_id").set_index("sample_id").loc[list(grid.sample_ids)]
    with Store.read(past.folder) as store:
        prompts = {row["sample_id"]: _join_turns(row["messages"]) for row in store.query(_PROMPTS, (task,))}
    groups = [f"{task}/{group}".rstrip("/") for group in grid.group]
    asked: Sequence[str] = [prompts[sample_id] for sample_id in grid.sample_ids]
    return read_features(asked, firsts["prompt_tokens"].tolist(), groups)


_PROMPTS = "SELECT sample_id, messages FROM samples WHERE task = ?"


def _join_turns(messages: str) -> str:
    return "\n\n".join(str(content) for _, content in json.loads(messages))


def list_notes(grid: Grid) -> list[str]:
    """Returns sentences about what could not be judged, or rests on less than it seems."""
    notes = []
    if grid.n_left_out:
        whole = grid.n_left_out + len(grid.score)
        notes.append(
            f"{grid.n_left_out:,} of {whole:,} traces are left out: they lack a score at some budget, or "
            "without thinking"
        )
    if not grid.one_trace:
        notes.append(
            "each budget has a trace of its own (sweep.strategy=independent), so no policy stops on the way"
        )
    if not grid.first_budget:
        notes.append("non-thinking was not measured, so no policy switches to it")
    if grid.n_questions < FEW_QUESTIONS:
        notes.append(f"{grid.n_questions} questions are few; read the intervals, not the points")
    return notes
