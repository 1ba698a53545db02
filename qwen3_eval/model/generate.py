"""Batched sampling with the bundled model: left-padded prompts, a KV cache, a generator for each row.

Shape letters: B batch, T new tokens, S tokens attended to (cached and new), V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from qwen3_eval.model.layers import KVCache
from qwen3_eval.model.qwen3 import Qwen3ForCausalLM


class SamplingParams(Protocol):
    """Sampling parameters in vLLM's words: `temperature=0` is greedy, `top_k=0` and `top_p=1` are off."""

    @property
    def temperature(self) -> float: ...
    @property
    def top_p(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def min_p(self) -> float: ...
    @property
    def presence_penalty(self) -> float: ...
    @property
    def frequency_penalty(self) -> float: ...
    @property
    def repetition_penalty(self) -> float: ...


@dataclass(frozen=True)
class Generated:
    """The sampled ids; they end with the stop token where `finish_reason` is "stop"."""

    token_ids: tuple[int, ...]
    finish_reason: Literal["stop", "length"]


@torch.inference_mode()
def generate(
    model: Qwen3ForCausalLM,
    prompts: Sequence[Sequence[int]],
    max_tokens: Sequence[int],
    stop_token_ids: Sequence[frozenset[int]],
    sampling: Sequence[SamplingParams],
    seeds: Sequence[int],
    prefill_chunk_tokens: int = 2048,
) -> list[Generated]:
    """Continues each prompt until one of its stop tokens or `max_tokens`; each argument has one item per row.

    A row's draws come from its own seed, so they do not depend on the rows beside it, but for the rounding
    of batched arithmetic. Finished rows leave the batch. `prefill_chunk_tokens` is that of `prefill`.
    """
    if not all(prompts):
        raise ValueError(
            f"prompt {[bool(p) for p in prompts].index(False)} is empty; give it at least one id"
        )
    device = model.lm_head.weight.device
    rows = [
        _Row(place, list(prompt), limit, stops, params, torch.Generator().manual_seed(seed % 2**63))
        for place, (prompt, limit, stops, params, seed) in enumerate(
            zip(prompts, max_tokens, stop_token_ids, sampling, seeds, strict=True)
        )
    ]
    results: list[Generated | None] = [
        None if row.max_tokens > 0 else Generated((), "length") for row in rows
    ]
    alive = [row for row in rows if row.max_tokens > 0]
    if not alive:
        return [result for result in results if result is not None]

    cache = model.new_cache(room=max(len(row.prompt) for row in alive))
    logits = prefill(model, [row.prompt for row in alive], cache, prefill_chunk_tokens)
    padding = [cache.length - len(row.prompt) for row in alive]
    while True:
        kept = []
        for index, (row, token) in enumerate(zip(alive, _sample(logits.float().cpu(), alive), strict=True)):
            row.output.append(token)
            if token in row.stop_token_ids:
                results[row.place] = Generated(tuple(row.output), "stop")
            elif len(row.output) == row.max_tokens:
                results[row.place] = Generated(tuple(row.output), "length")
            else:
                kept.append(index)
        if len(kept) < len(alive):
            alive = [alive[index] for index in kept]
            if not alive:
                return [result for result in results if result is not None]
            unused = min(padding[index] for index in kept)
            padding = [padding[index] - unused for index in kept]
            cache.select(kept, unused)
        last = torch.tensor([[row.output[-1]] for row in alive], device=device)  # (B, 1)
        logits = _forward(model, last, padding, cache)


def prefill(
    model: Qwen3ForCausalLM, prompts: Sequence[Sequence[int]], cache: KVCache, chunk_tokens: int
) -> Tensor:
    """Fills an empty `cache` with left-padded prompts; returns the logits (B, V) that follow each.

    They go in chunks of `chunk_tokens` over all rows, at least one of each, so that memory beside the cache
    grows with the chunk; a chunk's mask alone is as wide as the prompt.
    """
    longest = max(map(len, prompts))
    padding = [longest - len(prompt) for prompt in prompts]
    input_ids = torch.tensor(
        [[0] * n + list(prompt) for n, prompt in zip(padding, prompts, strict=True)],
        device=model.lm_head.weight.device,
    )  # (B, T)
    for chunk in torch.split(input_ids, max(1, chunk_tokens // len(prompts)), dim=1):
        logits = _forward(model, chunk, padding, cache)
    return logits


@dataclass
class _Row:
    """A request in the batch, and what it has sampled so far."""

    place: int
    prompt: list[int]
    max_tokens: int
    stop_token_ids: frozenset[int]
    sampling: SamplingParams
    generator: torch.Generator

    def __post_init__(self) -> None:
        self.output: list[int] = []


def _forward(model: Qwen3ForCausalLM, input_ids: Tensor, padding: Sequence[int], cache: KVCache) -> Tensor:
    """Feeds `input_ids` (B, T) after what `cache` holds; returns the logits (B, V) of the last position."""
    mask = positions = None
    if any(padding):
        S = cache.length + input_ids.shape[1]
        before = torch.tensor(padding, device=input_ids.device)[:, None]  # (B, 1)
        counted = torch.arange(S, device=input_ids.device) - before  # (B, S), from 0 at a row's first token
        mask, positions = counted >= 0, counted[:, cache.length :].clamp(min=0)
    logits = model(input_ids, mask, positions, cache, logits_to_keep=1)[:, -1]
    assert isinstance(logits, Tensor)
    return logits


def _sample(logits: Tensor, rows: Sequence[_Row]) -> list[int]:
    """Draws one token for each row of `logits` (B, V)."""
    tokens: list[int] = []
    for row, row_logits in zip(rows, logits, strict=True):
        row_logits = penalise(row_logits, row.prompt, row.output, row.sampling)
        if row.sampling.temperature > 0:
            probabilities = filter_probabilities(row_logits, row.sampling)
            tokens.append(int(torch.multinomial(probabilities, 1, generator=row.generator)))
        else:
            tokens.append(int(row_logits.argmax()))
    return tokens


def penalise(
    logits: Tensor, prompt: Sequence[int], output: Sequence[int], sampling: SamplingParams
) -> Tensor:
    """Returns the logits (V,) with vLLM's penalties.

    The repetition penalty counts prompt and output; presence and frequency count the output alone.
    Source: vLLM, model_executor/layers/utils.py, apply_penalties.
    """
    if sampling.repetition_penalty != 1:
        seen = torch.tensor(sorted({*prompt, *output}))
        values = logits[seen]
        scale = sampling.repetition_penalty
        logits = logits.index_put((seen,), torch.where(values > 0, values / scale, values * scale))
    if output and (sampling.presence_penalty or sampling.frequency_penalty):
        counts = torch.bincount(torch.tensor(output), minlength=len(logits))
        logits = logits - sampling.frequency_penalty * counts - sampling.presence_penalty * (counts > 0)
    return logits


def filter_probabilities(logits: Tensor, sampling: SamplingParams) -> Tensor:
    """Returns the probabilities (V,) to draw from: temperature, min-p, top-k, top-p, in the order of vLLM.

    Source: vLLM, v1/sample/sampler.py and v1/sample/ops/topk_topp_sampler.py.
    """
    logits = logits / sampling.temperature
    if sampling.min_p > 0:
        probabilities = logits.softmax(-1)
        logits = logits.masked_fill(probabilities < sampling.min_p * probabilities.max(), -torch.inf)
    if 0 < sampling.top_k < len(logits):
        least = logits.topk(sampling.top_k).values[-1]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if sampling.top_p < 1:
        # Only what is left is sorted: after top-k that is a few of a large vocabulary.
        left = (logits > -torch.inf).nonzero()[:, 0]
        ordered, places = logits[left].sort(descending=False)
        # The smallest set that reaches top_p stays: drop from below what sums to at most 1 - top_p.
        dropped = ordered.softmax(-1).cumsum(-1) <= 1 - sampling.top_p
        dropped[-1] = False
        logits = logits.index_fill(0, left[places[dropped]], -torch.inf)
    return logits.softmax(-1)
