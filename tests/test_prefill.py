"""Chunked prefill: what it must not change, and what it must save."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from qwen3_eval.engine.torch import start_torch
from qwen3_eval.errors import EngineError
from qwen3_eval.model.config import Qwen3Config, Yarn
from qwen3_eval.model.generate import generate, prefill
from qwen3_eval.model.qwen3 import Qwen3ForCausalLM
from qwen3_eval.types import Sampling

DENSE = Qwen3Config(
    vocab_size=67,
    hidden_size=48,
    intermediate_size=80,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=64,
    initializer_range=0.2,
)
SHAPES = {
    "dense": DENSE,
    "mixture": replace(
        DENSE, num_experts=8, num_experts_per_tok=3, moe_intermediate_size=24, norm_topk_prob=True
    ),
    "YaRN": replace(DENSE, yarn=Yarn(4.0, 16)),
}
LENGTHS = (37, 1, 20, 36)


def make_model(config: Qwen3Config) -> Qwen3ForCausalLM:
    model = Qwen3ForCausalLM(config)
    model.initialise(seed=0)
    return model.requires_grad_(False)


def draw_prompts(lengths: tuple[int, ...]) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 67, (n,), generator=generator).tolist() for n in lengths]


@pytest.mark.parametrize("name", SHAPES)
def test_chunks_give_the_logits_of_each_prompt_alone(name: str) -> None:
    """Whatever the chunk, each row of a batch has its logits alone in one pass, to 1e-5."""
    model = make_model(SHAPES[name])
    largest = 0.0
    for lengths in (LENGTHS, (37, 37), (37,)):
        prompts = draw_prompts(lengths)
        expected = torch.cat([model(torch.tensor([prompt]))[:, -1] for prompt in prompts])
        for columns in (1, 5, 36, 100):  # 37 is prime: but for 1, none divides it
            logits = prefill(model, prompts, model.new_cache(), columns * len(prompts))
            torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
            largest = max(largest, float((logits - expected).abs().max()))
    print(f"largest deviation of a logit by chunks, {name}: {largest:.2g}")


@pytest.mark.parametrize("name", SHAPES)
def test_chunks_give_the_tokens_of_one_pass(name: str) -> None:
    """Greedy and sampled rows get the same ids at every chunk, one token to a chunk included."""
    model = make_model(SHAPES[name])
    prompts = draw_prompts(LENGTHS)
    sampling = [Sampling(), Sampling(temperature=1.0), Sampling(), Sampling(temperature=0.6, top_k=5)]

    def run(chunk: int) -> list[tuple[int, ...]]:
        rows = generate(model, prompts, [9, 12, 3, 12], [frozenset()] * 4, sampling, [1, 2, 3, 4], chunk)
        return [row.token_ids for row in rows]

    whole = run(10_000)
    assert all(run(chunk) == whole for chunk in (1, 11, 64))


class LargestTensor(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Watches for the largest tensor that an operation makes, in elements; views are of what is there."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.elements = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            made = [t for t in (out if isinstance(out, tuple | list) else [out]) if isinstance(t, Tensor)]
            self.elements = max([self.elements, *(t.numel() for t in made)])
        return out


def find_largest(model: Qwen3ForCausalLM, rows: int, tokens: int, chunk: int) -> int:
    watch = LargestTensor()
    with watch:
        generate(
            model,
            [[i % 67 for i in range(tokens - row)] for row in range(rows)],
            [2] * rows,
            [frozenset()] * rows,
            [Sampling()] * rows,
            [0] * rows,
            chunk,
        )
    return watch.elements


@pytest.mark.parametrize("rows", [1, 4])
def test_memory_grows_with_the_chunk_and_not_with_the_prompt(rows: int) -> None:
    """The largest tensor made is the chunk's in the MLP; longer prompts and more rows leave it as it is."""
    # The MLP is wider than prompts are long, else it would be the mask, of the chunk's tokens by all seen.
    # Keys and values, which have to stay, are narrow; logits of a whole chunk would be wider than its MLP.
    config = replace(
        DENSE,
        vocab_size=600,
        hidden_size=16,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=2,
        max_position_embeddings=512,
    )
    model = make_model(config)
    for chunk in (16, 64):
        for tokens in (128, 256):
            assert find_largest(model, rows, tokens, chunk) == chunk * 512
    assert find_largest(model, rows, 128, 10_000) == rows * 128 * 512


def test_the_engine_takes_a_chunk(nano: Path) -> None:
    """`prefill_chunk_tokens` below 1 is refused by its name; the engine's own stands in what it describes."""
    with pytest.raises(EngineError, match=r"engine\.prefill_chunk_tokens is 0; a chunk holds at least one"):
        start_torch(nano, device="cpu", prefill_chunk_tokens=0)
