"""The hyperparameters of a Qwen3 checkpoint, under the keys of its config.json."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen3_eval.errors import CheckpointError


@dataclass(frozen=True)
class Qwen3Config:
    """The shape of a dense Qwen3. `head_dim` is its own number, not `hidden_size / num_attention_heads`.

    Source: config.json of Qwen/Qwen3-8B; Qwen3 technical report (arXiv 2505.09388), section 2.
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

    def __post_init__(self) -> None:
        if self.num_attention_heads % self.num_key_value_heads:
            raise CheckpointError(
                f"config.json: num_attention_heads={self.num_attention_heads} is not a multiple of "
                f"num_key_value_heads={self.num_key_value_heads}; each key-value head serves a whole group"
            )
        if self.head_dim % 2:
            raise CheckpointError(f"config.json: head_dim={self.head_dim} is odd; RoPE turns pairs")

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
        _refuse_unsupported(settings)
        given = {key: settings[key] for key in cls.__dataclass_fields__ if settings.get(key) is not None}
        # transformers 5 writes rope_theta inside rope_parameters; older versions write it at the top.
        rope = settings.get("rope_parameters") or {}
        if "rope_theta" in rope:
            given["rope_theta"] = rope["rope_theta"]
        eos = given.get("eos_token_id")
        if isinstance(eos, list):
            given["eos_token_id"] = eos[0]
        # What a Qwen3 config.json may leave out; the class in transformers fills in the same.
        given.setdefault("num_key_value_heads", given.get("num_attention_heads"))
        given.setdefault("head_dim", 128)
        try:
            return cls(**given)
        except TypeError as error:
            missing = [
                key
                for key in cls.__dataclass_fields__
                if key not in given
                and key not in _DEFAULTED
                and key not in ("num_key_value_heads", "head_dim")
            ]
            raise CheckpointError(
                f"config.json lacks {', '.join(missing)}; it must be the config of a Qwen3 checkpoint"
            ) from error

    def as_dict(self) -> dict[str, Any]:
        """Returns the keys of a config.json that transformers and vLLM read as this model."""
        return {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "rope_theta": self.rope_theta,
            "rms_norm_eps": self.rms_norm_eps,
            "tie_word_embeddings": self.tie_word_embeddings,
            "max_position_embeddings": self.max_position_embeddings,
            "initializer_range": self.initializer_range,
            "attention_bias": False,
            "eos_token_id": self.eos_token_id,
        }


_DEFAULTED = {
    "rope_theta",
    "rms_norm_eps",
    "tie_word_embeddings",
    "max_position_embeddings",
    "initializer_range",
    "eos_token_id",
}


def _refuse_unsupported(settings: Mapping[str, Any]) -> None:
    """Settings that would change the forward pass are refused, never ignored."""
    model_type = settings.get("model_type", "qwen3")
    if model_type == "qwen3_moe" or settings.get("num_experts"):
        raise CheckpointError(
            "config.json describes a mixture of experts (qwen3_moe), which the bundled model does not run "
            "yet; use model.impl=vllm"
        )
    if model_type != "qwen3":
        raise CheckpointError(f"config.json: model_type='{model_type}' is not 'qwen3'; use model.impl=vllm")
    rope = settings.get("rope_parameters") or settings.get("rope_scaling") or {}
    rope_type = rope.get("rope_type", rope.get("type", "default"))
    for key, got, allowed in (
        ("hidden_act", settings.get("hidden_act", "silu"), "silu"),
        ("attention_bias", bool(settings.get("attention_bias", False)), False),
        ("use_sliding_window", bool(settings.get("use_sliding_window", False)), False),
        ("rope_type", rope_type, "default"),
    ):
        if got != allowed:
            raise CheckpointError(
                f"config.json: {key}={got!r} is not supported by the bundled model (only {allowed!r}); "
                "use model.impl=vllm"
            )
