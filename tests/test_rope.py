"""RoPE and YaRN against transformers' tables, and against values worked by hand."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen3Config as ReferenceConfig
from transformers import Qwen3ForCausalLM as Reference
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding

from qwen3_eval.checkpoint import locate_checkpoint
from qwen3_eval.errors import CheckpointError
from qwen3_eval.model.config import Qwen3Config, Yarn
from qwen3_eval.model.generate import generate
from qwen3_eval.model.qwen3 import Qwen3ForCausalLM
from qwen3_eval.model.rope import RotaryEmbedding
from qwen3_eval.model.weights import load_model, save_model
from qwen3_eval.types import Sampling

PLAIN: dict[str, Any] = {
    "model_type": "qwen3",
    "vocab_size": 67,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "max_position_embeddings": 40_960,
    "initializer_range": 0.2,
}
YARN: dict[str, Any] = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768}
# What config.json says, by how it is spelt: transformers 5, the model cards, and older cards.
SPELLINGS: dict[str, dict[str, Any]] = {
    "nothing said": {},
    "plain": {"rope_theta": 1_000_000.0},
    "plain, theta inside": {"rope_parameters": {"rope_type": "default", "rope_theta": 5_000_000.0}},
    "factor 1": {"rope_theta": 1_000_000.0, "rope_scaling": YARN | {"factor": 1.0}},
    "factor 2": {"rope_theta": 1_000_000.0, "rope_scaling": YARN | {"factor": 2.0}},
    "factor 4": {"rope_theta": 1_000_000.0, "rope_scaling": YARN},
    "factor 4, theta inside": {"rope_parameters": YARN | {"rope_theta": 1_000_000.0}},
    "factor 4, by type": {
        "rope_theta": 1_000_000.0,
        "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768},
    },
    "factor 2, 262144": {"rope_parameters": YARN | {"factor": 2.0, "rope_theta": 5e6}}
    | {"max_position_embeddings": 262_144},
    "ends of the ramp": {"rope_parameters": YARN | {"rope_theta": 1e4, "beta_fast": 20.0, "beta_slow": 2.0}},
    "ramp between pairs": {"rope_parameters": YARN | {"rope_theta": 1e6, "truncate": False}},
    "scale given": {"rope_parameters": YARN | {"rope_theta": 1e6, "attention_factor": 1.25}},
    "no original": {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e6}},
}


def test_tables_equal_transformers() -> None:
    """Cosines and sines are transformers' to 1e-6 at every spelling, up to position 131,071."""
    positions = torch.cat((torch.arange(0, 4096), torch.arange(4096, 131_072, 97), torch.tensor([131_071])))
    largest = 0.0
    for name, rope in SPELLINGS.items():
        theirs = Qwen3RotaryEmbedding(ReferenceConfig(**json.loads(json.dumps(PLAIN | rope))))
        config = Qwen3Config.from_dict(PLAIN | rope)
        ours = RotaryEmbedding(config.head_dim, config.rope_theta, config.yarn)
        expected = theirs(torch.zeros(1, dtype=torch.float32), positions[None])
        for got, want in zip(ours(positions[None], torch.float32), expected, strict=True):
            deviation = float((got[:, 0] - want).abs().max())
            assert deviation <= 1e-6, name
            largest = max(largest, deviation)
    print(f"largest deviation of a cosine or sine from transformers: {largest:.2g}")


def test_yarn_is_what_is_worked_by_hand() -> None:
    """At Qwen3's theta, factor 4 keeps pairs 0 to 23, divides from 40 on by 4, and goes linearly between."""
    # 32 turns in 32,768 positions: pair 128 ln(32768 / 64 pi) / (2 ln 1e6) = 23.6, down to 23; one turn:
    # 128 ln(32768 / 2 pi) / (2 ln 1e6) = 39.7, up to 40. Pair 31 is 8/17 of the way: 9/17 + 8/17 / 4 = 11/17.
    plain = RotaryEmbedding(128, 1e6).find_frequencies()
    ratio = RotaryEmbedding(128, 1e6, Yarn(4.0, 32_768)).find_frequencies() / plain
    torch.testing.assert_close(ratio[:24], torch.ones(24))
    torch.testing.assert_close(ratio[40:], torch.full((24,), 0.25))
    assert float(ratio[31]) == pytest.approx(11 / 17, rel=1e-6)
    assert float(plain[0]) == 1.0
    assert float(plain[32]) == pytest.approx(1e-3, rel=1e-6)  # 1e6 ** -(64 / 128)
    assert Yarn(4.0, 32_768).scale == pytest.approx(1.138629, abs=1e-6)  # 0.1 ln 4 + 1
    assert Yarn(1.0, 32_768).scale == 1.0


def test_angles_stay_float32() -> None:
    """A model in bfloat16 turns by float32 angles, rounded only at the end."""
    rope = RotaryEmbedding(128, 1e6, Yarn(4.0, 32_768))
    positions = torch.tensor([[100_001]])
    for half, full in zip(rope(positions, torch.bfloat16), rope(positions, torch.float32), strict=True):
        torch.testing.assert_close(half, full.bfloat16(), atol=0, rtol=0)


@pytest.mark.parametrize("spelling", ["factor 2", "factor 4, theta inside", "plain, theta inside"])
def test_logits_equal_transformers(spelling: str, tmp_path: Path) -> None:
    """A stretched model's logits at far positions are transformers' to 1e-5, from transformers' own files."""
    torch.manual_seed(0)
    Reference(ReferenceConfig(**PLAIN | SPELLINGS[spelling])).save_pretrained(tmp_path)  # type: ignore[no-untyped-call]  # untyped
    reference = Reference.from_pretrained(tmp_path, dtype=torch.float32)
    model = load_model(tmp_path)
    ids = torch.randint(0, 67, (2, 24), generator=torch.Generator().manual_seed(1))
    positions = torch.arange(0, 24 * 1500, 1500).expand(2, -1)
    with torch.no_grad():
        expected = reference(ids, position_ids=positions).logits
    deviation = float((model(ids, position_ids=positions) - expected).abs().max())
    print(f"largest deviation of a logit from transformers, {spelling}: {deviation:.2g}")
    assert deviation <= 1e-5


def test_a_stretched_config_is_transformers(tmp_path: Path) -> None:
    """What `as_dict` writes of YaRN, transformers reads to the same logits, and `from_file` as it was."""
    plain = Qwen3Config.from_dict(PLAIN)
    config = plain.stretch(4.0)
    assert config.yarn == Yarn(4.0, 32_768)  # 40,960 positions are 32,768 and a prompt's
    model = Qwen3ForCausalLM(config)
    model.initialise(0)
    save_model(model, tmp_path)
    assert Qwen3Config.from_file(tmp_path) == config
    ids = torch.arange(30)[None]
    with torch.no_grad():
        expected = Reference.from_pretrained(tmp_path, dtype=torch.float32)(ids).logits
        torch.testing.assert_close(model(ids), expected, atol=1e-5, rtol=1e-5)


def test_a_checkpoint_is_stretched_as_it_is_loaded(tmp_path: Path) -> None:
    """`yarn_factor` loads the same weights as a config.json with YaRN, and the context grows with it."""
    model = Qwen3ForCausalLM(Qwen3Config.from_dict(PLAIN))
    model.initialise(0)
    save_model(model, tmp_path)
    stretched = load_model(tmp_path, yarn_factor=4.0)
    assert stretched.config.context == 131_072
    assert load_model(tmp_path).config.context == 40_960
    assert locate_checkpoint(str(tmp_path)).context == 40_960
    ids = torch.arange(30)[None]
    assert not torch.allclose(stretched(ids), model(ids), atol=1e-3)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | {"rope_scaling": YARN}))
    assert locate_checkpoint(str(tmp_path)).context == 131_072
    torch.testing.assert_close(load_model(tmp_path)(ids), stretched(ids), atol=0, rtol=0)
    with pytest.raises(CheckpointError, match=r"YaRN of factor 4 already"):
        load_model(tmp_path, yarn_factor=2.0)
    greedy = generate(stretched, [[1, 2, 3]], [5], [frozenset()], [Sampling()], [0])
    assert len(greedy[0].token_ids) == 5


@pytest.mark.parametrize(
    ("rope", "named"),
    [
        ({"rope_type": "linear", "factor": 2.0}, "rope_type='linear'.*'default' or 'yarn'"),
        ({"rope_type": "yarn"}, "lacks its factor"),
        (YARN | {"factor": 0.5}, "factor=0.5 is not at least 1"),
        (YARN | {"mscale": 0.7}, "YaRN's mscale=0.7"),
        ({"rope_type": "default", "partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5"),
    ],
)
def test_a_rope_that_is_not_ours_is_refused(rope: dict[str, Any], named: str) -> None:
    """What would turn otherwise raises CheckpointError with its name, in both spellings."""
    for key in ("rope_parameters", "rope_scaling"):
        with pytest.raises(CheckpointError, match=named):
            Qwen3Config.from_dict(PLAIN | {key: rope})


def test_two_spellings_at_once_are_refused() -> None:
    """rope_parameters beside another rope_scaling raises CheckpointError: transformers drops the theta."""
    both = {"rope_parameters": {"rope_type": "default", "rope_theta": 5e6}, "rope_scaling": YARN}
    with pytest.raises(CheckpointError, match=r"both rope_parameters=.*and rope_scaling=.*keep one"):
        Qwen3Config.from_dict(PLAIN | both)
    same = {"rope_parameters": YARN, "rope_scaling": YARN}
    assert Qwen3Config.from_dict(PLAIN | same).yarn == Yarn(4.0, 32_768)


def test_relative_positions_are_all_that_counts() -> None:
    """Attention scores depend on how far apart query and key are, stretched or not."""
    from qwen3_eval.model.rope import rotate

    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 64, generator=generator, dtype=torch.float64)
    for yarn in (None, Yarn(4.0, 512)):
        rope = RotaryEmbedding(64, 1e4, yarn)
        scores = [
            float(
                (
                    rotate(q, rope(torch.tensor([[a]]), q.dtype))
                    * rotate(k, rope(torch.tensor([[b]]), q.dtype))
                ).sum()
            )
            for a, b in ((7, 3), (107, 103))
        ]
        assert math.isclose(*scores, rel_tol=1e-4, abs_tol=1e-4)
