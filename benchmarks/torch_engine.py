"""The bundled model's `generate` against transformers' own, on the same weights: prefill and decode.

Greedy, in float32 on one thread, with no stop token, so that both sides generate the same ids; it is checked
that they do. The two take turns. Prefill is a call for one token, decode what further tokens take on top of
that. Times are CPU time: a call that waits for a busy machine is not slow.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from measure import NANO, print_target

from qwen3_eval.model.config import Qwen3Config
from qwen3_eval.model.generate import generate
from qwen3_eval.model.qwen3 import Qwen3ForCausalLM
from qwen3_eval.model.weights import load_model, save_model
from qwen3_eval.types import Sampling

PROMPT_TOKENS = 128
NEW_TOKENS = 32
ROUNDS = 5
DENSE = Qwen3Config(
    vocab_size=8192,
    hidden_size=512,
    intermediate_size=1536,
    num_hidden_layers=6,
    num_attention_heads=8,
    num_key_value_heads=4,
    head_dim=64,
)
MIXTURE = Qwen3Config(
    vocab_size=8192,
    hidden_size=256,
    intermediate_size=768,
    num_hidden_layers=6,
    num_attention_heads=8,
    num_key_value_heads=4,
    head_dim=32,
    num_experts=16,
    num_experts_per_tok=4,
    moe_intermediate_size=192,
    norm_topk_prob=True,
)

Prompts = list[list[int]]
Side = Callable[[Prompts, int], list[tuple[int, ...]]]


@dataclass
class Walls:
    """Seconds of each round of one side."""

    prefill: list[float] = field(default_factory=list)
    decode: list[float] = field(default_factory=list)


def ours(folder: Path) -> Side:
    """Returns what continues prompts by so many tokens with the bundled model."""
    model = load_model(folder, torch.float32)

    def run(prompts: Prompts, n: int) -> list[tuple[int, ...]]:
        b = len(prompts)
        rows = generate(model, prompts, [n] * b, [frozenset()] * b, [Sampling()] * b, [0] * b)
        return [row.token_ids for row in rows]

    return run


def theirs(folder: Path) -> Side:
    """Returns the same for transformers, as its users call it."""
    import transformers as untyped

    transformers: Any = untyped
    transformers.utils.logging.disable_progress_bar()
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    # The box model's own settings would sample, and stop.
    model.generation_config = transformers.GenerationConfig(do_sample=False, pad_token_id=0)

    def run(prompts: Prompts, n: int) -> list[tuple[int, ...]]:
        ids = torch.tensor(prompts)  # (B, T)
        with torch.inference_mode():
            out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=n)
        return [tuple(row) for row in out[:, ids.shape[1] :].tolist()]

    return run


def time_rounds(sides: tuple[Side, Side], prompts: Prompts) -> tuple[Walls, Walls]:
    """Lets the sides take turns; raises AssertionError where their ids differ."""
    walls = Walls(), Walls()
    for _ in range(ROUNDS):
        seen = []
        for side, wall in zip(sides, walls, strict=True):
            began = time.process_time()
            side(prompts, 1)
            wall.prefill.append(time.process_time() - began)
            began = time.process_time()
            seen.append(side(prompts, 1 + NEW_TOKENS))
            wall.decode.append(time.process_time() - began - wall.prefill[-1])
        assert seen[0] == seen[1], "ours and transformers' greedy ids differ"
    return walls


def compare(name: str, folder: Path) -> None:
    """Prints both rates and their ratio for one checkpoint, at batch 1 and 16."""
    sides = ours(folder), theirs(folder)
    vocab_size = Qwen3Config.from_file(folder).vocab_size
    for batch in (1, 16):
        ids = torch.randint(
            0, vocab_size, (batch, PROMPT_TOKENS), generator=torch.Generator().manual_seed(batch)
        )
        prompts: Prompts = ids.tolist()
        for side in sides:
            side(prompts[:1], 4)  # what is slow only once is not timed
        walls = time_rounds(sides, prompts)
        for what, tokens in (("prefill", PROMPT_TOKENS), ("decode", NEW_TOKENS)):
            mine, other = (median(getattr(wall, what)) for wall in walls)
            print(
                f"  {name}, batch {batch}: {what} {batch * tokens / mine:9,.0f} tokens/s, transformers' "
                f"{batch * tokens / other:9,.0f}",
                flush=True,
            )
            ratio = median(a / b for a, b in zip(*(getattr(wall, what) for wall in walls), strict=True))
            title = f"{what} time here / transformers', {name}, batch {batch}"
            if what == "decode":
                print_target(title, ratio, 1.0)
            else:
                print(f"{title:<58} {ratio:7.3f}", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    print(f"prompts of {PROMPT_TOKENS} tokens, {NEW_TOKENS} generated")
    with tempfile.TemporaryDirectory(prefix="qwen3_eval-bench-") as folder:
        compare("nano", Path(NANO))
        for name, config in (("dense", DENSE), ("mixture", MIXTURE)):
            model = Qwen3ForCausalLM(config)
            model.initialise(seed=0)
            save_model(model, Path(folder) / name)
            compare(name, Path(folder) / name)


if __name__ == "__main__":
    main()
