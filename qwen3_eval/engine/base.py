"""What the sweep asks of an engine: one coroutine, and a few facts about itself."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from qwen3_eval.types import Generation, Sampling


class Engine(Protocol):
    """Continues token ids. Everything about thinking lives above it."""

    @property
    def name(self) -> str:
        """The engine's name in configs and records, as `vllm`."""

    @property
    def max_model_len(self) -> int:
        """Most tokens of prompt and output together that one request may hold."""

    def describe(self) -> Mapping[str, Any]:
        """Versions and settings for run.json; `reproducible`: do records repeat at any concurrency."""

    async def generate(
        self,
        prompt_ids: Sequence[int],
        max_tokens: int,
        stop_token_ids: frozenset[int],
        sampling: Sampling,
        seed: int,
    ) -> Generation:
        """Samples up to `max_tokens` ids after `prompt_ids`, ending early only with one of `stop_token_ids`.

        No text is decoded and no other stop applies. Cancelling the coroutine aborts the request.
        Raises EngineError where the engine cannot serve it.
        """

    async def close(self) -> None:
        """Frees the engine's processes and memory. Calling it again does nothing."""
