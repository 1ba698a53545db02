"""The mixture of experts against transformers' Qwen3Moe and a dense reference, its files, and its balance."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import silu
from transformers import Qwen3MoeForCausalLM as Reference

from qwen3_eval.errors import CheckpointError
from qwen3_eval.model.balance import count_choices, load_balancing_loss
from qwen3_eval.model.config import Qwen3Config
from qwen3_eval.model.generate import generate
from qwen3_eval.model.moe import MoE, watch_routers
from qwen3_eval.model.qwen3 import Qwen3ForCausalLM
from qwen3_eval.model.weights import check_weights, load_model, save_model
from qwen3_eval.types import Sampling

TINY = Qwen3Config(
    vocab_size=67,
    hidden_size=48,
    intermediate_size=80,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    rope_theta=10_000.0,
    max_position_embeddings=128,
    initializer_range=0.2,
    num_experts=8,
    num_experts_per_tok=3,
    moe_intermediate_size=24,
    norm_topk_prob=True,
)
SHAPES = {
    "top-1": replace(TINY, num_experts_per_tok=1, norm_topk_prob=False),
    "top-1 normalised": replace(TINY, num_experts_per_tok=1),
    "top-3": replace(TINY, norm_topk_prob=False),
    "top-3 normalised": TINY,
    "all": replace(TINY, num_experts_per_tok=8),
    "more experts than tokens": replace(TINY, num_experts=96, num_experts_per_tok=2),
    "every second layer": replace(TINY, decoder_sparse_step=2),
    "dense layers named": replace(TINY, mlp_only_layers=(0, 3)),
    "step and named": replace(TINY, decoder_sparse_step=2, mlp_only_layers=(1,)),
    "tied": replace(TINY, tie_word_embeddings=True),
}
IDS = torch.randint(0, 67, (3, 20), generator=torch.Generator().manual_seed(1))


def make_model(config: Qwen3Config, seed: int = 0) -> Qwen3ForCausalLM:
    model = Qwen3ForCausalLM(config)
    model.initialise(seed)
    model.requires_grad_(False)
    return model


def run_every_expert(mixture: MoE, x: Tensor, config: Qwen3Config) -> Tensor:
    """The definition, in float64: all experts on all tokens, times the router's weight or 0."""
    x = x.double()
    probabilities = (x @ mixture.gate.weight.double().T).softmax(-1)  # (N, E)
    least = probabilities.sort(descending=True).values[:, config.num_experts_per_tok - 1 :][:, :1]
    weights = torch.where(probabilities >= least, probabilities, 0)
    if config.norm_topk_prob:
        weights = weights / weights.sum(-1, keepdim=True)
    out = torch.zeros_like(x)
    half = config.moe_intermediate_size
    for expert in range(config.num_experts):
        gate_up = mixture.experts.gate_up_proj[expert].double()
        hidden = silu(x @ gate_up[:half].T) * (x @ gate_up[half:].T)
        out += weights[:, expert, None] * (hidden @ mixture.experts.down_proj[expert].double().T)
    return out


def test_logits_equal_transformers(tmp_path: Path) -> None:
    """Logits agree with transformers' Qwen3Moe to 1e-5 at every shape, whole and piecewise with a cache."""
    largest = 0.0
    for name, config in SHAPES.items():
        model = make_model(config)
        save_model(model, tmp_path / name)
        with torch.no_grad():
            expected = Reference.from_pretrained(tmp_path / name, dtype=torch.float32)(IDS).logits
        cache = model.new_cache()
        pieces = [model(piece, cache=cache) for piece in torch.split(IDS, [9, 7, *[1] * 4], dim=1)]
        for got in (model(IDS), torch.cat(pieces, dim=1)):
            torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5, msg=name)
            largest = max(largest, float((got - expected).abs().max()))
        assert float(expected.std()) > 0.1
    print(f"largest deviation of a logit from transformers' Qwen3Moe: {largest:.2g}")


@pytest.mark.parametrize("name", SHAPES)
def test_a_mixture_is_its_definition(name: str) -> None:
    """A layer's output is that of every expert on every token, weighted, in float64, to 1e-5."""
    config = SHAPES[name]
    model = make_model(config)
    mixture = next(layer.mlp for layer in model.model.layers if isinstance(layer.mlp, MoE))
    x = torch.randn(2, 13, config.hidden_size, generator=torch.Generator().manual_seed(2))
    expected = run_every_expert(mixture, x.flatten(0, 1), config)
    got = mixture(x).flatten(0, 1).double()
    print(f"largest deviation from the definition, {name}: {float((got - expected).abs().max()):.2g}")
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_sparse_layers_are_those_of_transformers() -> None:
    """`decoder_sparse_step` counts layers from 1, and `mlp_only_layers` from 0."""
    step = replace(TINY, decoder_sparse_step=2)
    assert [step.is_sparse(layer) for layer in range(4)] == [False, True, False, True]
    assert [replace(step, mlp_only_layers=(1,)).is_sparse(layer) for layer in range(4)] == [False] * 3 + [
        True
    ]
    assert [replace(TINY, mlp_only_layers=(0,)).is_sparse(layer) for layer in range(2)] == [False, True]
    assert not replace(TINY, num_experts=0).is_sparse(0)


def test_gradients_equal_the_definition() -> None:
    """The gradients of router, experts and input are the definition's, so that the model can be trained."""
    model = make_model(TINY).requires_grad_(True)
    mixture = next(layer.mlp for layer in model.model.layers if isinstance(layer.mlp, MoE))
    x = torch.randn(11, TINY.hidden_size, generator=torch.Generator().manual_seed(2), requires_grad=True)
    wanted = [x, mixture.gate.weight, mixture.experts.gate_up_proj, mixture.experts.down_proj]
    ours = torch.autograd.grad(mixture(x[None]).square().sum(), wanted)
    theirs = torch.autograd.grad(run_every_expert(mixture, x, TINY).square().sum(), wanted)
    for got, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_routings_can_be_watched() -> None:
    """`watch_routers` yields each pass's probabilities and experts by layer, and leaves no hook behind."""
    config = replace(TINY, decoder_sparse_step=2)
    model = make_model(config)
    with watch_routers(model) as seen:
        model(IDS)
        model(IDS[:, :4])
    model(IDS)
    assert list(seen) == ["model.layers.1.mlp.gate", "model.layers.3.mlp.gate"]
    first, second = seen["model.layers.3.mlp.gate"]
    assert first.experts.shape == (60, 3)
    assert second.probabilities.shape == (12, 8)
    torch.testing.assert_close(first.probabilities.sum(-1), torch.ones(60))
    torch.testing.assert_close(first.weights.sum(-1), torch.ones(60))
    assert torch.equal(first.experts, first.probabilities.topk(3).indices)


def test_greedy_rows_equal_transformers(tmp_path: Path) -> None:
    """Prompts of different lengths, left-padded to a batch, get transformers' greedy tokens of each."""
    model = make_model(TINY)
    save_model(model, tmp_path)
    reference = Reference.from_pretrained(tmp_path, dtype=torch.float32)
    prompts = [IDS[0].tolist(), IDS[1, :7].tolist(), [5]]
    got = generate(model, prompts, [12] * 3, [frozenset()] * 3, [Sampling()] * 3, [0, 1, 2])
    for prompt, row in zip(prompts, got, strict=True):
        ids = torch.tensor([prompt])
        with torch.no_grad():
            for _ in range(12):
                ids = torch.cat((ids, reference(ids).logits[:, -1:].argmax(-1)), dim=1)
        assert row.token_ids == tuple(ids[0, len(prompt) :].tolist())


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("shards", [False, True])
def test_reads_checkpoints_of_transformers(stacked: bool, shards: bool, tmp_path: Path) -> None:
    """What transformers stores, an expert to a tensor or stacked, in one file or several, loads the same."""
    model = make_model(replace(TINY, decoder_sparse_step=2))
    save_model(model, tmp_path / "ours")
    reference = Reference.from_pretrained(tmp_path / "ours", dtype=torch.float32)
    folder = tmp_path / "theirs"
    reference.save_pretrained(
        folder, save_original_format=not stacked, max_shard_size="30KB" if shards else "1GB"
    )
    names = [name for file in folder.glob("*.safetensors") for name in load_file(file)]
    assert ("model.layers.1.mlp.experts.gate_up_proj" in names) == stacked
    assert ("model.layers.1.mlp.experts.7.up_proj.weight" in names) == (not stacked)
    assert (len(list(folder.glob("model-*.safetensors"))) > 1) == shards
    check_weights(folder)
    torch.testing.assert_close(load_model(folder)(IDS), model(IDS), atol=0, rtol=0)


def test_writes_the_names_of_the_hub(tmp_path: Path) -> None:
    """A mixture is stored an expert to a tensor, as on the hub, and reads back bit by bit, in shards too."""
    model = make_model(TINY)
    save_model(model, tmp_path, max_shard_bytes=30_000)
    files = sorted(tmp_path.glob("model-*.safetensors"))
    stored = {name: tensor for file in files for name, tensor in load_file(file).items()}
    assert len(files) > 1
    assert stored["model.layers.2.mlp.experts.5.gate_proj.weight"].shape == (24, 48)
    assert stored["model.layers.2.mlp.experts.5.down_proj.weight"].shape == (48, 24)
    assert not any(name.endswith(("experts.gate_up_proj", "experts.down_proj")) for name in stored)
    assert Qwen3Config.from_file(tmp_path) == TINY
    loaded = load_model(tmp_path)
    for name, parameter in model.named_parameters():
        assert torch.equal(loaded.get_parameter(name), parameter), name
    assert {p.dtype for p in load_model(tmp_path, torch.bfloat16).parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("missing", r"lacks tensor model\.layers\.1\.mlp\.experts\.2\.up_proj\.weight;"),
        ("surplus", r"surplus tensor model\.layers\.1\.mlp\.experts\.8\.up_proj\.weight"),
        ("misshapen", r"experts\.2\.up_proj\.weight has shape \[48, 24\].*\[24, 48\]"),
        ("router", r"lacks tensor model\.layers\.1\.mlp\.gate\.weight;"),
    ],
)
def test_an_expert_that_does_not_fit_is_named(how: str, named: str, tmp_path: Path) -> None:
    """A missing, surplus or misshapen expert or router raises CheckpointError with its name and shapes."""
    save_model(make_model(TINY), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    name = "model.layers.1.mlp.experts.2.up_proj.weight"
    if how == "missing":
        del tensors[name]
    elif how == "surplus":
        tensors[name.replace(".2.", ".8.")] = tensors[name].clone()
    elif how == "misshapen":
        tensors[name] = tensors[name].T.contiguous()
    else:
        del tensors["model.layers.1.mlp.gate.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    for read in (load_model, check_weights):
        with pytest.raises(CheckpointError, match=named):
            read(tmp_path)


def test_a_stack_of_another_shape_is_named(tmp_path: Path) -> None:
    """Experts stored stacked, but too few of them, raise CheckpointError with both shapes."""
    save_model(make_model(TINY), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    for name in [n for n in tensors if n.startswith("model.layers.1.mlp.experts.") and "down" in n]:
        del tensors[name]
    tensors["model.layers.1.mlp.experts.down_proj"] = torch.zeros(7, 48, 24)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"experts\.down_proj has shape \[7, 48, 24\].*\[8, 48, 24\]"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"num_experts": None}, "lacks num_experts;"),
        ({"num_experts_per_tok": 9}, "num_experts_per_tok=9 is not between 1 and num_experts=8"),
        ({"num_experts_per_tok": 0}, "num_experts_per_tok=0"),
        ({"decoder_sparse_step": 0}, "decoder_sparse_step=0"),
    ],
)
def test_a_mixture_that_cannot_be_is_refused(change: dict[str, object], named: str, tmp_path: Path) -> None:
    """Experts that config.json leaves out, or that cannot be chosen so, raise CheckpointError."""
    (tmp_path / "config.json").write_text(json.dumps(TINY.as_dict() | change))
    with pytest.raises(CheckpointError, match=named):
        Qwen3Config.from_file(tmp_path)


def test_the_count_of_experts_has_two_names() -> None:
    """transformers 5 writes `num_local_experts` where the hub has `num_experts`; head_dim may be left out."""
    settings = TINY.as_dict()
    settings["num_local_experts"] = settings.pop("num_experts")
    assert Qwen3Config.from_dict(settings) == TINY
    del settings["head_dim"]
    assert Qwen3Config.from_dict(settings).head_dim == 48 // 4


def test_balance_is_what_is_worked_by_hand() -> None:
    """Two micro-batches that each use one expert alone are balanced together, though neither is by itself."""
    # Three experts, one chosen per token. Mean probabilities: (0.6, 0.25, 0.15) and (0.2, 0.7, 0.1).
    first = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]])
    second = torch.tensor([[0.3, 0.6, 0.1], [0.1, 0.8, 0.1]])
    counts = [count_choices(p.argmax(-1, keepdim=True), 3) for p in (first, second)]
    assert [c.tolist() for c in counts] == [[2, 0, 0], [0, 2, 0]]
    # Each within itself: 3 x 0.6 = 1.8 and 3 x 0.7 = 2.1.
    assert float(load_balancing_loss(first, counts[0])) == pytest.approx(1.8)
    assert float(load_balancing_loss(second, counts[1])) == pytest.approx(2.1)
    # Together f = (1/2, 1/2, 0): 3 x (0.3 + 0.125) = 1.275 and 3 x (0.1 + 0.35) = 1.35, the mean 1.3125;
    # and of all four tokens at once, P = (0.4, 0.475, 0.125): 3 x (0.2 + 0.2375) = 1.3125.
    both = counts[0] + counts[1]
    assert float(load_balancing_loss(first, both)) == pytest.approx(1.275)
    assert float(load_balancing_loss(second, both)) == pytest.approx(1.35)
    assert float(load_balancing_loss(torch.cat((first, second)), both)) == pytest.approx(1.3125)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(2, 6), st.integers(1, 2), st.integers(0, 2**31))
def test_the_micro_batches_make_up_the_whole(batches: int, tokens: int, n: int, k: int, seed: int) -> None:
    """The mean over equal micro-batches, with summed counts, is the loss of one batch that holds them all."""
    logits = torch.randn(
        batches, tokens, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    probabilities = logits.softmax(-1)
    experts = probabilities.topk(k).indices
    counts = torch.stack([count_choices(e, n) for e in experts]).sum(0)
    mean = torch.stack([load_balancing_loss(p, counts) for p in probabilities]).mean()
    whole = load_balancing_loss(probabilities.flatten(0, 1), count_choices(experts.flatten(0, 1), n))
    torch.testing.assert_close(mean, whole)
    assert int(counts.sum()) == batches * tokens * k


def test_balance_is_that_of_transformers_over_k() -> None:
    """For one batch the loss is transformers' load_balancing_loss_func divided by the experts per token."""
    from transformers.models.qwen3_moe.modeling_qwen3_moe import load_balancing_loss_func

    logits = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    probabilities = logits.softmax(-1)
    counts = count_choices(probabilities.topk(3).indices, 8)
    expected = load_balancing_loss_func((logits,), 8, 3)
    assert float(load_balancing_loss(probabilities, counts)) == pytest.approx(float(expected) / 3, rel=1e-6)


def test_an_even_load_costs_one_and_padding_nothing() -> None:
    """An even load has a loss of 1, a load on one expert E; padding changes neither counts nor loss."""
    even = torch.full((4, 4), 0.25)
    assert float(load_balancing_loss(even, torch.tensor([3, 3, 3, 3]))) == pytest.approx(1)
    one = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    assert float(load_balancing_loss(one, torch.tensor([5, 0, 0, 0]))) == pytest.approx(4)
    mask = torch.tensor([True, False, True, True])
    probabilities = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)).softmax(-1)
    experts = probabilities.topk(2).indices
    counts = count_choices(experts, 4, mask)
    assert torch.equal(counts, count_choices(experts[mask], 4))
    assert torch.equal(
        load_balancing_loss(probabilities, counts, mask), load_balancing_loss(probabilities[mask], counts)
    )
    with pytest.raises(ValueError, match="no token is left"):
        load_balancing_loss(probabilities, counts, torch.zeros(4))


def test_balance_pushes_towards_idle_experts() -> None:
    """A step down the loss's gradient evens out the load."""
    logits = torch.tensor([[2.0, 0.0, 0.0, 0.0]] * 8).requires_grad_(True)
    probabilities = logits.softmax(-1)
    loss = load_balancing_loss(probabilities, count_choices(probabilities.topk(1).indices, 4))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[:, 0] > 0).all()
    assert (gradient[:, 1:] < 0).all()
