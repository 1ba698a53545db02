"""The bundled Qwen3 against transformers' own, and its checkpoints."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen3Config as ReferenceConfig
from transformers import Qwen3ForCausalLM as Reference

from qwen3_eval.errors import CheckpointError
from qwen3_eval.model.config import Qwen3Config
from qwen3_eval.model.generate import Generated, filter_probabilities, generate, penalise
from qwen3_eval.model.qwen3 import Qwen3ForCausalLM
from qwen3_eval.model.weights import load_model, save_model
from qwen3_eval.types import Sampling

# head_dim is not hidden_size / num_attention_heads (48 / 4 = 12).
TINY = Qwen3Config(
    vocab_size=67,
    hidden_size=48,
    intermediate_size=80,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    rope_theta=10_000.0,
    max_position_embeddings=128,
    initializer_range=0.2,
)
SHAPES = [
    pytest.param(
        replace(TINY, num_key_value_heads=kv, tie_word_embeddings=tied), id=f"gqa{4 // kv}-tied={tied}"
    )
    for kv in (4, 2, 1)
    for tied in (False, True)
]


def make_model(config: Qwen3Config, seed: int = 0) -> Qwen3ForCausalLM:
    model = Qwen3ForCausalLM(config)
    model.initialise(seed)
    with torch.no_grad():  # norms of one would hide a norm that is left out or doubled
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(len(name)))
    model.requires_grad_(False)
    return model


def make_reference(model: Qwen3ForCausalLM, folder: Path) -> Reference:
    save_model(model, folder)
    reference: Reference = Reference.from_pretrained(folder, dtype=torch.float32)
    return reference


def draw_ids(rows: int, tokens: int) -> torch.Tensor:
    return torch.randint(0, TINY.vocab_size, (rows, tokens), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("config", SHAPES)
def test_logits_equal_transformers(config: Qwen3Config, tmp_path: Path) -> None:
    """Logits of a whole prompt agree with transformers' Qwen3 to 1e-5, at every GQA ratio, tied or not."""
    model = make_model(config)
    ids = draw_ids(3, 40)
    with torch.no_grad():
        expected = make_reference(model, tmp_path)(ids).logits
    torch.testing.assert_close(model(ids), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", SHAPES)
def test_cached_logits_equal_transformers(config: Qwen3Config, tmp_path: Path) -> None:
    """Fed in pieces through the cache (a prompt, several tokens, single ones), the logits are the same."""
    model = make_model(config)
    ids = draw_ids(2, 30)
    with torch.no_grad():
        expected = make_reference(model, tmp_path)(ids).logits
    cache = model.new_cache()
    pieces = [model(piece, cache=cache) for piece in torch.split(ids, [12, 7, *[1] * 11], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", SHAPES)
def test_left_padded_batch_equals_transformers(config: Qwen3Config, tmp_path: Path) -> None:
    """Rows of a left-padded batch, with and without the cache, have transformers' logits of each alone."""
    model = make_model(config)
    reference = make_reference(model, tmp_path)
    ids = draw_ids(3, 20)
    lengths = (20, 13, 1)
    mask = torch.tensor([[False] * (20 - n) + [True] * n for n in lengths])
    whole = model(ids, mask)
    cache = model.new_cache()
    pieces = [model(ids[:, :15], mask[:, :15], cache=cache), model(ids[:, 15:17], mask[:, :17], cache=cache)]
    pieces += [model(ids[:, t : t + 1], mask[:, : t + 1], cache=cache) for t in (17, 18, 19)]
    for row, length in enumerate(lengths):
        with torch.no_grad():
            expected = reference(ids[row : row + 1, 20 - length :]).logits[0]
        torch.testing.assert_close(whole[row, 20 - length :], expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            torch.cat(pieces, dim=1)[row, 20 - length :], expected, atol=1e-5, rtol=1e-5
        )


def test_logits_to_keep_are_the_last() -> None:
    """`logits_to_keep` returns the last positions of the full logits."""
    model = make_model(TINY)
    ids = draw_ids(2, 9)
    torch.testing.assert_close(model(ids, logits_to_keep=3), model(ids)[:, -3:])


@pytest.mark.parametrize("tied", [False, True])
def test_reads_sharded_checkpoint_of_transformers(tied: bool, tmp_path: Path) -> None:
    """A checkpoint that transformers wrote in several shards loads with the same logits."""
    config = ReferenceConfig(
        **{k: v for k, v in replace(TINY, tie_word_embeddings=tied).as_dict().items() if k != "rope_theta"},
        rope_parameters={"rope_type": "default", "rope_theta": 50_000.0},
    )
    torch.manual_seed(0)
    reference = Reference(config)  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    reference.save_pretrained(tmp_path, max_shard_size="30KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    model = load_model(tmp_path)
    assert model.config.rope_theta == 50_000.0
    ids = draw_ids(2, 12)
    with torch.no_grad():
        torch.testing.assert_close(model(ids), reference(ids).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tied", [False, True])
def test_transformers_reads_our_shards(tied: bool, tmp_path: Path) -> None:
    """A checkpoint that we wrote in several shards loads in transformers, and here, with the same logits."""
    model = make_model(replace(TINY, tie_word_embeddings=tied))
    save_model(model, tmp_path, max_shard_bytes=30_000)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    ids = draw_ids(2, 12)
    reference = Reference.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(reference(ids).logits, model(ids), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(load_model(tmp_path)(ids), model(ids), atol=0, rtol=0)


def test_a_tied_head_is_stored_once_and_stays_tied(tmp_path: Path) -> None:
    """A tied checkpoint holds no lm_head.weight, and loading it shares the embedding's memory."""
    save_model(make_model(replace(TINY, tie_word_embeddings=True)), tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    loaded = load_model(tmp_path)
    assert loaded.lm_head.weight.data_ptr() == loaded.model.embed_tokens.weight.data_ptr()


def test_loads_in_the_dtype_asked_for(tmp_path: Path) -> None:
    """`dtype` casts every tensor; without it the stored dtype stays."""
    save_model(make_model(TINY).to(torch.bfloat16), tmp_path)
    assert {p.dtype for p in load_model(tmp_path).parameters()} == {torch.bfloat16}
    assert {p.dtype for p in load_model(tmp_path, torch.float32).parameters()} == {torch.float32}


def test_saving_anew_leaves_no_stale_shards(tmp_path: Path) -> None:
    """Saving over a sharded checkpoint removes its index and shards, so that nothing mixes old with new."""
    save_model(make_model(TINY, seed=0), tmp_path, max_shard_bytes=30_000)
    new = make_model(TINY, seed=1)
    save_model(new, tmp_path)
    assert [f.name for f in tmp_path.glob("*.safetensors*")] == ["model.safetensors"]
    assert torch.equal(load_model(tmp_path).model.embed_tokens.weight, new.model.embed_tokens.weight)


def break_weights(folder: Path, how: str) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    name = "model.layers.1.mlp.up_proj.weight"
    if how == "missing":
        del tensors[name]
    elif how == "surplus":
        tensors["model.layers.3.mlp.up_proj.weight"] = tensors[name].clone()
    elif how == "misshapen":
        tensors[name] = tensors[name].T.contiguous()
    save_file(tensors, file)


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("missing", r"lacks tensor model\.layers\.1\.mlp\.up_proj\.weight"),
        ("surplus", r"surplus tensor model\.layers\.3\.mlp\.up_proj\.weight"),
        ("misshapen", r"model\.layers\.1\.mlp\.up_proj\.weight has shape \[48, 80\].*\[80, 48\]"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(how: str, named: str, tmp_path: Path) -> None:
    """A missing, surplus or misshapen tensor raises CheckpointError with its name and shapes."""
    save_model(make_model(TINY), tmp_path)
    break_weights(tmp_path, how)
    with pytest.raises(CheckpointError, match=named):
        load_model(tmp_path)


@pytest.mark.parametrize("bytes_kept", [0, 5, 500, -1])
def test_a_truncated_file_is_named(bytes_kept: int, tmp_path: Path) -> None:
    """A file cut off in its header or its data raises CheckpointError that names it."""
    save_model(make_model(TINY), tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:bytes_kept])
    with pytest.raises(CheckpointError, match=r"model\.safetensors' is truncated"):
        load_model(tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    """A shard that the index lists but the folder lacks raises CheckpointError with its name."""
    save_model(make_model(TINY), tmp_path, max_shard_bytes=30_000)
    lost = sorted(tmp_path.glob("model-*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(CheckpointError, match=lost.name):
        load_model(tmp_path)


def test_a_folder_without_config_is_refused(tmp_path: Path) -> None:
    """A folder without config.json raises CheckpointError that says what to give."""
    with pytest.raises(CheckpointError, match=r"config\.json.*checkpoint folder"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model_type": "qwen3_moe", "num_experts": 8}, "lacks num_experts_per_tok, moe_intermediate_size"),
        ({"model_type": "llama"}, "model_type='llama'"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}, "rope_type='dynamic'"),
        ({"attention_bias": True}, "attention_bias=True"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
        ({"use_sliding_window": True}, "use_sliding_window=True"),
        ({"num_key_value_heads": 3}, "num_key_value_heads=3"),
        ({"vocab_size": None}, "lacks vocab_size"),
    ],
)
def test_a_config_that_is_no_qwen3_is_refused(change: dict[str, object], named: str, tmp_path: Path) -> None:
    """A setting that would change the forward pass raises CheckpointError with its name."""
    (tmp_path / "config.json").write_text(json.dumps(TINY.as_dict() | change))
    with pytest.raises(CheckpointError, match=named):
        Qwen3Config.from_file(tmp_path)


def test_config_round_trips(tmp_path: Path) -> None:
    """What `as_dict` writes, `from_file` reads back the same."""
    (tmp_path / "config.json").write_text(json.dumps(TINY.as_dict()))
    assert Qwen3Config.from_file(tmp_path) == TINY


def test_greedy_rows_equal_transformers_and_stop_on_their_own(tmp_path: Path) -> None:
    """Rows of different lengths, limits and stop tokens each get transformers' continuation."""
    model = make_model(TINY)
    reference = make_reference(model, tmp_path)
    prompts = [[5, 6, 7, 8, 9], [11], [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]]
    free = []
    for prompt in prompts:
        with torch.no_grad():
            ids = torch.tensor([prompt])
            for _ in range(20):
                ids = torch.cat((ids, reference(ids).logits[:, -1:].argmax(-1)), dim=1)
        free.append(tuple(ids[0, len(prompt) :].tolist()))
    stop = free[1][6]
    limits = [20, 20, 9]
    stops: list[frozenset[int]] = [frozenset(), frozenset({stop}), frozenset()]
    got = generate(model, prompts, limits, stops, [Sampling()] * 3, [0, 1, 2])
    assert got == [
        Generated(free[0], "length"),
        Generated(free[1][: free[1].index(stop) + 1], "stop"),
        Generated(free[2][:9], "length"),
    ]


def test_a_sampled_row_does_not_depend_on_its_neighbours() -> None:
    """With its own seed a row draws the same tokens alone as in any batch, at any place."""
    model = make_model(TINY)
    warm = Sampling(temperature=0.8, top_p=0.9, top_k=20)
    prompts = [[5, 6, 7, 8, 9], [11], [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]]

    def draw(rows: list[int]) -> list[Generated]:
        n = len(rows)
        return generate(
            model, [prompts[r] for r in rows], [24 - r for r in rows], [frozenset()] * n, [warm] * n, rows
        )

    together = draw([2, 0, 1])
    assert together == [draw([2])[0], draw([0])[0], draw([1])[0]]
    assert (
        together[0].token_ids != generate(model, [prompts[2]], [22], [frozenset()], [warm], [99])[0].token_ids
    )


def test_no_tokens_asked_for_gives_none() -> None:
    """A row with `max_tokens` 0 returns no ids, and the rows beside it go on."""
    got = generate(make_model(TINY), [[1], [2]], [0, 2], [frozenset()] * 2, [Sampling()] * 2, [0, 0])
    assert got[0] == Generated((), "length")
    assert len(got[1].token_ids) == 2


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(temperature=1.0), [0.5, 0.3, 0.15, 0.05]),
        # Squares over their sum: 0.25, 0.09, 0.0225, 0.0025 of 0.365.
        (Sampling(temperature=0.5), [0.684932, 0.246575, 0.061644, 0.006849]),
        (Sampling(temperature=1.0, top_k=2), [0.625, 0.375, 0.0, 0.0]),
        # 0.5 alone does not reach 0.6; with 0.3 it does.
        (Sampling(temperature=1.0, top_p=0.6), [0.625, 0.375, 0.0, 0.0]),
        (Sampling(temperature=1.0, top_p=0.1), [1.0, 0.0, 0.0, 0.0]),
        # 0.4 of the likeliest token's 0.5 is 0.2.
        (Sampling(temperature=1.0, min_p=0.4), [0.625, 0.375, 0.0, 0.0]),
        # top-p sees what top-k left: 0.5 of 0.8 is 0.625, which reaches 0.6.
        (Sampling(temperature=1.0, top_k=2, top_p=0.6), [1.0, 0.0, 0.0, 0.0]),
    ],
)
def test_filters_keep_what_vllm_keeps(sampling: Sampling, expected: list[float]) -> None:
    """Temperature, min-p, top-k and top-p give the probabilities worked by hand from 0.5, 0.3, 0.15, 0.05."""
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    torch.testing.assert_close(
        filter_probabilities(logits, sampling), torch.tensor(expected), atol=1e-5, rtol=0
    )


def test_penalties_follow_vllm() -> None:
    """Repetition counts prompt and output and scales by sign; the other two count the output."""
    logits = torch.tensor([2.0, -2.0, 1.0, 1.0])
    got = penalise(logits, [0, 1], [2, 2], Sampling(repetition_penalty=2.0))
    assert got.tolist() == [1.0, -4.0, 0.5, 1.0]
    got = penalise(logits, [0, 1], [2, 2], Sampling(presence_penalty=0.5, frequency_penalty=0.25))
    assert got.tolist() == [2.0, -2.0, 0.0, 1.0]
