"""The bundled mixture of experts on vLLM, against vLLM's own Qwen3Moe and the torch engine.

Each engine is started once, asked everything, and closed.
"""

import asyncio
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from qwen3_eval.engine.torch import start_torch
from qwen3_eval.engine.vllm_start import Impl, start_vllm
from qwen3_eval.model.config import Qwen3Config
from qwen3_eval.model.qwen3 import Qwen3ForCausalLM
from qwen3_eval.model.weights import save_model
from qwen3_eval.types import Sampling

if TYPE_CHECKING:
    from conftest import LoopThread

    from qwen3_eval.engine.base import Engine

pytestmark = pytest.mark.skipif(util.find_spec("vllm") is None, reason="vLLM is not installed")

# 40 is no multiple of 32, to which vLLM's CPU kernel pads an expert; layer 1 is dense.
MIXED = Qwen3Config(
    vocab_size=97,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
    rope_theta=10_000.0,
    max_position_embeddings=256,
    initializer_range=0.2,
    num_experts=8,
    num_experts_per_tok=3,
    moe_intermediate_size=40,
    norm_topk_prob=True,
    mlp_only_layers=(1,),
)
EVERY_SECOND = replace(
    MIXED,
    mlp_only_layers=(),
    decoder_sparse_step=2,
    norm_topk_prob=False,
    num_experts_per_tok=2,
    tie_word_embeddings=True,
)
SMALL_CACHE = {"kv_cache_memory_bytes": 64 * 1024**2}
RNG = random.Random(4)
PROMPTS = [[RNG.randrange(97) for _ in range(RNG.randrange(3, 120))] for _ in range(12)]
MAX_TOKENS = 48


@dataclass(frozen=True)
class Replies:
    """What an engine said of itself, its greedy ids, and each id's 20 likeliest with their logprobs."""

    model_class: str
    ids: list[tuple[int, ...]]
    logprobs: list[list[dict[int, float]]]


def write(config: Qwen3Config, folder: Path) -> str:
    model = Qwen3ForCausalLM(config)
    model.initialise(0)
    save_model(model.requires_grad_(False), folder)
    return str(folder)


def stack_experts(folder: Path) -> None:
    """Rewrites a checkpoint in the form of transformers 5: two tensors a layer, not three an expert."""
    tensors = load_file(folder / "model.safetensors")
    for stem in {name.partition(".experts.")[0] for name in tensors if ".experts." in name}:
        experts: dict[str, list[torch.Tensor]] = {
            leaf: [tensors.pop(f"{stem}.experts.{expert}.{leaf}.weight") for expert in range(8)]
            for leaf in ("gate_proj", "up_proj", "down_proj")
        }
        gate_up = [torch.stack(experts[leaf]) for leaf in ("gate_proj", "up_proj")]
        tensors[f"{stem}.experts.gate_up_proj"] = torch.cat(gate_up, dim=1)
        tensors[f"{stem}.experts.down_proj"] = torch.stack(experts["down_proj"])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


async def ask_greedily(engine: "Engine") -> list[tuple[int, ...]]:
    """Returns the ids that follow each prompt."""
    asked = [engine.generate(prompt, MAX_TOKENS, frozenset(), Sampling(), 0) for prompt in PROMPTS]
    return [reply.token_ids for reply in await asyncio.gather(*asked)]


async def ask_vllm(path: str, impl: Impl, **settings: Any) -> Replies:
    """Starts vLLM on a checkpoint and asks it every prompt."""
    from vllm.inputs import tokens_input
    from vllm.sampling_params import SamplingParams

    engine = await start_vllm(path, impl=impl, **{"extra": SMALL_CACHE, **settings})

    async def ask_logprobs(number: int, prompt: Sequence[int]) -> list[dict[int, float]]:
        params = SamplingParams(
            max_tokens=MAX_TOKENS, temperature=0, logprobs=20, ignore_eos=True, detokenize=False
        )
        async for output in engine._llm.generate(
            tokens_input(list(prompt)), params, request_id=f"logprobs-{number}"
        ):
            final = output
        steps = final.outputs[0].logprobs
        assert steps is not None
        return [{token: entry.logprob for token, entry in step.items()} for step in steps]

    try:
        return Replies(
            str(engine.describe()["model_class"]),
            await ask_greedily(engine),
            await asyncio.gather(*[ask_logprobs(*asked) for asked in enumerate(PROMPTS)]),
        )
    finally:
        await engine.close()


async def ask_torch(path: str) -> list[tuple[int, ...]]:
    engine = start_torch(path)
    try:
        return await ask_greedily(engine)
    finally:
        await engine.close()


def deviation(ours: Replies, theirs: Replies) -> float:
    """Returns the largest difference of a logprob, over the ids that both list at a step."""
    pairs = [
        (one, other)
        for mine, others in zip(ours.logprobs, theirs.logprobs, strict=True)
        for one, other in zip(mine, others, strict=True)
    ]
    assert all(len(one.keys() & other.keys()) >= 19 for one, other in pairs)
    return max(abs(one[token] - other[token]) for one, other in pairs for token in one.keys() & other.keys())


@pytest.mark.slow
def test_a_mixture_is_that_of_vllm_and_of_torch(tmp_path: Path, loop_thread: "LoopThread") -> None:
    """Greedy ids equal those of vLLM's own Qwen3Moe and of the torch engine, and logprobs to 1e-4."""
    path = write(MIXED, tmp_path)
    ours = loop_thread.run(ask_vllm(path, "bundled"))
    theirs = loop_thread.run(ask_vllm(path, "vllm"))
    assert ours.model_class == "qwen3_eval.model.vllm_qwen3.Qwen3EvalForCausalLM"
    assert theirs.model_class == "vllm.model_executor.models.qwen3_moe.Qwen3MoeForCausalLM"
    assert ours.ids == theirs.ids
    assert ours.ids == loop_thread.run(ask_torch(path))
    assert len({token for ids in ours.ids for token in ids}) > 20, "ids that tell one model from another"
    largest = deviation(ours, theirs)
    print(f"largest deviation of a logprob from vLLM's own Qwen3Moe: {largest:.2g}")
    assert largest < 1e-4


@pytest.mark.slow
def test_stacked_experts_on_two_ranks(
    tmp_path: Path, loop_thread: "LoopThread", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every second layer mixed, experts stored stacked and split over two ranks: the torch engine's ids."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("two ranks on a CPU want a core each")
    # Unasked, vLLM wants a NUMA node for each rank.
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", f"{cores[0]}|{cores[1]}")
    path = write(EVERY_SECOND, tmp_path)
    stack_experts(tmp_path)
    ours = loop_thread.run(ask_vllm(path, "bundled", tensor_parallel_size=2))
    assert ours.ids == loop_thread.run(ask_torch(path))


def name_experts(*experts: int, leaf: str = "up_proj") -> list[tuple[str, torch.Tensor]]:
    return [(f"model.layers.2.mlp.experts.{expert}.{leaf}.weight", torch.empty(4, 4)) for expert in experts]


@pytest.mark.slow  # imports vLLM
def test_a_missing_or_surplus_expert_is_named() -> None:
    """What vLLM would pass over raises with the layer, the tensor and the expert; a whole set passes on."""
    from qwen3_eval.model.vllm_moe import check_experts

    whole = [
        *name_experts(0, 1, 2),
        *name_experts(2, 0, 1, leaf="down_proj"),
        ("model.layers.3.mlp.experts.gate_up_proj", torch.empty(3, 8, 4)),
        ("model.norm.weight", torch.empty(4)),
    ]
    assert [name for name, _ in check_experts(whole, 3)] == [name for name, _ in whole]
    for wrong, message in (
        (name_experts(0, 2), r"layers\.2\.mlp\.experts\.\*\.up_proj\.weight.* 2 experts.*differs at \[1\]"),
        (name_experts(0, 1, 2, 3), r"4 experts.*num_experts=3 \(differs at \[3\]\)"),
        ([("model.layers.3.mlp.experts.gate_up_proj", torch.empty(2, 8, 4))], r"experts\.gate_up_proj.* 2 "),
    ):
        with pytest.raises(ValueError, match=message):
            list(check_experts(whole[3:6] + wrong, 3))


@pytest.mark.slow  # imports vLLM
def test_expert_parallelism_is_refused() -> None:
    """What is not tested does not run: the setting is named, and vLLM's own class."""
    from transformers import Qwen3MoeConfig
    from vllm.config import ParallelConfig, VllmConfig, set_current_vllm_config

    from qwen3_eval.model.vllm_moe import Qwen3MoE

    parallel = ParallelConfig(tensor_parallel_size=2, enable_expert_parallel=True)
    with (
        set_current_vllm_config(VllmConfig(parallel_config=parallel)),
        pytest.raises(ValueError, match=r"enable_expert_parallel=True.*model\.impl=vllm"),
    ):
        Qwen3MoE(Qwen3MoeConfig(), None, "model.layers.0.mlp")
