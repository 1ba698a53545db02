"""Memory of the driver at 100,000 completions: a sweep, its scoring and its summary, in this process.

The engine is a stand-in that returns ids at once, so this takes minutes instead of days. Its thinking never
closes: every question is cut at all eight budgets and answered eight times, which is the most a sweep can
have to keep. Its ids are spread over a vocabulary of Qwen3's size, as objects of their own, as vLLM's would
be. vLLM's front end, which shares the driver's process in a real sweep, is imported first and counted.
"""

import asyncio
import resource
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measure import BUDGETS, NANO, Tally, make_plan, print_target
from qwen3_eval.tasks.chain import question_text, questions

from qwen3_eval.chat import load_chat
from qwen3_eval.report.tables import summarize
from qwen3_eval.score import read_records, score_answers
from qwen3_eval.store import Store
from qwen3_eval.sweep import run_sweep
from qwen3_eval.task import load_task
from qwen3_eval.types import Generation, Message, Sample, Sampling

N_COMPLETIONS = 100_000
TARGET_GB = 1.0
LOWEST_ID = 1_000  # of what the stand-in thinks; the box model's own ids are all below


class InstantEngine:
    """Thinks without end, from a fixed pool of ids, and answers always the same."""

    name = "instant"
    max_model_len = 40_960

    def __init__(self, open_id: int, close_id: int, answer: tuple[int, ...]) -> None:
        self._open_id = open_id
        self._close_id = close_id
        self._answer = answer
        self._pool = np.random.default_rng(0).integers(LOWEST_ID, 151_000, 65_536)

    def describe(self) -> Mapping[str, Any]:
        return {"engine": self.name, "reproducible": True, "reproducible_because": "it is a constant"}

    async def generate(
        self,
        prompt_ids: Sequence[int],
        max_tokens: int,
        stop_token_ids: frozenset[int],
        sampling: Sampling,
        seed: int,
    ) -> Generation:
        await asyncio.sleep(0)  # others run while a request is out
        if self._close_id not in stop_token_ids:
            return Generation(self._answer, "stop")
        start = seed % (len(self._pool) - max_tokens)
        ids = self._pool[start : start + max_tokens].tolist()
        if prompt_ids[-1] < LOWEST_ID:  # no thinking yet: the prompt is text of the box model
            ids[0] = self._open_id
        return Generation(tuple(ids), "length")

    async def close(self) -> None: ...


def main() -> None:
    import vllm.v1.engine.async_llm  # noqa: F401  # its code is part of the driver

    began = time.perf_counter()
    chat = load_chat(NANO)
    samples = [
        Sample(f"chain/{i}", (Message("user", question_text(question)),), str(question.answer))
        for i, question in enumerate(questions(N_COMPLETIONS // len(BUDGETS), seed=1))
    ]
    plan = make_plan(chat, samples, BUDGETS)
    answer = (*chat.encode(r"\boxed{123}"), min(chat.eos_ids))
    engine = InstantEngine(chat.think_open_id, chat.think_close_id, answer)
    print(f"driver memory: {len(samples):,} questions, {len(BUDGETS)} budgets; with vLLM imported")
    print_peak("before the sweep")
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder), create=True) as store:
        store.start_session(engine.describe())
        asyncio.run(run_sweep(plan, chat, engine, store, Tally()))
        print_peak("after the sweep")
        n = score_answers(store, {"chain": load_task("chain").score}, chat.decoder)
        print_peak(f"after scoring {n:,} answers")
        summary = summarize(read_records(store, BUDGETS))
        print_peak(f"after a summary of {len(summary)} rows")
        size = (Path(folder) / "run.db").stat().st_size
        tokens = sum(row["n"] for row in store.query("SELECT SUM(tokens) AS n FROM generations"))
        print(f"  run.db {size / 1e6:,.0f} MB, {size / tokens:.2f} bytes a token")
    print(f"  {time.perf_counter() - began:.0f} s in all")
    assert n == N_COMPLETIONS
    print_target("peak of the driver at 100,000 completions", peak_gb(), TARGET_GB, " GB")


def peak_gb() -> float:
    """Returns the most memory that this process has held, in GB (10**9 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def print_peak(when: str) -> None:
    print(f"  {when:<44} {peak_gb():6.3f} GB", flush=True)


if __name__ == "__main__":
    main()
