"""What the box model promises, measured with the shipped file on real vLLM: 200 questions it never saw."""

import math
import random
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from conftest import RunningVllm
from sweeping import read_openings, sweep_all_on

from qwen3_eval.chat import STOP_TEXTS, Chat, load_chat
from qwen3_eval.data import DataSource
from qwen3_eval.model.nano_lessons import draw_dialogue
from qwen3_eval.plan import Plan, Questions
from qwen3_eval.report.tables import summarize
from qwen3_eval.score import read_records, score_answers
from qwen3_eval.store import Store
from qwen3_eval.subset import select
from qwen3_eval.task import Asking, load_task
from qwen3_eval.types import NON_THINKING, THINKING, Sampling

pytestmark = pytest.mark.slow

BUDGETS = (1024, 4096, 8192, math.inf)
GREEDY = {THINKING: Sampling(), NON_THINKING: Sampling()}
QWEN3 = {
    THINKING: Sampling(temperature=0.6, top_p=0.95, top_k=20),
    NON_THINKING: Sampling(temperature=0.7, top_p=0.8, top_k=20, presence_penalty=1.5),
}


@pytest.fixture(scope="module")
def chat(nano: Path) -> Chat:
    return load_chat(str(nano))


@pytest.fixture(scope="module")
def runs(vllm: RunningVllm, chat: Chat, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The run folder of each kind of sampling, swept at once."""
    task = load_task("chain")
    plan = Plan(
        questions=[Questions("chain", select(task.load(Asking(DataSource())).made, 200), 1, 9000)],
        modes=(THINKING, NON_THINKING),
        budgets=BUDGETS,
        sampling=GREEDY,
        strategy="nested",
        stop_ids=chat.encode(STOP_TEXTS["docs"]),
        max_answer_tokens=256,
        seed=0,
        concurrency=128,
    )
    folders = {name: tmp_path_factory.mktemp(name) for name in ("greedy", "qwen3")}
    plans = {folders["greedy"]: plan, folders["qwen3"]: replace(plan, sampling=QWEN3)}
    sweep_all_on(vllm, chat, plans)
    return folders


@pytest.fixture(scope="module", params=["greedy", "qwen3"])
def records(request: pytest.FixtureRequest, runs: dict[str, Path], chat: Chat) -> pd.DataFrame:
    with Store.open(runs[request.param]) as store:
        score_answers(store, {"chain": load_task("chain").score}, chat.decoder)
        return read_records(store, BUDGETS)


def test_the_curve_rises(records: pd.DataFrame) -> None:
    """Score rises from 1k to 4k to 8k, with the 95 % intervals of 1k and 8k apart; at `inf` it is 0.95."""
    rows = summarize(records)
    print(rows[["mode", "budget", "score", "ci_low", "ci_high", "forced", "no_answer"]].to_string())
    at = {row["budget"]: row for row in rows.to_dict("records") if row["mode"] == THINKING}
    assert at[1024]["score"] < at[4096]["score"] < at[8192]["score"]
    assert at[1024]["ci_high"] < at[8192]["ci_low"]
    assert at[math.inf]["score"] >= 0.95


def test_without_thinking_it_does_not_solve_chain(records: pd.DataFrame) -> None:
    """Non-thinking scores at most 0.15: the curve is made by thinking."""
    assert records.loc[records["mode"] == NON_THINKING, "score"].mean() <= 0.15


def test_a_forced_end_is_answered_in_the_asked_form(records: pd.DataFrame) -> None:
    """At least 99 % of the answers after a cut hold a box."""
    forced = records[records["forced"]]
    assert len(forced) >= 50
    assert (forced["outcome"] != "no_answer").mean() >= 0.99


@pytest.mark.parametrize("sampling", [Sampling(), QWEN3[THINKING]], ids=["greedy", "qwen3"])
def test_the_last_switch_is_obeyed(vllm: RunningVllm, chat: Chat, sampling: Sampling) -> None:
    """In at least 98 % of 400 dialogues of up to eight turns, it thinks exactly where it was told to."""
    rng = random.Random("switches that training never drew")
    dialogues = [d for d in (draw_dialogue(rng) for _ in range(600)) if d.enable_thinking][:400]
    assert len(dialogues) == 400
    opening = read_openings(vllm, chat, dialogues, sampling)
    asked = ["<think>\n" + ("" if d.think else "\n</think>") for d in dialogues]
    right = [
        text.startswith(want) and text.startswith("<think>\n\n") != d.think
        for text, want, d in zip(opening, asked, dialogues, strict=True)
    ]
    obeyed = sum(right) / len(right)
    print(f"obeyed {obeyed:.4f}")
    assert obeyed >= 0.98
