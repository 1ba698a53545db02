"""The two sides of a gate: what a baseline or a candidate scored, question by question."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qwen3_eval.past_run import PastRun
from qwen3_eval.types import MODES, Budget, Mode

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Point = tuple[Mode, Budget]
"""A mode and a budget: with a task, one cell."""

MAX_PARTS = 64
PROMPT_DIGITS = 8
"""Hex digits of a prompt's SHA-256 that are kept: another prompt passes for the same once in 4 billion."""


@dataclass(frozen=True)
class CellScores:
    """One task, mode and budget, question by question in the order of the task's ids.

    `scores` (in 0-1), `thinking_tokens` and `forced` (a share) are (n_questions,), each the mean over a
    question's repeats, NaN where none has a verdict. `n_repeats` is the most that a question has.
    """

    scores: Floats
    thinking_tokens: Floats
    forced: Floats
    n_records: int
    n_errors: int
    n_repeats: int


@dataclass(frozen=True)
class TaskScores:
    """One task: `about` is what run.json says of it, `groups` names each question's group.

    `prompts` has the first digits of each prompt's hash, by mode; "" where a question was not asked in it.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    about: Mapping[str, Any]
    prompts: Mapping[Mode, tuple[str, ...]]
    cells: Mapping[Point, CellScores]


@dataclass(frozen=True)
class Side:
    """A run as a gate sees it. `settings` is run.json's identity, `unfinished` says in words what is missing.

    `kind` is "run" or "file". `limited` says that further questions of its tasks were left out.
    """

    name: str
    kind: str
    model: Mapping[str, Any]
    settings: Mapping[str, Any]
    protocol: str
    departures: tuple[str, ...]
    versions: Mapping[str, str]
    unfinished: str
    limited: bool
    tasks: Mapping[str, TaskScores]


@dataclass(frozen=True)
class Published:
    """Published scores, by task, mode and budget: numbers without questions, taken as exact."""

    name: str
    model: str
    scores: Mapping[tuple[str, Mode, Budget], float]


def read_side(past: PastRun) -> Side:
    """Returns what a run holds, exactly as `qwen3_eval.gate.baseline` writes and reads it."""
    run = past.run
    status = str(run.get("status", ""))
    settings = run.get("settings", {})
    return Side(
        name=past.name,
        kind="run",
        model=run["model"],
        settings=run["identity"],
        protocol=run.get("protocol", {}).get("name", ""),
        departures=tuple(run.get("protocol", {}).get("departures", ())),
        versions=run.get("versions", {}),
        unfinished="" if status == "done" else f"its sweep is {status or 'unfinished'}, not done",
        limited=settings.get("limit") is not None or bool(run.get("shard")),
        tasks={
            str(task): _read_task(rows, run["tasks"].get(task, {}))
            for task, rows in past.records.groupby("task", sort=False)
        },
    )


def _read_task(rows: "pd.DataFrame", about: Mapping[str, Any]) -> TaskScores:
    questions = rows.drop_duplicates("sample_id").sort_values("sample_id")
    ids = tuple(str(i) for i in questions["sample_id"])
    prompts: dict[Mode, tuple[str, ...]] = {}
    cells: dict[Point, CellScores] = {}
    values = _score_parts(rows) if about.get("average") == "groups" else rows
    for mode in MODES:
        mine = values[values["mode"] == mode]
        if mine.empty:
            continue
        hashes = mine.drop_duplicates("sample_id").set_index("sample_id")["prompt_sha256"]
        prompts[mode] = tuple(str(h)[:PROMPT_DIGITS] for h in hashes.reindex(list(ids)).fillna(""))
        for budget, cell in mine.groupby("budget"):
            number = float(str(budget))
            place = number if math.isinf(number) else int(number)
            cells[mode, place] = _read_cell(cell, ids)
    groups = _name_groups(questions, about)
    return TaskScores(ids, groups, dict(about), prompts, cells)


def _read_cell(cell: "pd.DataFrame", ids: Sequence[str]) -> CellScores:
    scored = cell[cell["outcome"] != "error"]
    means = scored.groupby("sample_id")[["score", "thinking_tokens", "forced"]].mean().reindex(list(ids))
    n_repeats = int(scored.groupby("sample_id").size().max()) if len(scored) else 0
    return CellScores(
        settle_shares(means["score"].to_numpy(dtype=float), n_repeats),
        settle_counts(means["thinking_tokens"].to_numpy(dtype=float)),
        settle_shares(means["forced"].to_numpy(dtype=float), n_repeats),
        len(cell),
        int((cell["outcome"] == "error").sum()),
        n_repeats,
    )


def settle_shares(values: Floats, n_repeats: int) -> Floats:
    """Returns shares as a file keeps them: whole parts of 1 to 64, or else four decimals."""
    steps = find_parts(values, n_repeats)
    settled: Floats = np.rint(values * steps) / steps
    return settled


def find_parts(values: Floats, n_repeats: int) -> int:
    """Returns in how many whole parts the shares can be counted; 10,000 where in no fewer than 65."""
    known = values[~np.isnan(values)]
    for parts in (1, max(1, n_repeats), *range(2, MAX_PARTS + 1)):
        if np.all(np.abs(known * parts - np.rint(known * parts)) < 1e-6):
            return int(parts)
    return 10_000


def settle_counts(values: Floats) -> Floats:
    """Returns mean counts as a file keeps them, with four digits."""
    with np.errstate(divide="ignore", invalid="ignore"):
        digits = np.where(values > 0, 3 - np.floor(np.log10(values)), 0.0)
    scale = 10.0 ** np.clip(np.nan_to_num(digits), 0, 3)
    settled: Floats = np.rint(values * scale) / scale
    return settled


def _score_parts(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Returns the records with the mean of each verdict's parts as its score, where it has parts."""
    scores = [_mean_of(text, score) for text, score in zip(rows["parts"], rows["score"], strict=True)]
    return rows.assign(score=scores)


def _mean_of(parts: str, score: float) -> float:
    return float(np.mean(list(json.loads(parts).values()))) if parts else float(score)


def _name_groups(questions: "pd.DataFrame", about: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the group that each question counts in, where groups count alike; "" where none does.

    Verdicts with parts are grouped by the parts' names, as of the two sets that evalplus is made of.
    """
    if about.get("average") != "groups":
        return ("",) * len(questions)
    return tuple(_list_groups(questions))


def _list_groups(questions: "pd.DataFrame") -> Iterator[str]:
    for parts, group in zip(questions["parts"], questions["group"], strict=True):
        yield "+".join(sorted(json.loads(parts))) if parts else str(group).partition("/")[0]
