"""Sweeps whose answers are programs: canonical solutions are right at every budget and in every mode."""

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from sweeping import Silent

from qwen3_eval.chat import STOP_TEXTS, load_chat
from qwen3_eval.checkpoint import locate_checkpoint
from qwen3_eval.data import DataSource
from qwen3_eval.engine.scripted import ScriptedEngine
from qwen3_eval.errors import EngineError, SandboxError
from qwen3_eval.plan import Plan, Questions
from qwen3_eval.report.tables import summarize
from qwen3_eval.run import scoring_along
from qwen3_eval.sandbox import Sandbox
from qwen3_eval.score import read_records, score_answers
from qwen3_eval.scoring.code import use_sandbox
from qwen3_eval.store import Store
from qwen3_eval.subset import select
from qwen3_eval.sweep import run_sweep
from qwen3_eval.task import Asking, load_task
from qwen3_eval.types import BASE, NON_THINKING, THINKING, Sample, Sampling, Verdict

N_QUESTIONS = 60  # of each task
BUDGETS = (20, 1000, math.inf)
MODES = (THINKING, NON_THINKING, BASE)


@pytest.mark.slow
def test_canonical_solutions_score_1_at_every_budget(data_root: Path, tmp_path: Path) -> None:
    """All five tasks, forced, natural and without thinking, and as a base model goes on from the prompt.

    A model that writes each problem's canonical solution, scripted; `evalplus` shows its four parts.
    """
    chat = load_chat(locate_checkpoint("box:nano").path)
    asking = Asking(DataSource(data_root), base=True)
    names = ("humaneval", "humaneval_plus", "mbpp", "mbpp_plus", "evalplus")
    questions = {name: select(load_task(name).load(asking).made, N_QUESTIONS) for name in names}
    answers: dict[str, str] = {}
    for samples in questions.values():
        for sample in samples:
            problem = sample.metadata["problem"]
            program = problem["prompt"] + sample.target if "def " in problem["prompt"] else sample.target
            answers[sample.messages[0].content] = f"Here it is:\n```python\n{program}\n```\n<|im_end|>"
    replies = {
        chat.render(sample.messages, mode).ids: chat.encode(
            ("<think>\nA line of thought.\n</think>\n\n" if mode == THINKING else "")
            + answers[sample.messages[0].content]
        )
        for samples in questions.values() for sample in samples for mode in (THINKING, NON_THINKING)
    }  # fmt: skip
    plain = {
        chat.encode(sample.completion.prompt): chat.encode(f"{sample.target}\nif __name__ == '__main__':\n")
        for samples in questions.values() for sample in samples if sample.completion is not None
    }  # fmt: skip

    def script(prompt: tuple[int, ...]) -> Sequence[int]:
        if prompt in plain:
            return plain[prompt]
        if prompt in replies:
            return replies[prompt]
        # What is asked behind a stop text goes on from a prompt of this model's.
        asked = next(known for known in replies if prompt[: len(known)] == known)
        return chat.encode(
            chat.decoder.decode(replies[asked], keep_special=True).rpartition("</think>\n\n")[2]
        )

    plan = Plan(
        questions=[Questions(name, samples, 1, 9000) for name, samples in questions.items()], modes=MODES,
        budgets=BUDGETS, sampling=dict.fromkeys(MODES, Sampling()), strategy="nested",
        stop_ids=chat.encode(STOP_TEXTS["docs"]), max_answer_tokens=9000, seed=0, concurrency=8,
    )  # fmt: skip
    engine = ScriptedEngine(script)
    try:
        sandbox = Sandbox()
    except SandboxError as error:
        pytest.skip(f"no wall on this machine: {error}")
    with sandbox, Store.open(tmp_path, create=True) as store:
        use_sandbox(sandbox)
        try:
            store.start_session(engine.describe())
            asyncio.run(run_sweep(plan, chat, engine, store, Silent()))
            score_answers(store, {name: load_task(name).score for name in names}, chat.decoder)
            records = read_records(store, BUDGETS)
        finally:
            use_sandbox(None)
    wrong = records[records["outcome"] != "correct"]
    assert wrong.empty, wrong[["sample_id", "mode", "budget", "reason"]].to_string()
    assert records["forced"].sum() == 5 * N_QUESTIONS  # the smallest budget cuts every thought
    assert records["reason"].str.endswith(f"[{sandbox.tier}]").all()
    tasks = {"evalplus": {"metric": "pass@1", "average": "groups"}}
    of_all = summarize(records, tasks=tasks).query("task == 'evalplus'")
    assert set(of_all["group"]) == {"", "humaneval", "humaneval_plus", "mbpp", "mbpp_plus"}
    assert set(of_all["score"]) == {1.0}


def test_programs_are_judged_while_others_are_generated(tmp_path: Path) -> None:
    """Verdicts come in before the last answer is there, every one is given, and an error ends both sides."""
    from test_sweep import ToyModel, plan_for

    chat = load_chat(locate_checkpoint("box:nano").path)
    model = ToyModel(chat, [5] * 12, ["closed"] * 12)
    plan = plan_for(model, [20], concurrency=1)
    seen_at: list[int] = []

    async def sweep(store: Store, failures: dict[int, Exception]) -> None:
        engine = ScriptedEngine(model, delay_s=0.06, failures=failures)

        def judge(sample: Sample, answer: str) -> Verdict:
            seen_at.append(len(engine.calls))
            return Verdict.correct(answer)

        async with scoring_along(store, {"toy": judge}, chat.decoder):
            await run_sweep(plan, chat, engine, store, Silent())

    with Store.open(tmp_path / "a", create=True) as store:
        store.start_session({})
        asyncio.run(sweep(store, {}))
        assert 0 < min(seen_at) < 40, "the first verdict waited for the end of generation"
        left = score_answers(store, {"toy": lambda sample, answer: Verdict.correct(answer)}, chat.decoder)
        assert len(seen_at) + left == 24
        assert set(read_records(store, [20])["outcome"]) == {"correct"}
    with Store.open(tmp_path / "b", create=True) as store:
        store.start_session({})
        with pytest.raises(EngineError, match="gone"):
            asyncio.run(sweep(store, {7: EngineError("gone")}))
