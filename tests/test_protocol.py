"""`protocol=qwen3-report`: what it sets, what wins over it, and that every departure is told and kept."""

import asyncio
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from sweeping import Silent

from qwen3_eval.chat import STOP_TEXTS, load_chat
from qwen3_eval.checkpoint import locate_checkpoint
from qwen3_eval.cli import compose_config
from qwen3_eval.config import SweepConfig
from qwen3_eval.engine.scripted import ScriptedEngine
from qwen3_eval.errors import ConfigError
from qwen3_eval.plan import Plan, Questions
from qwen3_eval.score import read_records, score_answers
from qwen3_eval.store import Store
from qwen3_eval.study import read_study
from qwen3_eval.sweep import run_sweep
from qwen3_eval.types import NON_THINKING, THINKING, Message, Sample, Sampling, Verdict

REPORT = "protocol=qwen3-report"
SCRIPTED = "engine=scripted"


def compose(*settings: str) -> SweepConfig:
    return compose_config("sweep", SweepConfig, settings)


def departures(*settings: str) -> list[str]:
    return list(read_study(compose(REPORT, SCRIPTED, *settings)).departures)


def test_it_sets_what_section_4_6_says() -> None:
    """T 0.6, top-p 0.95, top-k 20; 0.7, 0.8, 20, presence 1.5; the report's stop text; one output limit."""
    config = compose(REPORT)
    assert config.sampling.thinking == {"temperature": 0.6, "top_p": 0.95, "top_k": 20}
    assert config.sampling.non_thinking == {
        "temperature": 0.7, "top_p": 0.8, "top_k": 20, "presence_penalty": 1.5,
    }  # fmt: skip
    study = read_study(compose(REPORT, SCRIPTED, "budget=1k"))
    assert (study.stop_text, config.max_answer_tokens) == (STOP_TEXTS["report"], None)
    assert study.departures == ()


def test_a_setting_of_the_user_wins_and_is_told() -> None:
    """Each line names the setting, its value and the report's; a task's own departures follow."""
    told = departures(
        "budget=1k", "sampling.thinking.temperature=1", "max_answer_tokens=64", "stop_text=docs", "limit=3",
        "repeats=2", "mode=thinking",
    )  # fmt: skip
    assert told == [
        "sampling.thinking.temperature=1: the report has 0.6",
        "max_answer_tokens=64: in the report an answer has what the thinking leaves of the output limit "
        "(max_answer_tokens=null)",
        "stop_text=docs: the report's own is stop_text=report",
        "limit=3: the report asks every question, or a tenth of the multilingual ones",
        "repeats=2 answers: chain takes 1 to each question",
    ]


def test_ruler_is_held_to_its_own_budget_and_context(data_root: Path) -> None:
    """A thinking budget of 8,192 and YaRN by 4; an option beside its default is told too."""
    told = departures(
        "budget=64,8k", "task=ruler", "options.ruler.lengths=[2k]", "options.ruler.names=[vt]",
        "engine.max_model_len=16384",
    )  # fmt: skip
    assert "engine.yarn_factor=1: the report's RULER has a factor of 4" in told
    assert "budget=64: the report's RULER has a thinking budget of 8k" in told
    assert any(line.startswith("options.ruler.names=('vt',): by default") for line in told)
    assert any(line.startswith("ruler: RULER begins the answer itself") for line in told)


def test_departures_are_printed_and_stored(tmp_path: Path) -> None:
    """On the terminal before the engine starts, and in run.json."""
    done = subprocess.run(
        [sys.executable, "-m", "qwen3_eval", "sweep", REPORT, SCRIPTED, "limit=2", f"run.dir={tmp_path}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    told = "limit=2: the report asks every question, or a tenth of the multilingual ones"
    assert f"protocol=qwen3-report, departures:\n  {told}\n" in done.stderr
    assert done.stderr.index(told) < done.stderr.index("starting scripted")
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["protocol"] == {"name": "qwen3-report", "departures": [told]}


def test_an_unknown_protocol_is_refused() -> None:
    """With the nearest known one."""
    with pytest.raises(ConfigError, match="unknown protocol 'qwen3-raport'; did you mean 'qwen3-report'"):
        compose("protocol=qwen3-raport")


def test_a_budget_must_leave_something_of_the_output_limit() -> None:
    """Thinking and answer share it: a budget as large as all of it could never be answered from."""
    with pytest.raises(ConfigError, match=r"budget=1k leaves no token for an answer.*'chain' share 1024"):
        read_study(compose(REPORT, SCRIPTED, "budget=1k", "max_output_tokens=1024"))


def test_an_answer_has_what_the_thinking_leaves(tmp_path: Path) -> None:
    """An output limit of 100, thinking of 60 ids: answers get 100 - 20 behind a forced end at 20, 100 - 60
    behind the natural one, 100 without thinking; and what hits the limit is truncated."""
    chat = load_chat(locate_checkpoint("box:nano").path)
    sample = Sample("toy/0", (Message("user", "?"),), "x")
    thinking = (chat.think_open_id, *[65] * 60, chat.think_close_id, *[66] * 200)
    plan = Plan(
        questions=[Questions("toy", [sample], 1, 100)], modes=(THINKING, NON_THINKING),
        budgets=(20, math.inf), sampling={THINKING: Sampling(), NON_THINKING: Sampling()},
        strategy="nested", stop_ids=chat.encode("</think>"), max_answer_tokens=None, seed=0, concurrency=1,
    )  # fmt: skip
    asked = chat.render(sample.messages, THINKING).ids
    engine = ScriptedEngine(lambda prompt: thinking if prompt == asked else [66] * 200)
    with Store.open(tmp_path, create=True) as store:
        store.start_session(engine.describe())
        asyncio.run(run_sweep(plan, chat, engine, store, Silent()))
        score_answers(store, {"toy": lambda sample, answer: Verdict.correct(answer)}, chat.decoder)
        records = read_records(store, [20, math.inf]).to_dict("records")
    found = {(r["mode"], r["budget"]): (r["thinking_tokens"], r["answer_tokens"]) for r in records}
    assert found == {
        ("thinking", 20): (20, 80), ("thinking", math.inf): (60, 40), ("non-thinking", 0): (0, 100),
    }  # fmt: skip
    assert all(record["truncated"] for record in records)


def test_yarn_stretches_the_context_that_settings_are_checked_against() -> None:
    """nano's 16,384 positions become 32,768: a budget of 20k fits then; a scripted engine has none."""
    with pytest.raises(ConfigError, match="the context of model 'box:nano' is 16384"):
        read_study(compose("budget=20k", "task=chain"))
    study = read_study(compose("budget=20k", "task=chain", "engine.yarn_factor=2"))
    assert study.budgets == (20_480,)
    with pytest.raises(ConfigError, match=r"engine.yarn_factor=2 is of engine=vllm and engine=torch"):
        read_study(compose("budget=1k", "engine=scripted", "engine.yarn_factor=2"))
    with pytest.raises(ConfigError, match=r"engine.yarn_factor=0.5 is not allowed; give 1 or more"):
        read_study(compose("budget=1k", "engine.yarn_factor=0.5"))
