"""The vLLM engine's promises, on the real vLLM and the box model.

Starting vLLM takes half a minute, so most tests share the session's engine. Those of the second half start
engines of their own, because they end them.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tokenizers import Tokenizer

from qwen3_eval.engine.vllm import VllmEngine, sampling_params
from qwen3_eval.engine.vllm_log import explain_fault
from qwen3_eval.engine.vllm_start import start_vllm
from qwen3_eval.errors import EngineError
from qwen3_eval.types import Generation, Sampling

if TYPE_CHECKING:
    from conftest import LoopThread, RunningVllm

pytestmark = pytest.mark.skipif(util.find_spec("vllm") is None, reason="vLLM is not installed")

NONE: frozenset[int] = frozenset()
GREEDY = Sampling()
SAMPLED = Sampling(temperature=0.6, top_p=0.95, top_k=20)
SMALL_CACHE = {"kv_cache_memory_bytes": 512 * 1024**2}


def prompts(n: int, seed: int = 0) -> list[list[int]]:
    """Returns n prompts of 20 to 300 random bytes."""
    rng = random.Random(seed)
    return [[rng.randrange(256) for _ in range(rng.randrange(20, 300))] for _ in range(n)]


PROMPT = prompts(1)[0]


@pytest.mark.slow
@pytest.mark.parametrize("max_tokens", [1, 7, 130])
def test_exactly_max_tokens_come_back(vllm: "RunningVllm", max_tokens: int) -> None:
    """Without a stop token a request ends by length, with max_tokens ids, across cache blocks too."""
    reply = vllm.run(vllm.engine.generate(PROMPT, max_tokens, NONE, SAMPLED, 1))
    assert (len(reply.token_ids), reply.finish_reason) == (max_tokens, "length")


@pytest.mark.slow
def test_a_stop_token_ends_the_reply_and_is_in_it(vllm: "RunningVllm") -> None:
    """The reply is the unstopped one up to and with the first stop token."""
    free = vllm.run(vllm.engine.generate(PROMPT, 30, NONE, Sampling(temperature=2.0), 1)).token_ids
    stop = free[11]
    reply = vllm.run(vllm.engine.generate(PROMPT, 30, frozenset({stop}), Sampling(temperature=2.0), 1))
    assert reply.finish_reason == "stop"
    assert reply.token_ids == free[: free.index(stop) + 1]


@pytest.mark.slow
def test_only_the_callers_stop_tokens_stop(vllm: "RunningVllm", nano: Path) -> None:
    """The checkpoint's own end of turn, which its generation_config lists, passes like any other token.

    A frequency penalty that grows with every repetition brings each id of the small vocabulary up in time.
    """
    tokenizer = Tokenizer.from_file(str(nano / "tokenizer.json"))
    text = "<|im_start|>user\nHello.<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    end_of_turn = tokenizer.token_to_id("<|im_end|>")
    assert end_of_turn in json.loads((nano / "generation_config.json").read_text())["eos_token_id"]
    penalised = Sampling(frequency_penalty=2.0)
    reply = vllm.run(vllm.engine.generate(tokenizer.encode(text).ids, 3000, NONE, penalised, 0))
    assert len(reply.token_ids) == 3000
    assert end_of_turn in reply.token_ids[:-1]


@pytest.mark.slow
def test_a_prefix_is_read_from_the_cache(vllm: "RunningVllm") -> None:
    """The second request with the same 300 ids reuses its two full blocks of 128."""
    rng = random.Random(time.time())
    prompt = [rng.randrange(256) for _ in range(300)]
    first = vllm.run(vllm.engine.generate(prompt, 4, NONE, GREEDY, 0))
    second = vllm.run(vllm.engine.generate(prompt, 4, NONE, GREEDY, 0))
    assert (first.cached_tokens, second.cached_tokens) == (0, 256)
    assert first.token_ids == second.token_ids


@pytest.mark.slow
@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_ids_repeat_at_any_concurrency(vllm: "RunningVllm", sampling: Sampling) -> None:
    """On a CPU in float32 a request gives the same ids alone, among others, and after a cache hit."""
    asked = prompts(8, seed=3)

    async def ask(index: int) -> tuple[int, ...]:
        return (await vllm.engine.generate(asked[index], 60, NONE, sampling, 17 * index)).token_ids

    async def one_by_one() -> list[tuple[int, ...]]:
        return [await ask(index) for index in range(len(asked))]

    async def together() -> list[tuple[int, ...]]:
        return list(await asyncio.gather(*[ask(index) for index in range(len(asked))]))

    assert vllm.engine.describe()["reproducible"] is True
    assert vllm.run(one_by_one()) == vllm.run(together())


@pytest.mark.slow
def test_the_seed_decides_a_sampled_reply(vllm: "RunningVllm") -> None:
    """Another seed gives other ids."""
    hot = Sampling(temperature=2.0)
    first, second = (vllm.run(vllm.engine.generate(PROMPT, 40, NONE, hot, seed)) for seed in (1, 2))
    assert first.token_ids != second.token_ids


@pytest.mark.slow
def test_seeded_prompts_beyond_one_step_are_served(vllm: "RunningVllm") -> None:
    """Seeded requests whose prompts together exceed a step's tokens do not kill vLLM's CPU worker."""
    rng = random.Random(9)
    asked = [[rng.randrange(256) for _ in range(3000)] for _ in range(8)]

    async def together() -> list[Generation]:
        return list(
            await asyncio.gather(
                *[vllm.engine.generate(prompt, 2, NONE, SAMPLED, i) for i, prompt in enumerate(asked)]
            )
        )

    assert [len(reply.token_ids) for reply in vllm.run(together())] == [2] * 8


@pytest.mark.slow
def test_top_k_one_is_greedy(vllm: "RunningVllm") -> None:
    """Sampling parameters reach vLLM's sampler: the one likeliest id is what greedy takes."""
    greedy = vllm.run(vllm.engine.generate(PROMPT, 20, NONE, GREEDY, 0))
    one = vllm.run(vllm.engine.generate(PROMPT, 20, NONE, Sampling(temperature=1.0, top_k=1), 0))
    assert greedy.token_ids == one.token_ids


def test_every_sampling_parameter_goes_through() -> None:
    """Each field of Sampling has its counterpart in vLLM's SamplingParams; greedy needs no seed."""
    sampling = Sampling(0.7, 0.8, 20, 0.05, 1.5, 0.25, 1.1)
    params = sampling_params(10, frozenset({3, 1}), sampling, 42)
    assert {name: getattr(params, name) for name in sampling.as_dict()} == sampling.as_dict()
    assert (params.seed, params.stop_token_ids, params.ignore_eos) == (42, [1, 3], True)
    assert sampling_params(10, NONE, GREEDY, 42).seed is None


@pytest.mark.slow
def test_what_does_not_fit_is_refused_before_it_is_sent(vllm: "RunningVllm") -> None:
    """Too long, empty and tokenless requests raise EngineError, and the engine serves on."""
    limit = vllm.engine.max_model_len
    for prompt, max_tokens, message in [
        (PROMPT, limit, f"engine.max_model_len is {limit}"),
        ([], 5, "holds no tokens"),
        (PROMPT, 0, "max_tokens is 0"),
        ([10**6], 5, "token id 1000000, but the model's ids are 0 to"),
    ]:
        with pytest.raises(EngineError, match=message):
            vllm.run(vllm.engine.generate(prompt, max_tokens, NONE, GREEDY, 0))
    with pytest.raises(EngineError, match="temperature"):
        vllm.run(vllm.engine.generate(PROMPT, 5, NONE, Sampling(temperature=50.0), 0))
    assert len(vllm.run(vllm.engine.generate(PROMPT, 2, NONE, GREEDY, 0)).token_ids) == 2


@pytest.mark.slow
def test_cancelling_aborts_the_request(vllm: "RunningVllm") -> None:
    """After a cancellation vLLM has no unfinished request, and serves the next one."""

    async def cancel_one() -> int:
        request = asyncio.ensure_future(vllm.engine.generate(PROMPT, 10_000, NONE, SAMPLED, 0))
        await asyncio.sleep(0.5)
        assert vllm.engine._llm.get_num_unfinished_requests() == 1
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        return vllm.engine._llm.get_num_unfinished_requests()

    assert vllm.run(cancel_one()) == 0
    assert len(vllm.run(vllm.engine.generate(PROMPT, 2, NONE, GREEDY, 0)).token_ids) == 2


@pytest.mark.slow
def test_the_bundled_class_is_what_runs(vllm: "RunningVllm") -> None:
    """The worker names the class it loaded, and it is ours, in float32 as the checkpoint is stored."""
    facts = vllm.engine.describe()
    assert facts["model_class"] == "qwen3_eval.model.vllm_qwen3.Qwen3EvalForCausalLM"
    assert (facts["impl"], facts["dtype"]) == ("bundled", "float32")


def test_a_context_beyond_the_models_is_refused(nano: Path, loop_thread: "LoopThread") -> None:
    """max_model_len past the model's positions names the setting, before any process starts."""
    with pytest.raises(EngineError, match=r"engine\.max_model_len is beyond what the model was made for"):
        loop_thread.run(start_vllm(str(nano), max_model_len=10**6))


def test_an_unregistered_plugin_is_told(
    nano: Path, loop_thread: "LoopThread", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the project is not installed, or VLLM_PLUGINS leaves it out, the message says what to do."""
    with monkeypatch.context() as patch:
        patch.setattr(metadata, "entry_points", lambda group: [])
        with pytest.raises(EngineError, match=r"pip install -e \."):
            loop_thread.run(start_vllm(str(nano)))
    monkeypatch.setenv("VLLM_PLUGINS", "another")
    with pytest.raises(EngineError, match="VLLM_PLUGINS='another'"):
        loop_thread.run(start_vllm(str(nano)))


def test_a_missing_vllm_names_the_extras(
    nano: Path, loop_thread: "LoopThread", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without vLLM the message gives the command that installs it, for CPU and GPU."""
    monkeypatch.setitem(sys.modules, "vllm.engine.arg_utils", None)
    with pytest.raises(EngineError, match=r"qwen3_eval\[cpu\].*qwen3_eval\[gpu\]"):
        loop_thread.run(start_vllm(str(nano)))


@pytest.mark.parametrize(
    ("cause", "setting"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "engine.max_num_seqs"),
        ("ValueError: No available memory for the cache blocks.", "engine.gpu_memory_utilization"),
        ("ValueError: ... larger than the available KV cache memory (0.1 GiB).", "engine.max_model_len"),
    ],
)
def test_the_first_traceback_of_the_log_is_the_cause(cause: str, setting: str) -> None:
    """A worker's own error wins over those of the processes that fell with it, and names its remedy."""
    stamp = "2026-01-01 00:00:00,000 7 ERROR vllm.worker: "
    log = (
        f"{stamp}failed\nTraceback (most recent call last):\n  File x\n    y\n{cause}\n"
        f"{stamp}failed\nTraceback (most recent call last):\n  File x\nException: see above\n"
    )
    message = explain_fault(RuntimeError("Engine core initialization failed."), log, "cannot start")
    assert message.startswith(f"vLLM cannot start: {cause}; ")
    assert setting in message


@pytest.mark.slow
def test_too_small_a_cache_names_the_settings(nano: Path, loop_thread: "LoopThread") -> None:
    """A failure in vLLM's own process comes back with its cause and the settings to change."""
    before = offspring()
    with pytest.raises(EngineError, match=r"cannot start: ValueError: To serve.*lower engine\.max_model_len"):
        loop_thread.run(start_vllm(str(nano), extra={"kv_cache_memory_bytes": 1024**2}))
    assert not offspring() - before, "a process of the failed engine is left"


def offspring() -> set[int]:
    """Returns the processes below this one that are vLLM's."""
    import psutil  # type: ignore[import-untyped]  # vLLM brings it; its stubs are not worth a dependency

    found = set()
    for process in psutil.Process().children(recursive=True):
        try:
            if "VLLM" in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture(scope="module")
def own(nano: Path, loop_thread: "LoopThread") -> Iterator[tuple[VllmEngine, set[int]]]:
    """An engine with vLLM's own Qwen3, and its processes. The last test that uses it ends it."""
    before = offspring()
    engine = loop_thread.run(start_vllm(str(nano), impl="vllm", extra=SMALL_CACHE))
    yield engine, offspring() - before
    loop_thread.run(engine.close())


@pytest.mark.slow
def test_greedy_ids_equal_vllms_own_qwen3(vllm: "RunningVllm", own: tuple[VllmEngine, set[int]]) -> None:
    """Bundled class and vLLM's own give the same ids, greedy, on 64 prompts of 256 tokens."""
    theirs, _ = own
    assert theirs.describe()["model_class"] == "vllm.model_executor.models.qwen3.Qwen3ForCausalLM"
    asked = prompts(64, seed=5)

    async def ask(engine: VllmEngine) -> list[tuple[int, ...]]:
        replies = await asyncio.gather(*[engine.generate(prompt, 256, NONE, GREEDY, 0) for prompt in asked])
        return [reply.token_ids for reply in replies]

    assert vllm.run(ask(vllm.engine)) == vllm.run(ask(theirs))


@pytest.mark.slow
def test_a_dead_worker_fails_its_requests_and_close_leaves_nothing(
    vllm: "RunningVllm", own: tuple[VllmEngine, set[int]]
) -> None:
    """A worker killed in mid-run raises EngineError in the waiting request; close then ends all processes."""
    engine, processes = own
    assert len(processes) >= 2, "an engine core and a worker"

    async def kill_in_mid_run() -> None:
        request = asyncio.ensure_future(engine.generate(PROMPT, 10_000, NONE, SAMPLED, 0))
        await asyncio.sleep(0.5)
        os.kill(max(processes), signal.SIGKILL)
        with pytest.raises(EngineError, match="died while it served requests"):
            await request
        await engine.close()
        with pytest.raises(EngineError, match="closed"):
            await engine.generate(PROMPT, 1, NONE, GREEDY, 0)

    vllm.run(kill_in_mid_run(), timeout_s=120)
    assert not processes & offspring()


INTERRUPTED = """
import asyncio, sys
from qwen3_eval.engine.vllm_start import start_vllm
from qwen3_eval.types import Sampling

async def main():
    engine = await start_vllm(sys.argv[1], extra={"kv_cache_memory_bytes": 2**28})
    try:
        print("serving", flush=True)
        while True:
            await engine.generate([1, 2, 3], 5000, frozenset(), Sampling(), 0)
    finally:
        await engine.close()

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.slow
def test_ctrl_c_leaves_no_process(nano: Path, tmp_path: Path) -> None:
    """Ctrl-C in the terminal, which signals the whole group, ends the run and every process of vLLM."""
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    run: subprocess.Popen[Any] = subprocess.Popen(
        [sys.executable, str(script), str(nano)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert run.stdout is not None
    assert any(line.strip() == "serving" for line in run.stdout)
    time.sleep(1)
    os.killpg(run.pid, signal.SIGINT)
    run.wait(timeout=60)
    deadline = time.monotonic() + 10
    while group_is_alive(run.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not group_is_alive(run.pid)


def group_is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
