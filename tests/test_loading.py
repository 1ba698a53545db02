"""Checkpoints of people: what loading costs in memory, and the dtypes that it takes."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from qwen3_eval.errors import CheckpointError
from qwen3_eval.model.config import Qwen3Config
from qwen3_eval.model.qwen3 import Qwen3ForCausalLM
from qwen3_eval.model.weights import build_empty, load_model, save_model

TINY = Qwen3Config(
    vocab_size=67,
    hidden_size=48,
    intermediate_size=80,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
)
MIXTURE = replace(TINY, num_experts=8, num_experts_per_tok=3, moe_intermediate_size=24)

# Each checkpoint is loaded in a child of its own, whose high-water mark begins where the small one, loaded
# first, has brought in all code. A weight in a mapped page not yet touched would cost nothing: each is read.
MEASURE = """
import os, resource, sys, torch
from qwen3_eval.model.weights import load_model

def load(folder):
    for parameter in load_model(folder).parameters():
        parameter.view(torch.int16).max()  # a sum would make a wider copy
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

torch.set_num_threads(1)
for folder in sys.argv[2:]:
    if pid := os.fork():
        assert os.waitpid(pid, 0)[1] == 0
        continue
    before = load(sys.argv[1])
    print(load(folder) - before, flush=True)
    os._exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux, and a child's its own")
def test_loading_takes_no_more_than_the_checkpoint(tmp_path: Path) -> None:
    """Peak memory is at most 1.15 times the checkpoint, dense or a mixture, in one file or in shards."""
    wide = replace(TINY, vocab_size=16_000, hidden_size=512, intermediate_size=8192)
    mixture = replace(wide, num_experts=8, num_experts_per_tok=3, moe_intermediate_size=1024)
    save_model(Qwen3ForCausalLM(TINY), tmp_path / "small")
    folders = []
    for name, config in (("dense", wide), ("mixture", mixture)):
        model = build_empty(config).to(torch.bfloat16).to_empty(device="cpu")
        for kind, shard_bytes in (("single", 10**10), ("shards", 20 * 10**6)):
            folders.append(tmp_path / f"{name}, {kind}")
            save_model(model, folders[-1], shard_bytes)
    out = subprocess.check_output(
        [sys.executable, "-c", MEASURE, str(tmp_path / "small"), *map(str, folders)]
    )
    for folder, peak_kib in zip(folders, out.split(), strict=True):
        stored = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        assert stored > 8 * 10**7
        ratio = int(peak_kib) * 1024 / stored
        print(f"peak memory of loading over the checkpoint, {folder.name}: {ratio:.3f}")
        assert 0.9 < ratio <= 1.15  # below, something was not measured


@pytest.mark.parametrize("config", [TINY, MIXTURE], ids=["dense", "mixture"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_checkpoint_keeps_its_dtype(config: Qwen3Config, dtype: torch.dtype, tmp_path: Path) -> None:
    """Stored in float32, bfloat16 or float16, weights load bit by bit; another dtype casts them."""
    model = Qwen3ForCausalLM(config)
    model.initialise(seed=0)
    save_model(model.to(dtype), tmp_path)
    kept, cast = load_model(tmp_path), load_model(tmp_path, torch.float32)
    for name, parameter in model.named_parameters():
        assert kept.get_parameter(name).dtype == dtype
        assert torch.equal(kept.get_parameter(name), parameter), name
        assert torch.equal(cast.get_parameter(name), parameter.float()), name


def test_mixed_dtypes_load_as_they_are_stored(tmp_path: Path) -> None:
    """A router kept in float32 beside bfloat16 weights stays so."""
    model = Qwen3ForCausalLM(MIXTURE)
    model.initialise(seed=0)
    save_model(model.to(torch.bfloat16), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    name = "model.layers.1.mlp.gate.weight"
    save_file(tensors | {name: tensors[name].float()}, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path)
    assert loaded.get_parameter(name).dtype == torch.float32
    assert loaded.lm_head.weight.dtype == torch.bfloat16


def test_a_quantised_dtype_is_named(tmp_path: Path) -> None:
    """A tensor stored in 8 bits raises CheckpointError with its name, its dtype and what is read."""
    save_model(Qwen3ForCausalLM(TINY), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    save_file(tensors | {name: tensors[name].to(torch.float8_e4m3fn)}, tmp_path / "model.safetensors")
    with pytest.raises(
        CheckpointError, match=r"1\.mlp\.up_proj\.weight is stored as F8_E4M3.*F32, BF16, F16"
    ):
        load_model(tmp_path)
