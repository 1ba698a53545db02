"""Every published size, built without memory, against the report's tables and the model cards."""

import csv
import json
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from qwen3_eval.listing import print_models
from qwen3_eval.model.moe import MoE
from qwen3_eval.model.weights import build_empty
from qwen3_eval.sizes import count_parameters, read_sizes

SIZES = read_sizes()
# Tables 1 and 2 of the Qwen3 technical report (arXiv 2505.09388): layers, query heads, key-value heads, tied,
# experts, experts per token. The report does not say whether the mixtures' embeddings are tied.
REPORT = {
    "Qwen3-0.6B": (28, 16, 8, True, 0, 0),
    "Qwen3-1.7B": (28, 16, 8, True, 0, 0),
    "Qwen3-4B": (36, 32, 8, True, 0, 0),
    "Qwen3-8B": (36, 32, 8, False, 0, 0),
    "Qwen3-14B": (40, 40, 8, False, 0, 0),
    "Qwen3-32B": (64, 64, 8, False, 0, 0),
    "Qwen3-30B-A3B": (48, 32, 4, None, 128, 8),
    "Qwen3-235B-A22B": (94, 64, 4, None, 128, 8),
}


def family(name: str) -> str:
    return name.removesuffix("-Base").removesuffix("-Instruct-2507").removesuffix("-Thinking-2507")


def round_as(count: int, printed: str) -> str:
    return f"{count / 1e9:.{len(printed.partition('.')[2])}f}"


@pytest.mark.parametrize("name", SIZES)
def test_a_size_has_the_reports_shape(name: str) -> None:
    """A model built from the table has the report's layers, heads, experts and tied embedding."""
    layers, heads, kv_heads, tied, experts, per_token = REPORT[family(name)]
    config = SIZES[name].config
    model = build_empty(config)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert {p.device for p in model.parameters()} == {torch.device("meta")}
    assert len(model.model.layers) == layers
    assert shapes["model.layers.0.self_attn.q_proj.weight"] == (heads * 128, config.hidden_size)
    assert shapes["model.layers.0.self_attn.k_proj.weight"] == (kv_heads * 128, config.hidden_size)
    if tied is not None:
        assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    mixtures = [layer.mlp for layer in model.model.layers if isinstance(layer.mlp, MoE)]
    assert len(mixtures) == (layers if experts else 0)
    assert all(len(m.experts.down_proj) == experts and m.gate.k == per_token for m in mixtures)
    assert config.norm_topk_prob == bool(experts)


@pytest.mark.parametrize("name", SIZES)
def test_a_size_has_its_cards_parameters(name: str) -> None:
    """Parameters round to the model card's, with and without embeddings; those activated are within 2 %."""
    size = SIZES[name]
    count = count_parameters(size.config)
    assert round_as(count.total, size.total) == size.total
    assert round_as(count.non_embedding, size.non_embedding) == size.non_embedding
    assert count.activated / 1e9 == pytest.approx(float(size.activated), rel=0.02)


def test_counts_are_those_worked_by_hand() -> None:
    """0.6B has 596,049,920 parameters, and a mixture's idle experts are not activated."""
    # A layer of 0.6B: q and o 1024 x 2048, k and v 1024 x 1024, gate, up and down 1024 x 3072, norms of 1024
    # twice and of 128 twice: 15,730,944. 28 of them, the embedding 151,936 x 1024, a norm of 1024.
    small = count_parameters(SIZES["Qwen3-0.6B"].config)
    assert small.total == small.activated == 28 * 15_730_944 + 155_582_464 + 1024 == 596_049_920
    # An expert of 30B-A3B has 3 x 2048 x 768 parameters; in 48 layers 120 of 128 are idle.
    mixture = count_parameters(SIZES["Qwen3-30B-A3B"].config)
    assert mixture.total - mixture.activated == 48 * 120 * 4_718_592


def test_the_table_lists_the_published_forms() -> None:
    """Eight sizes, the six that have a base form on the hub, and two forms of 2507 at three sizes."""
    assert len(SIZES) == 20
    assert sum(name.endswith("-Base") for name in SIZES) == 6
    assert sum(name.endswith("-2507") for name in SIZES) == 6
    assert {family(name) for name in SIZES} == set(REPORT)


def test_each_size_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    """`model=` and `models` know every size of the table, by its name in lower case."""
    print_models()
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    for name, size in SIZES.items():
        text = files("qwen3_eval.configs").joinpath(f"model/{name.lower()}.yaml").read_text()
        assert f"\nname: {name}\npath: {size.hub_id}\n" in text
        assert name.lower() in listed


def test_a_config_json_reads_back(tmp_path: Path) -> None:
    """transformers reads each size's `as_dict` as the same shape."""
    from transformers import AutoConfig

    for name, size in SIZES.items():
        (tmp_path / "config.json").write_text(json.dumps(size.config.as_dict()))
        theirs = AutoConfig.from_pretrained(tmp_path)
        assert theirs.rope_parameters["rope_theta"] == size.config.rope_theta, name
        for key in ("hidden_size", "head_dim", "num_key_value_heads", "max_position_embeddings"):
            assert getattr(theirs, key) == getattr(size.config, key), (name, key)


def test_the_table_has_no_empty_cell_but_the_experts() -> None:
    """Only the columns of experts are empty, and only for dense models."""
    with files("qwen3_eval").joinpath("sizes.csv").open() as stream:
        for row in csv.DictReader(stream):
            empty = {key for key, value in row.items() if not value}
            dense = {"num_experts", "num_experts_per_tok", "moe_intermediate_size", "norm_topk_prob"}
            assert empty == (set() if "-A" in row["name"] else dense)
