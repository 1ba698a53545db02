"""Records and texts of made-up sweeps, for tests of what a report shows."""

import math
from typing import Any

import numpy as np
import pandas as pd

from qwen3_eval.report.records import RecordText
from qwen3_eval.report.tables import SUMMARY_COLUMNS

RUN: dict[str, Any] = {
    "model": "nano",
    "finished": "2025-05-14T12:00:00",
    "stop_text": "\n\nTime is up.\n</think>\n\n",
}
# A lone surrogate, which pandas cannot hold, can come in texts and settings only.
HOSTILE = (
    "<script>window.pwned = 1</script></script><img src=x onerror='window.pwned = 1'>"
    "$x_1$ <!-- \u2028 \u2029 \ud800 \u202e right to left \u05e9\u05dc\u05d5\u05dd ]]> \x00 &lt; 🙂"
)


def record(**values: Any) -> dict[str, Any]:
    """One record: a correct answer of question 0 at 1k, unless `values` say otherwise."""
    plain = {
        "task": "chain", "group": "", "sample_id": "0", "mode": "thinking", "budget": 1024.0, "repeat": 0,
        "score": 1.0, "outcome": "correct", "extracted": "7", "reason": "7 equals 7", "target": "7",
        "forced": False, "truncated": False, "thinking_tokens": 100, "answer_tokens": 10,
        "finish_reason": "stop", "completion_key": 200, "rollout": 0, "parts": "",
    }  # fmt: skip
    return plain | values


def fake_run(
    n_questions: int,
    budgets: tuple[float, ...] = (1024.0, 4096.0, math.inf),
    tasks: tuple[str, ...] = ("chain",),
    score: float | None = None,
) -> pd.DataFrame:
    """Records of a made-up sweep: one trace a question, 20 tokens to 40,000, right if it was not cut."""
    random, rows = np.random.default_rng(7), []
    for number, (task, question) in enumerate((t, q) for t in tasks for q in range(n_questions)):
        length = int(np.clip(np.exp(random.normal(7.5, 1)), 20, 40_000))
        for budget in (*budgets, 0.0):
            forced, used = 0 < budget <= length, int(min(length, budget))
            right = score if score is not None else float(budget > 0 and not forced)
            rows.append(
                record(
                    task=task, sample_id=str(question), mode="thinking" if budget else "non-thinking",
                    budget=budget, score=right, outcome="correct" if right else "incorrect", forced=forced,
                    thinking_tokens=used, completion_key=2 * used + forced,
                    rollout=2 * number + (budget == 0), reason=f"verdict on {question}",
                )
            )  # fmt: skip
    return pd.DataFrame(rows)


def fake_text(records: pd.DataFrame, rollout: int) -> RecordText:
    """Two characters a token, so that a budget of 1k cuts after 2,048."""
    mine = records[records["rollout"] == rollout]
    thinking = "".join(f"{n:07}\n" for n in range(mine["thinking_tokens"].max() // 4))
    cuts = tuple((b, int(2 * b)) for b in mine.loc[mine["forced"], "budget"])
    answers = {int(key): f"The answer of rollout {rollout} is 7." for key in mine["completion_key"]}
    return RecordText(f"What is question {rollout}?", thinking, cuts, answers)


def read_summary(path: str) -> pd.DataFrame:
    """Returns summary.csv as a user reads it back, with budgets as floats and empty groups as ""."""
    texts = dict.fromkeys(("task", "group", "model", "mode", "metric"), "str")
    numbers = {"budget": "float64", "n_questions": "int64", "n_repeats": "int64"}
    na_values = {column: [""] for column in SUMMARY_COLUMNS if column not in texts}
    return pd.read_csv(path, dtype=texts | numbers, keep_default_na=False, na_values=na_values)
