"""An engine that reads its replies from a script: for tests of what lies above it, and for dry runs.

A script is a function of the prompt, `script(prompt_ids) -> response_ids`: the whole response that a model
that is never interrupted would give. The engine cuts it as a model would be cut, by `max_tokens` and by
`stop_token_ids`, and finds its place again when the prompt comes back with the part already given.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qwen3_eval.engine.limits import check_request
from qwen3_eval.errors import EngineError
from qwen3_eval.types import Generation, Sampling

Script = Callable[[tuple[int, ...]], Sequence[int]]


@dataclass(frozen=True)
class Call:
    """One request as the engine received it."""

    prompt_ids: tuple[int, ...]
    max_tokens: int
    stop_token_ids: frozenset[int]
    sampling: Sampling
    seed: int


class ScriptedEngine:
    """Plays a script. `calls` lists the requests in the order of their arrival.

    A prompt that extends an earlier one by a part of its response goes on from there; any other prompt asks
    the script anew, as one does that ends with a forced stop text. `delay_s` is waited before each reply.
    `failures` maps a call's index (from 0) to the exception that it raises. `filler_id` is what a script
    that has run out goes on with, since a real model never runs out before it is stopped.
    """

    name = "scripted"

    def __init__(
        self,
        script: Script,
        *,
        max_model_len: int = 40960,
        delay_s: float = 0.0,
        failures: Mapping[int, Exception] | None = None,
        filler_id: int = 0,
    ) -> None:
        self._script = script
        self._max_model_len = max_model_len
        self._delay_s = delay_s
        self._failures = dict(failures or {})
        self._filler_id = filler_id
        self._responses: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._closed = False
        self.calls: list[Call] = []

    @property
    def max_model_len(self) -> int:
        return self._max_model_len

    def describe(self) -> Mapping[str, Any]:
        return {
            "engine": "scripted",
            "max_model_len": self._max_model_len,
            "reproducible": True,
            "reproducible_because": "every reply is a function of its prompt",
        }

    async def generate(
        self,
        prompt_ids: Sequence[int],
        max_tokens: int,
        stop_token_ids: frozenset[int],
        sampling: Sampling,
        seed: int,
    ) -> Generation:
        began = time.monotonic()
        index = len(self.calls)
        prompt = tuple(prompt_ids)
        self.calls.append(Call(prompt, max_tokens, stop_token_ids, sampling, seed))
        if self._closed:
            raise EngineError("the scripted engine is closed")
        check_request(prompt, max_tokens, self._max_model_len)
        await asyncio.sleep(self._delay_s)
        if index in self._failures:
            raise self._failures[index]
        rest = self._rest_of_response(prompt)
        given = list(rest[:max_tokens])
        given += [self._filler_id] * (max_tokens - len(given))
        end = next((i for i, token in enumerate(given) if token in stop_token_ids), None)
        token_ids = tuple(given if end is None else given[: end + 1])
        return Generation(token_ids, "length" if end is None else "stop", elapsed_s=time.monotonic() - began)

    def _rest_of_response(self, prompt: tuple[int, ...]) -> tuple[int, ...]:
        """Returns what is still to come after `prompt`; the longest earlier prompt that it continues wins."""
        for asked in sorted(self._responses, key=len, reverse=True):
            given = prompt[len(asked) :]
            response = self._responses[asked]
            if prompt[: len(asked)] == asked and response[: len(given)] == given:
                return response[len(given) :]
        self._responses[prompt] = tuple(self._script(prompt))
        return self._responses[prompt]

    async def close(self) -> None:
        self._closed = True


def default_script(encode: Callable[[str], Sequence[int]], end_id: int, thinking_lines: int = 3) -> Script:
    r"""Returns the script of `engine=scripted` on the command line: a few lines of thought, `\boxed{0}`.

    `encode` turns text into ids, special tokens included; `end_id` ends the turn (`<|im_end|>`). A prompt in
    which the thinking block is already closed, by the template or by a stop text, is answered directly. A
    prompt that holds the beginning of the response is gone on with, even by an engine that did not begin it.
    """
    think, close = tuple(encode("<think>")), tuple(encode("</think>"))
    lines = "".join(f"Line {number} of a scripted thought.\n" for number in range(1, thinking_lines + 1))
    answer = (*encode("The answer is \\boxed{0}."), end_id)

    def script(prompt: tuple[int, ...]) -> Sequence[int]:
        opened, closed = _last(prompt, think), _last(prompt, close)
        if closed > opened:
            return answer if closed + len(close) < len(prompt) else (*encode("\n\n"), *answer)
        whole = (*think, *encode("\n"), *encode(lines), *close, *encode("\n\n"), *answer)
        given = prompt[opened:] if opened >= 0 else ()
        return whole[len(given) :] if whole[: len(given)] == given else whole[len(think) :]

    return script


def _last(ids: tuple[int, ...], part: tuple[int, ...]) -> int:
    """Returns where `part` occurs last in `ids`, or -1."""
    starts = range(len(ids) - len(part), -1, -1)
    return next((start for start in starts if ids[start : start + len(part)] == part), -1)
