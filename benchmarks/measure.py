"""What the benchmarks share: the questions, the engine's settings, a timed sweep, a line of results.

Nothing here asserts a time: a shared machine is as slow as its other users make it. Each script prints ratios
of walls measured in one run of it, and the target beside each.
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from qwen3_eval.budget import Ending
from qwen3_eval.chat import STOP_TEXTS, Chat
from qwen3_eval.checkpoint import locate_checkpoint
from qwen3_eval.data import DataSource
from qwen3_eval.engine.vllm import VllmEngine
from qwen3_eval.engine.vllm_start import start_vllm
from qwen3_eval.model.vllm_plugin import ARCHITECTURE
from qwen3_eval.plan import Plan, Questions
from qwen3_eval.store import Store
from qwen3_eval.subset import select
from qwen3_eval.sweep import run_sweep
from qwen3_eval.task import Asking, load_task
from qwen3_eval.types import THINKING, Budget, Generation, Sample, Sampling

NANO = locate_checkpoint("box:nano", None).path
N_QUESTIONS = 64
BUDGETS: tuple[Budget, ...] = tuple(range(512, 4097, 512))
MAX_ANSWER_TOKENS = 256
GREEDY = Sampling()
"""Greedy, so that every method generates the same tokens and the ratios compare methods, not luck."""

ENGINE: dict[str, Any] = {
    "dtype": "float32",
    "max_num_seqs": N_QUESTIONS,
    "kv_cache_memory_bytes": 1024**3,
    "enable_prefix_caching": True,
    "enable_chunked_prefill": False,
    "enforce_eager": True,
    "generation_config": "vllm",
    "hf_overrides": {"architectures": [ARCHITECTURE]},
    "seed": 0,
}
"""Every engine of a benchmark gets these, ours and the bare ones, so none wins by its settings."""


@dataclass(frozen=True)
class Run:
    """One timed run. `tokens` is all that was generated; `thinking_tokens` of them, if known, for traces.

    `driver_cpu_s` is CPU time of this process, `engine_cpu_s` that of vLLM's: where other users of the
    machine slow the wall, it tells what the work itself took.
    """

    wall_s: float
    driver_cpu_s: float
    engine_cpu_s: float
    tokens: int
    thinking_tokens: int = 0

    @property
    def answer_tokens(self) -> int:
        return self.tokens - self.thinking_tokens


@dataclass
class Tally:
    """A sweep's progress that only counts generated tokens, `<think>` and ends included."""

    thinking_tokens: int = 0
    answer_tokens: int = 0

    def on_generation(self, generation: Generation, ending: Ending | None) -> None:
        if ending is None:
            self.thinking_tokens += len(generation.token_ids)
        else:
            self.answer_tokens += len(generation.token_ids)

    def on_rollout(self, *, reused: bool) -> None: ...


class Clock:
    """Wall, CPU time of this process, and CPU time of its children, from now on, in seconds."""

    def __init__(self) -> None:
        self._began = self._now()

    def read(self) -> tuple[float, float, float]:
        wall_s, own_s, children_s = (now - began for now, began in zip(self._now(), self._began, strict=True))
        return wall_s, own_s, children_s

    def _now(self) -> tuple[float, float, float]:
        import psutil  # type: ignore[import-untyped]  # it carries no types; vLLM needs it, so it is there

        children_s = 0.0
        for child in psutil.Process().children(recursive=True):
            times = child.cpu_times()
            children_s += times.user + times.system
        return time.perf_counter(), time.process_time(), children_s


def chain_samples() -> list[Sample]:
    """Returns the first questions of `chain` in the order in which `limit=` takes them."""
    return select(load_task("chain").load(Asking(DataSource())).made, N_QUESTIONS)


def make_plan(chat: Chat, samples: Sequence[Sample], budgets: Sequence[Budget]) -> Plan:
    """Returns a nested sweep in thinking mode; with one budget it is a plain run at that budget."""
    return Plan(
        questions=[Questions("chain", samples, 1, 32_768)],
        modes=(THINKING,),
        budgets=budgets,
        sampling={THINKING: GREEDY},
        strategy="nested",
        stop_ids=chat.encode(STOP_TEXTS["docs"]),
        max_answer_tokens=MAX_ANSWER_TOKENS,
        seed=0,
        concurrency=N_QUESTIONS,
    )


class Bench:
    """One vLLM engine on the box model, and timed sweeps on it. Belongs to `runner`'s event loop."""

    def __init__(self, runner: asyncio.Runner, chat: Chat) -> None:
        self._runner = runner
        self._chat = chat
        self._folder = Path(tempfile.mkdtemp(prefix="qwen3_eval-bench-"))
        self._runs = 0
        self.engine: VllmEngine = runner.run(start_vllm(NANO, extra=ENGINE))
        self.sweep(make_plan(chat, chain_samples()[:8], (64,)))  # what is slow only once is not timed

    def sweep(self, plan: Plan) -> Run:
        """Runs a sweep into a new run folder, from an empty prefix cache."""
        return self.sweep_into(plan, self.next_folder())

    def next_folder(self) -> Path:
        self._runs += 1
        return self._folder / str(self._runs)

    def sweep_into(self, plan: Plan, folder: Path) -> Run:
        # A second run of the same questions would find the first one's blocks; no user's run does.
        self._runner.run(self.engine._llm.reset_prefix_cache())
        tally = Tally()
        clock = Clock()
        with Store.open(folder, create=True) as store:
            store.start_session(self.engine.describe())
            self._runner.run(run_sweep(plan, self._chat, self.engine, store, tally))
        return Run(*clock.read(), tally.thinking_tokens + tally.answer_tokens, tally.thinking_tokens)

    def close(self) -> None:
        self._runner.run(self.engine.close())
        shutil.rmtree(self._folder, ignore_errors=True)


def quiet_vllm() -> None:
    """Keeps a bare vLLM's log and warnings out of the results; engines of ours have a log file."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")
    os.environ.setdefault("TQDM_DISABLE", "1")


def median_wall(runs: Sequence[Run]) -> float:
    """Returns the median wall of repeated runs, in seconds."""
    return median(run.wall_s for run in runs)


def print_run(name: str, run: Run) -> None:
    """Prints one run as it ends, so that drift of the machine can be seen."""
    print(
        f"  {name:<36} {run.wall_s:7.1f} s   CPU: driver {run.driver_cpu_s:5.1f} s, engine "
        f"{run.engine_cpu_s:6.1f} s   {run.tokens:>9,} tokens",
        flush=True,
    )


def print_engine_cpu(name: str, value: float) -> None:
    """Prints the same ratio in the engine's CPU time, which other users of the machine disturb less."""
    print(f"{name + ', in CPU time of the engine':<58} {value:7.3f}", flush=True)


def print_target(name: str, value: float, target: float, unit: str = "") -> None:
    """Prints one result beside the most it should be."""
    verdict = "held" if value <= target else "MISSED"
    print(f"{name:<58} {value:7.3f}{unit}   target <= {target:.2f}{unit}   {verdict}", flush=True)
