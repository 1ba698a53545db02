"""The bundled model as an engine, for machines without vLLM and for parity with it.

Requests that wait while a batch runs become the next batch: one worker thread takes them, left-padded, to
the model's `generate`. There is no continuous batching, so a batch lasts as long as its longest request.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen3_eval.config import EngineConfig
from qwen3_eval.engine.limits import check_request
from qwen3_eval.errors import EngineError
from qwen3_eval.types import Generation, Sampling

if TYPE_CHECKING:
    from qwen3_eval.model.generate import Generated
    from qwen3_eval.model.qwen3 import Qwen3ForCausalLM


@dataclass(frozen=True)
class _Request:
    prompt_ids: tuple[int, ...]
    max_tokens: int
    stop_token_ids: frozenset[int]
    sampling: Sampling
    seed: int
    reply: "asyncio.Future[Generated]"


class TorchEngine:
    """Serves `model` in batches of at most `max_batch_size`. Belongs to the event loop that calls it."""

    name = "torch"

    def __init__(
        self,
        model: "Qwen3ForCausalLM",
        *,
        max_model_len: int | None = None,
        max_batch_size: int = 32,
        prefill_chunk_tokens: int = EngineConfig.prefill_chunk_tokens,
    ) -> None:
        context = model.config.context
        if max_model_len is not None and max_model_len > context:
            raise EngineError(
                f"engine.max_model_len={max_model_len} is beyond the {context} positions that the model was "
                f"made for; set it to at most {context}"
            )
        if max_batch_size < 1:
            raise EngineError(f"engine.max_num_seqs is {max_batch_size}; a batch holds at least one request")
        if prefill_chunk_tokens < 1:
            raise EngineError(
                f"engine.prefill_chunk_tokens is {prefill_chunk_tokens}; a chunk holds at least one token"
            )
        self._model = model
        self._max_model_len = max_model_len or context
        self._max_batch_size = max_batch_size
        self._prefill_chunk_tokens = prefill_chunk_tokens
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._worker = threading.Thread(target=self._serve, name="torch-engine", daemon=True)
        self._worker.start()

    @property
    def max_model_len(self) -> int:
        return self._max_model_len

    def describe(self) -> Mapping[str, Any]:
        import torch

        weight = next(self._model.parameters())
        return {
            "engine": "torch",
            "torch_version": torch.__version__,
            "device": str(weight.device),
            "dtype": str(weight.dtype).removeprefix("torch."),
            "impl": "bundled",
            "model_class": f"{type(self._model).__module__}.{type(self._model).__qualname__}",
            "max_model_len": self._max_model_len,
            "max_batch_size": self._max_batch_size,
            "prefill_chunk_tokens": self._prefill_chunk_tokens,
            "reproducible": False,
            "reproducible_because": (
                "each request draws from its own seeded generator, but which requests share a batch depends "
                "on timing, and a matrix product's rounding depends on the batch"
            ),
        }

    async def generate(
        self,
        prompt_ids: Sequence[int],
        max_tokens: int,
        stop_token_ids: frozenset[int],
        sampling: Sampling,
        seed: int,
    ) -> Generation:
        check_request(prompt_ids, max_tokens, self._max_model_len, self._model.config.vocab_size)
        began = time.monotonic()
        reply: asyncio.Future[Generated] = asyncio.get_running_loop().create_future()
        request = _Request(tuple(prompt_ids), max_tokens, stop_token_ids, sampling, seed, reply)
        with self._changed:
            if self._closed:
                raise EngineError("the torch engine is closed; start another")
            self._waiting.append(request)
            self._changed.notify()
        generated = await reply  # cancelled here, the worker drops the request, or its result
        return Generation(generated.token_ids, generated.finish_reason, elapsed_s=time.monotonic() - began)

    async def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        await asyncio.to_thread(self._worker.join)

    def _serve(self) -> None:
        """The worker thread: runs batch after batch until the engine is closed."""
        while batch := self._next_batch():
            try:
                results = self._run(batch)
            except Exception as error:
                # The batch's requests fail, the engine lives on: the next batch may be smaller.
                failure = EngineError(f"the torch engine cannot serve a batch: {_explain(error)}")
                failure.__cause__ = error
                _settle(batch, failure)
            else:
                _settle(batch, results)

    def _next_batch(self) -> list[_Request]:
        """Waits for requests; returns up to `max_batch_size` of them, or none when the engine closes."""
        with self._changed:
            batch: list[_Request] = []
            while not batch:
                self._changed.wait_for(lambda: self._closed or self._waiting)
                if self._closed:
                    abandoned = EngineError("the torch engine was closed before it served the request")
                    _settle(self._waiting, abandoned)
                    return []
                while self._waiting and len(batch) < self._max_batch_size:
                    request = self._waiting.popleft()
                    if not request.reply.cancelled():
                        batch.append(request)
            return batch

    def _run(self, batch: list[_Request]) -> "list[Generated]":
        from qwen3_eval.model.generate import generate

        return generate(
            self._model,
            [request.prompt_ids for request in batch],
            [request.max_tokens for request in batch],
            [request.stop_token_ids for request in batch],
            [request.sampling for request in batch],
            [request.seed for request in batch],
            self._prefill_chunk_tokens,
        )


def start_torch(
    path: str | Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    max_model_len: int | None = None,
    max_batch_size: int = 32,
    prefill_chunk_tokens: int = EngineConfig.prefill_chunk_tokens,
    yarn_factor: float = 1.0,
) -> TorchEngine:
    """Loads a checkpoint folder and returns an engine on it.

    `dtype="auto"` is the dtype that the checkpoint is stored in; `device="auto"` a GPU if there is one;
    `yarn_factor` above 1 stretches the native context by YaRN; `prefill_chunk_tokens` of a batch's prompts go
    through the model at once.
    Raises CheckpointError where the folder does not load, EngineError where a setting does not fit.
    """
    return TorchEngine(
        load_weights(path, dtype, device, yarn_factor),
        max_model_len=max_model_len,
        max_batch_size=max_batch_size,
        prefill_chunk_tokens=prefill_chunk_tokens,
    )


def load_weights(
    path: str | Path, dtype: str = "auto", device: str = "auto", yarn_factor: float = 1.0
) -> "Qwen3ForCausalLM":
    """Returns the bundled model with a folder's weights; settings and errors are those of `start_torch`."""
    import torch

    from qwen3_eval.model.weights import load_model

    found = None if dtype == "auto" else getattr(torch, dtype, None)
    if dtype != "auto" and not (isinstance(found, torch.dtype) and found.is_floating_point):
        raise EngineError(f"engine.dtype={dtype!r} is no torch dtype; use auto, float32, bfloat16 or float16")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return load_model(path, found, device, yarn_factor)
    except torch.OutOfMemoryError as error:
        raise EngineError(f"the weights in '{path}' do not fit: {_explain(error)}") from error


def _explain(error: Exception) -> str:
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return f"memory ran out ({error}); lower engine.max_num_seqs or engine.prefill_chunk_tokens"
    return f"{type(error).__name__}: {error}"


def _settle(batch: "Iterable[_Request]", outcome: "list[Generated] | EngineError") -> None:
    """Hands each request its result, or all of them one error, in the loop that awaits it."""
    for index, request in enumerate(batch):
        loop = request.reply.get_loop()
        if loop.is_closed():
            continue
        if isinstance(outcome, EngineError):
            loop.call_soon_threadsafe(_set_exception, request.reply, outcome)
        else:
            loop.call_soon_threadsafe(_set_result, request.reply, outcome[index])


def _set_result(reply: "asyncio.Future[Generated]", generated: "Generated") -> None:
    if not reply.done():  # done already where the caller was cancelled
        reply.set_result(generated)


def _set_exception(reply: "asyncio.Future[Generated]", error: EngineError) -> None:
    if not reply.done():
        reply.set_exception(error)
