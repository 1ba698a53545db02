"""The torch engine: batches of whatever waits, each request as if it were alone."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from qwen3_eval.engine.torch import TorchEngine, start_torch
from qwen3_eval.errors import EngineError
from qwen3_eval.types import Generation, Sampling

T = TypeVar("T")
PROMPTS = [[(7 * i + j) % 200 for j in range(5 + 11 * i)] for i in range(6)]
SAMPLED = Sampling(temperature=1.0)


@pytest.fixture
def engine(nano: Path) -> Iterator[TorchEngine]:
    engine = start_torch(nano, device="cpu", max_batch_size=4)
    yield engine
    asyncio.run(engine.close())


def ask(
    engine: TorchEngine, prompt: list[int], max_tokens: int = 12, sampling: Sampling = SAMPLED, seed: int = 5
) -> Awaitable[Generation]:
    return engine.generate(prompt, max_tokens, frozenset(), sampling, seed)


def run(make: Callable[[], Awaitable[T]]) -> T:
    async def main() -> T:
        return await make()

    return asyncio.run(main())


def test_requests_together_get_what_each_gets_alone(engine: TorchEngine) -> None:
    """Ids of sampled requests do not depend on the batch that they ran in (float32, short outputs)."""
    together = run(lambda: asyncio.gather(*[ask(engine, prompt) for prompt in PROMPTS]))
    alone = [run(lambda prompt=prompt: ask(engine, prompt)) for prompt in PROMPTS]  # type: ignore[misc]  # a default argument binds the loop variable
    assert [reply.token_ids for reply in together] == [reply.token_ids for reply in alone]


def test_each_request_keeps_its_own_limit_and_stop(engine: TorchEngine) -> None:
    """max_tokens is exact per request, and a stop token ends only the request that named it."""

    async def main() -> tuple[Generation, Generation, Generation]:
        free = await ask(engine, PROMPTS[1], 12)
        stop = frozenset({free.token_ids[4]})
        short, stopped = await asyncio.gather(
            ask(engine, PROMPTS[1], 3), engine.generate(PROMPTS[1], 12, stop, SAMPLED, 5)
        )
        return free, short, stopped

    free, short, stopped = asyncio.run(main())
    assert (short.token_ids, short.finish_reason) == (free.token_ids[:3], "length")
    end = free.token_ids.index(free.token_ids[4]) + 1
    assert (stopped.token_ids, stopped.finish_reason) == (free.token_ids[:end], "stop")


def test_the_event_loop_runs_on_while_a_batch_runs(engine: TorchEngine) -> None:
    """Other coroutines get their turns during a generation."""

    async def main() -> int:
        request = asyncio.ensure_future(ask(engine, PROMPTS[0], 100))
        turns = 0
        while not request.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert asyncio.run(main()) > 100


def test_a_cancelled_request_leaves_the_engine_serving(engine: TorchEngine) -> None:
    """Cancelling one request of a batch neither fails its neighbours nor the requests after it."""

    async def main() -> tuple[Generation, Generation]:
        doomed, neighbour = (asyncio.ensure_future(ask(engine, PROMPTS[0], 60)) for _ in range(2))
        await asyncio.sleep(0.02)
        doomed.cancel()
        return await neighbour, await ask(engine, PROMPTS[0], 60)

    neighbour, later = asyncio.run(main())
    assert len(neighbour.token_ids) == 60
    assert neighbour.token_ids == later.token_ids


def test_a_request_beyond_the_context_is_refused(nano: Path) -> None:
    """The message names max_model_len, and the engine takes the longest request that fits."""

    async def main() -> int:
        engine = start_torch(nano, device="cpu", max_model_len=16)
        with pytest.raises(EngineError, match=r"needs 17 positions, but engine\.max_model_len is 16"):
            await ask(engine, [1] * 10, 7)
        longest = await ask(engine, [1] * 10, 6)
        await engine.close()
        return len(longest.token_ids)

    assert asyncio.run(main()) == 6


def test_a_context_beyond_the_models_is_refused(nano: Path) -> None:
    """max_model_len past the model's positions is an error that says how far it may go."""
    with pytest.raises(EngineError, match="positions that the model was made for"):
        start_torch(nano, device="cpu", max_model_len=10**6)


def test_a_failing_batch_fails_its_requests_and_not_the_engine(
    engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes wrong in a batch is an EngineError with its cause; the next request is served."""

    async def main() -> Generation:
        with monkeypatch.context() as patch:
            patch.setattr(engine, "_run", lambda batch: 1 / 0)
            with pytest.raises(EngineError, match="cannot serve a batch: ZeroDivisionError"):
                await ask(engine, PROMPTS[0])
        return await ask(engine, PROMPTS[0])

    assert len(asyncio.run(main()).token_ids) == 12


def test_an_id_outside_the_vocabulary_is_refused(engine: TorchEngine) -> None:
    """The message names the id and the range."""
    with pytest.raises(EngineError, match="token id 1000000, but the model's ids are 0 to"):
        run(lambda: ask(engine, [1, 10**6]))


def test_closing_fails_what_still_waits_and_ends_the_thread(nano: Path) -> None:
    """No caller waits for ever, no worker thread stays, and a closed engine says so."""

    async def main() -> TorchEngine:
        engine = start_torch(nano, device="cpu", max_batch_size=1)
        running, waiting = (asyncio.ensure_future(ask(engine, PROMPTS[0], 60)) for _ in range(2))
        await asyncio.sleep(0.05)
        await engine.close()
        await engine.close()
        assert len((await running).token_ids) == 60
        with pytest.raises(EngineError, match="closed"):
            await waiting
        with pytest.raises(EngineError, match="closed"):
            await ask(engine, PROMPTS[0])
        return engine

    assert not asyncio.run(main())._worker.is_alive()
