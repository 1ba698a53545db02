"""The hyperparameters of a Qwen3 checkpoint, under the keys of its config.json."""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from qwen3_eval.errors import CheckpointError

DENSE, MIXTURE = "Qwen3ForCausalLM", "Qwen3MoeForCausalLM"
"""The architectures of the bundled model, as config.json names them."""


def find_native_context(max_position_embeddings: int) -> int:
    """Returns the context that YaRN stretches: what the model was trained on.

    Source: Qwen3 model cards, Processing Long Texts: 40,960 positions are 32,768 and the room of a prompt.
    """
    return 32_768 if max_position_embeddings == 40_960 else max_position_embeddings


@dataclass(frozen=True)
class Yarn:
    """How YaRN stretches RoPE to `factor` times the context that the model was trained on.

    Source: Peng et al., YaRN (arXiv 2309.00071), sections 3.2 and 3.4; keys and defaults as in transformers.
    """

    factor: float
    original_max_position_embeddings: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    truncate: bool = True

    @property
    def scale(self) -> float:
        """What cosines and sines are multiplied by, so that attention stays as sharp. Source: equation 22."""
        return 0.1 * math.log(self.factor) + 1 if self.attention_factor is None else self.attention_factor


@dataclass(frozen=True)
class Qwen3Config:
    """The shape of a Qwen3. `head_dim` is its own number, not `hidden_size / num_attention_heads`.

    With `num_experts` above 0, each `decoder_sparse_step`-th layer but `mlp_only_layers` is a mixture of
    experts, each of `moe_intermediate_size`. `yarn` is None where RoPE is not stretched.
    Source: config.json of Qwen/Qwen3-8B and Qwen/Qwen3-30B-A3B; Qwen3 technical report (arXiv 2505.09388),
    section 2.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rope_theta: float = 1_000_000.0
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = False
    max_position_embeddings: int = 40_960
    initializer_range: float = 0.02
    eos_token_id: int | None = None
    yarn: Yarn | None = None
    num_experts: int = 0
    num_experts_per_tok: int = 0
    moe_intermediate_size: int = 0
    norm_topk_prob: bool = False
    decoder_sparse_step: int = 1
    mlp_only_layers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.num_attention_heads % self.num_key_value_heads:
            raise CheckpointError(
                f"config.json: num_attention_heads={self.num_attention_heads} is not a multiple of "
                f"num_key_value_heads={self.num_key_value_heads}; each key-value head serves a whole group"
            )
        if self.head_dim % 2:
            raise CheckpointError(f"config.json: head_dim={self.head_dim} is odd; RoPE turns pairs")
        if self.num_experts and not 1 <= self.num_experts_per_tok <= self.num_experts:
            raise CheckpointError(
                f"config.json: num_experts_per_tok={self.num_experts_per_tok} is not between 1 and "
                f"num_experts={self.num_experts}"
            )
        for key in ("moe_intermediate_size", "decoder_sparse_step"):
            if self.num_experts and getattr(self, key) < 1:
                raise CheckpointError(f"config.json: {key}={getattr(self, key)} is not at least 1")
        if self.yarn is not None and self.yarn.factor < 1:
            raise CheckpointError(f"config.json: YaRN's factor={self.yarn.factor} is not at least 1")

    @property
    def context(self) -> int:
        """Tokens that a prompt and its output may have together."""
        if self.yarn is None:
            return self.max_position_embeddings
        return int(self.yarn.original_max_position_embeddings * self.yarn.factor)

    def is_sparse(self, layer: int) -> bool:
        """Says whether a layer, counted from 0, is a mixture of experts."""
        chosen = self.num_experts > 0 and layer not in self.mlp_only_layers
        return chosen and (layer + 1) % self.decoder_sparse_step == 0

    @property
    def sparse_layers(self) -> list[int]:
        """The layers that are mixtures of experts, counted from 0."""
        return [layer for layer in range(self.num_hidden_layers) if self.is_sparse(layer)]

    def stretch(self, factor: float) -> "Qwen3Config":
        """Returns the config with YaRN at `factor` times the native context; 1 leaves it as it is."""
        if factor == 1:
            return self
        if self.yarn is not None:
            raise CheckpointError(
                f"config.json asks for YaRN of factor {self.yarn.factor:g} already; leave engine.yarn_factor "
                "at 1, or take it out of there"
            )
        return replace(self, yarn=Yarn(factor, find_native_context(self.max_position_embeddings)))

    @classmethod
    def from_file(cls, path: str | Path) -> "Qwen3Config":
        """Reads a config.json, or the one in a folder. Raises CheckpointError where it does not fit."""
        file = Path(path)
        file = file / "config.json" if file.is_dir() else file
        try:
            settings = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise CheckpointError(
                f"no config.json at '{file}' ({error.strerror}); "
                "give a checkpoint folder in Hugging Face layout"
            ) from error
        except ValueError as error:
            raise CheckpointError(
                f"'{file}' is not valid JSON: {error}; fetch the checkpoint again"
            ) from error
        try:
            return cls.from_dict(settings)
        except CheckpointError as error:
            raise CheckpointError(f"'{file.parent}': {error}") from error

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> "Qwen3Config":
        """Reads the keys of a config.json; keys the forward pass does not need are ignored."""
        sparse = _refuse_unsupported(settings)
        known = [f.name for f in fields(cls) if f.name != "yarn" and (sparse or f.name not in _SPARSE)]
        given = {key: settings[key] for key in known if settings.get(key) is not None}
        # What a Qwen3 config.json may leave out; the classes in transformers fill in the same.
        defaults = {
            "num_key_value_heads": given.get("num_attention_heads"),
            "head_dim": 128,
            "rope_theta": 10_000.0,
            "max_position_embeddings": 32_768,
        }
        if sparse and given.get("num_attention_heads"):
            defaults["head_dim"] = given.get("hidden_size", 0) // given["num_attention_heads"]
        given = defaults | given
        rope = _read_rope(settings)
        # transformers 5 writes rope_theta inside rope_parameters; older versions write it at the top.
        given["rope_theta"] = rope.get("rope_theta", given["rope_theta"])
        if rope.get("rope_type", rope.get("type")) == "yarn":
            given["yarn"] = _read_yarn(rope, given["max_position_embeddings"])
        eos = given.get("eos_token_id")
        if isinstance(eos, list):
            given["eos_token_id"] = eos[0]
        required = [f.name for f in fields(cls) if f.default is MISSING]
        if sparse:
            given.setdefault("num_experts", settings.get("num_local_experts"))  # the name in transformers 5
            given["mlp_only_layers"] = tuple(given.get("mlp_only_layers", ()))
            required += ["num_experts", "num_experts_per_tok", "moe_intermediate_size"]
        if missing := [key for key in required if given.get(key) is None]:
            raise CheckpointError(
                f"config.json lacks {', '.join(missing)}; it must be the config of a Qwen3 checkpoint"
            )
        return cls(**given)

    def as_dict(self) -> dict[str, Any]:
        """Returns the keys of a config.json that transformers and vLLM read as this model."""
        kind = (MIXTURE, "qwen3_moe") if self.num_experts else (DENSE, "qwen3")
        keys = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("yarn", *_SPARSE)}
        sparse = {key: getattr(self, key) for key in _SPARSE} if self.num_experts else {}
        if sparse:
            sparse["mlp_only_layers"] = list(self.mlp_only_layers)
        if self.yarn is not None:
            yarn = {key: value for key, value in asdict(self.yarn).items() if value is not None}
            keys["rope_scaling"] = {"rope_type": "yarn", **yarn}
        return {
            "architectures": [kind[0]],
            "model_type": kind[1],
            **keys,
            **sparse,
            "hidden_act": "silu",
            "attention_bias": False,
        }


_SPARSE = (
    "num_experts",
    "num_experts_per_tok",
    "moe_intermediate_size",
    "norm_topk_prob",
    "decoder_sparse_step",
    "mlp_only_layers",
)


def _read_rope(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `rope_parameters`, as transformers 5 writes it, or `rope_scaling`, as the model cards do."""
    new, old = settings.get("rope_parameters") or {}, settings.get("rope_scaling") or {}
    if new and old and new != old:
        raise CheckpointError(
            f"config.json has both rope_parameters={new} and rope_scaling={old}, of which transformers drops "
            "the first, its rope_theta too; keep one"
        )
    rope: dict[str, Any] = new or old
    return {key: value for key, value in rope.items() if value is not None}


def _read_yarn(rope: Mapping[str, Any], max_position_embeddings: int) -> Yarn:
    keys = [f.name for f in fields(Yarn)]
    rope = {"original_max_position_embeddings": max_position_embeddings, **rope}
    for key in rope:
        if key not in (*keys, "rope_theta", "rope_type", "type"):
            raise CheckpointError(
                f"config.json: YaRN's {key}={rope[key]!r} is not supported by the bundled model "
                f"(only {', '.join(keys)}); use model.impl=vllm"
            )
    return Yarn(**{key: rope[key] for key in keys if key in rope})


def _refuse_unsupported(settings: Mapping[str, Any]) -> bool:
    """Refuses settings that would change the forward pass; says whether experts are mixed."""
    model_type = settings.get("model_type", "qwen3_moe" if settings.get("num_experts") else "qwen3")
    if model_type not in ("qwen3", "qwen3_moe"):
        raise CheckpointError(
            f"config.json: model_type='{model_type}' is not 'qwen3' or 'qwen3_moe'; use model.impl=vllm"
        )
    rope = _read_rope(settings)
    rope_type = rope.get("rope_type", rope.get("type", "default"))
    for key, got, allowed in (
        ("hidden_act", settings.get("hidden_act", "silu"), ("silu",)),
        ("attention_bias", bool(settings.get("attention_bias", False)), (False,)),
        ("use_sliding_window", bool(settings.get("use_sliding_window", False)), (False,)),
        ("rope_type", rope_type, ("default", "yarn")),
        ("partial_rotary_factor", rope.get("partial_rotary_factor", 1.0), (1.0,)),
    ):
        if got not in allowed:
            raise CheckpointError(
                f"config.json: {key}={got!r} is not supported by the bundled model (only "
                f"{' or '.join(map(repr, allowed))}); use model.impl=vllm"
            )
    if rope_type == "yarn" and "factor" not in rope:
        raise CheckpointError("config.json: rope_type='yarn' lacks its factor; give it, 4.0 for Qwen3's 128K")
    return bool(model_type == "qwen3_moe")
