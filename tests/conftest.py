"""Fixtures that several test modules share: the box model, and one vLLM engine on it for the whole session.

Starting vLLM takes half a minute, so every test that needs the real engine uses the same one. It belongs to
the event loop that it was started in; that loop runs in a thread of its own, and `vllm.run(coroutine)`
hands a coroutine to it from any test.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any, TypeVar

import pytest

from qwen3_eval.chat import STOP_TEXTS
from qwen3_eval.engine.vllm import VllmEngine
from qwen3_eval.engine.vllm_start import start_vllm
from qwen3_eval.errors import SandboxError
from qwen3_eval.sandbox import Sandbox
from qwen3_eval.scoring import code_reference
from qwen3_eval.scoring.code import use_sandbox

T = TypeVar("T")

NANO = Path(__file__).parent.parent / "qwen3_eval" / "model" / "nano_checkpoint"


class LoopThread:
    """An event loop in a background thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="test-loop", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T], timeout_s: float = 600) -> T:
        """Runs `coroutine` in the loop and returns its result, or raises what it raised."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout_s)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass(frozen=True)
class RunningVllm:
    """A started engine and the loop it lives in."""

    engine: VllmEngine
    loop: LoopThread

    def run(self, coroutine: Coroutine[Any, Any, T], timeout_s: float = 600) -> T:
        return self.loop.run(coroutine, timeout_s)


@pytest.fixture(scope="session")
def loop_thread() -> Iterator[LoopThread]:
    """An event loop in a background thread, for asynchronous code in synchronous tests."""
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture(scope="session")
def nano() -> Path:
    """The folder of the box model's checkpoint."""
    return NANO


@pytest.fixture(scope="session")
def vllm(loop_thread: LoopThread, nano: Path) -> Iterator[RunningVllm]:
    """One vLLM engine on the box model (bundled class, float32), shared by every test of the session.

    Mark tests that use it `@pytest.mark.slow`. Do not close it.
    """
    if util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed (pip install -e '.[cpu]')")
    from vllm.config import ReasoningConfig

    # vLLM's own thinking budget is off unless a request asks for it; one test compares ours with it.
    own_budget = {
        "skip_tokenizer_init": False,
        "reasoning_parser": "qwen3",
        "reasoning_config": ReasoningConfig(
            reasoning_start_str="<think>", reasoning_end_str=STOP_TEXTS["docs"]
        ),
    }
    extra = {"kv_cache_memory_bytes": 2 * 1024**3, **own_budget}
    engine = loop_thread.run(start_vllm(str(nano), extra=extra))
    yield RunningVllm(engine, loop_thread)
    loop_thread.run(engine.close())


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The local mirror of benchmark rows; tests that need it skip where it is absent."""
    root = Path(os.environ.get("QWEN3_EVAL_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no benchmark rows at {root}; set QWEN3_EVAL_DATA to a local mirror")
    return root


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """The sandbox that all scorers use, and a cache of expected outputs that is empty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(code_reference, "_known", {})
        try:
            started = Sandbox(workers=2)
        except SandboxError as error:
            pytest.skip(str(error))
        with started:
            use_sandbox(started)
            yield started
            use_sandbox(None)
