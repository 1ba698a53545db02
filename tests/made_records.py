"""Records of made-up runs, for tests of what is made of them."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from qwen3_eval.types import NON_THINKING, THINKING

Scores = Mapping[str, Sequence[float | None]]
"""The scores of each question's repeats, None for an error, by sample id."""


def make_cell(
    scores: Scores,
    budget: float = 1024.0,
    task: str = "sums",
    groups: Mapping[str, str] | None = None,
    **more: Any,
) -> pd.DataFrame:
    """Returns the records of one cell; budget 0 is non-thinking. `more` are columns alike in all of them."""
    rows = [
        {
            "task": task, "group": (groups or {}).get(sample_id, ""), "sample_id": sample_id,
            "mode": THINKING if budget else NON_THINKING, "budget": budget, "repeat": repeat,
            "score": math.nan if score is None else score,
            "outcome": "error" if score is None else "correct" if score == 1 else "incorrect",
            "extracted": None if score is None else "right" if score == 1 else f"wrong {repeat}",
            "reason": "", "target": "right", "forced": False, "truncated": False,
            "thinking_tokens": 100 if budget else 0, "answer_tokens": 10, "finish_reason": "stop",
            "completion_key": 200, "rollout": repeat, "parts": "",
        } | more
        for sample_id, repeats in scores.items()
        for repeat, score in enumerate(repeats)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def join(*cells: pd.DataFrame) -> pd.DataFrame:
    """Returns the cells as the records of one run."""
    return pd.concat(cells, ignore_index=True)


def draw_cells(
    n: int, kind: str, seed: int, budgets: Sequence[float] = (128.0, 512.0, math.inf, 0.0), n_repeats: int = 2
) -> pd.DataFrame:
    """Returns records of a task of `n` questions whose scores rise with the budget.

    `kind` is "plain", "groups" (of uneven sizes), "parallel" (two languages) or "parts" (verdicts of two).
    """
    random = np.random.default_rng(seed)
    hardness = random.random(n)
    names = [f"{'de' if i % 2 else 'fr'}/{i // 2}" if kind == "parallel" else str(i) for i in range(n)]
    groups = {name: {"groups": "b/x" if i % 5 else "a", "parallel": name[:2]}.get(kind, "")
              for i, name in enumerate(names)}  # fmt: skip
    cells = []
    for place, budget in enumerate(budgets):
        reached = 0.2 if budget == 0 else 0.3 + 0.6 * place / len(budgets)
        right = random.random((n, n_repeats)) < np.clip(reached + 0.5 - hardness, 0, 1)[:, None]
        cell = make_cell(dict(zip(names, right.astype(float).tolist(), strict=True)), budget, "drawn", groups)
        if kind == "parts":
            kept = (random.random(len(cell)) < 0.8).tolist()
            judged = zip(cell["sample_id"], cell["score"], kept, strict=True)
            cell["parts"] = [
                json.dumps({"h": score, "h_plus": score * more} if int(name) % 3 else {"m": score})
                for name, score, more in judged
            ]
        cells.append(cell.assign(thinking_tokens=random.integers(1, 1000, len(cell)) if budget else 0))
    return join(*cells)


def about(kind: str) -> dict[str, Any]:
    """Returns what run.json says of a task of that kind."""
    return {"average": "questions" if kind == "plain" else "groups", "parallel": kind == "parallel"}
