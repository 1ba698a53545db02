"""Sampled, the nested sweep draws from the same distribution as independent runs at each budget.

On the box model, hot enough (T 1.2, no truncation of the tail) that its workings, lengths and answers vary
between repeats. The question is the unit: repeats are averaged within it, differences are paired.
"""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import RunningVllm
from scipy import stats
from sweeping import sweep_on

from qwen3_eval.chat import STOP_TEXTS, Chat, load_chat
from qwen3_eval.data import DataSource
from qwen3_eval.plan import Plan, Questions
from qwen3_eval.score import read_records, score_answers
from qwen3_eval.store import Store
from qwen3_eval.subset import select
from qwen3_eval.task import Asking, load_task
from qwen3_eval.types import THINKING, Sampling

pytestmark = pytest.mark.slow

BUDGETS = (96, 256, 640)
MEASURES = ("score", "thinking_tokens", "answer_tokens", "forced")
N_QUESTIONS, N_REPEATS = 40, 10
ALPHA = 0.01  # of the whole family, Holm-corrected

Cells = dict[tuple[int, str], "pd.Series[float]"]


@pytest.fixture(scope="module")
def chat(nano: Path) -> Chat:
    return load_chat(str(nano))


def measure(vllm: RunningVllm, chat: Chat, plan: Plan, folder: Path) -> Cells:
    """Returns each question's mean over repeats, for every budget and measure."""
    sweep_on(vllm, chat, plan, folder)
    with Store.open(folder) as store:
        score_answers(store, {"chain": load_task("chain").score}, chat.decoder)
        records = read_records(store, plan.budgets)
    assert len(records) == N_QUESTIONS * N_REPEATS * len(BUDGETS)
    means = records.groupby(["budget", "sample_id"])[list(MEASURES)].mean(numeric_only=False).astype(float)
    return {(b, m): means[m].xs(float(b)).sort_index() for b in BUDGETS for m in MEASURES}


@pytest.fixture(scope="module")
def cells(vllm: RunningVllm, chat: Chat, tmp_path_factory: pytest.TempPathFactory) -> tuple[Cells, Cells]:
    """Nested and independent, of the same questions."""
    samples = [s for s in load_task("chain").load(Asking(DataSource())).made if s.metadata["steps"] <= 60]
    plan = Plan(
        questions=[Questions("chain", select(samples, N_QUESTIONS), N_REPEATS, 2000)],
        modes=(THINKING,),
        budgets=BUDGETS,
        sampling={THINKING: Sampling(temperature=1.2)},
        strategy="nested",
        stop_ids=chat.encode(STOP_TEXTS["docs"]),
        max_answer_tokens=48,
        seed=7,
        concurrency=128,
    )
    nested = measure(vllm, chat, plan, tmp_path_factory.mktemp("nested"))
    alone = dataclasses.replace(plan, strategy="independent")
    return nested, measure(vllm, chat, alone, tmp_path_factory.mktemp("independent"))


def compare(a: "pd.Series[float]", b: "pd.Series[float]") -> tuple[float, float]:
    """Returns the two-sided p of the paired t test, and the difference found with a power of 90 %."""
    difference = (a - b).to_numpy()
    spread = difference.std(ddof=1) / math.sqrt(len(difference))
    if spread == 0:
        return 1.0, 0.0
    t = stats.t(len(difference) - 1)
    return 2 * t.sf(abs(difference.mean()) / spread), float((t.ppf(1 - ALPHA / 2) + t.ppf(0.9)) * spread)


def test_repeats_vary(cells: tuple[Cells, Cells]) -> None:
    """There is a distribution to compare: scores strictly between 0 and 1, and lengths that differ."""
    nested, _ = cells
    assert 0.05 < nested[640, "score"].mean() < 0.95
    assert nested[640, "thinking_tokens"].std() > 10


def test_scores_and_token_counts_do_not_differ(cells: tuple[Cells, Cells]) -> None:
    """No budget's score, thinking tokens, answer tokens or forced share differs at a family level of 1 %.

    What the test could have seen with a power of 90 % is printed, and bounded: 0.15 of a score.
    """
    nested, alone = cells
    p_values = {}
    for (budget, name), values in nested.items():
        p, seen = compare(values, alone[budget, name])
        p_values[budget, name] = p
        print(
            f"budget {budget} {name}: nested {values.mean():.3f}, independent "
            f"{alone[budget, name].mean():.3f}, p {p:.3f}, 90 % power to see {seen:.3f}"
        )
        if name == "score":
            assert seen <= 0.15
    for rank, p in enumerate(sorted(p_values.values())):
        assert p > ALPHA / (len(p_values) - rank), p_values


def test_the_test_sees_a_difference_where_there_is_one(cells: tuple[Cells, Cells]) -> None:
    """The same comparison across two budgets is called different: it is not blind."""
    nested, alone = cells
    for name in ("score", "thinking_tokens"):
        p, _ = compare(nested[96, name], alone[640, name])
        assert p < ALPHA / len(MEASURES), name
    assert np.isfinite(nested[96, "score"]).all()
