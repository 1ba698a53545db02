"""vLLM as an engine: one in-process `AsyncLLM`, token ids in, token ids out. vllm_start.py makes it."""

import asyncio
import gc
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qwen3_eval.engine.limits import check_request
from qwen3_eval.engine.vllm_log import EngineLog
from qwen3_eval.errors import EngineError
from qwen3_eval.types import Generation, Sampling

if TYPE_CHECKING:
    from vllm.lora.request import LoRARequest
    from vllm.sampling_params import SamplingParams
    from vllm.v1.engine.async_llm import AsyncLLM


class VllmEngine:
    """A running vLLM. Made by `start_vllm`; belongs to the event loop that it was started in."""

    name = "vllm"

    def __init__(
        self,
        llm: "AsyncLLM",
        facts: Mapping[str, Any],
        log: EngineLog,
        adapter: "LoRARequest | None" = None,
    ) -> None:
        self._llm = llm
        self._facts = facts
        self._log = log
        self._adapter = adapter
        self._started = 0
        self._closed = False

    @property
    def max_model_len(self) -> int:
        return int(self._facts["max_model_len"])

    def describe(self) -> Mapping[str, Any]:
        return self._facts

    async def generate(
        self,
        prompt_ids: Sequence[int],
        max_tokens: int,
        stop_token_ids: frozenset[int],
        sampling: Sampling,
        seed: int,
    ) -> Generation:
        from vllm.inputs import tokens_input
        from vllm.v1.engine.exceptions import EngineDeadError

        if self._closed:
            raise EngineError("the vLLM engine is closed; start another with start_vllm")
        check_request(prompt_ids, max_tokens, self.max_model_len, self._facts["vocab_size"])
        self._started += 1
        began = time.monotonic()
        final = None
        try:
            params = sampling_params(max_tokens, stop_token_ids, sampling, seed)
            # Cancelled here, vLLM's own generator aborts the request before it lets the cancellation pass.
            async for output in self._llm.generate(
                tokens_input(list(prompt_ids)),
                params,
                request_id=str(self._started),
                lora_request=self._adapter,
            ):
                final = output
        except EngineDeadError as error:
            raise EngineError(self._log.explain(error, "died while it served requests")) from error
        except Exception as error:
            cause = error.__cause__ or error
            raise EngineError(f"vLLM cannot serve a request: {type(cause).__name__}: {cause}") from error
        assert final is not None, "vLLM ended a request without its final output"
        completion = final.outputs[0]
        if completion.finish_reason not in ("stop", "length"):
            raise EngineError(f"vLLM ended a request with finish_reason={completion.finish_reason!r}")
        return Generation(
            token_ids=tuple(completion.token_ids),
            finish_reason="stop" if completion.finish_reason == "stop" else "length",
            elapsed_s=time.monotonic() - began,
            cached_tokens=final.num_cached_tokens or 0,
        )

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            # In this thread, though it blocks: vLLM's output task must not see the processes go and call it
            # a crash. Collected now, for vLLM's finaliser fails while the interpreter goes down.
            self._llm.shutdown(timeout=10)
            await asyncio.sleep(0)
            del self._llm
            gc.collect()
            self._log.remove()


def sampling_params(
    max_tokens: int, stop_token_ids: frozenset[int], sampling: Sampling, seed: int
) -> "SamplingParams":
    """Returns vLLM's form of a request's settings, with every stop of the model's own turned off."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    return SamplingParams(
        max_tokens=max_tokens,
        stop_token_ids=sorted(stop_token_ids),
        ignore_eos=True,  # the checkpoint's eos ids stop a request only where the caller names them
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        repetition_penalty=sampling.repetition_penalty,
        seed=seed if sampling.temperature > 0 else None,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
        skip_clone=True,  # made for this request alone
    )
