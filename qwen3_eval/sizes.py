"""Every published size of Qwen3: the values of its config.json, and the parameters that they make."""

import csv
import json
from dataclasses import dataclass
from importlib.resources import files

from qwen3_eval.model.config import Qwen3Config


@dataclass(frozen=True)
class Size:
    """A published checkpoint. Parameters are in billions, to the digits that its model card prints."""

    hub_id: str
    config: Qwen3Config
    total: str
    non_embedding: str
    activated: str


@dataclass(frozen=True)
class ParameterCount:
    """Parameters of a model: all, those beside embedding and head, and those that one token uses."""

    total: int
    non_embedding: int
    activated: int


def read_sizes() -> dict[str, Size]:
    """Returns the published sizes by name, as `Qwen3-8B`.

    Source: config.json and README.md of each hub repository; Qwen3 technical report (arXiv 2505.09388),
    tables 1 and 2.
    """
    sizes = {}
    with files("qwen3_eval").joinpath("sizes.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            name, hub_id = row.pop("name"), row.pop("hub_id")
            counts = [row.pop(f"billions_{kind}") for kind in ("total", "non_embedding", "activated")]
            settings = {key: json.loads(value) for key, value in row.items() if value}
            sizes[name] = Size(hub_id, Qwen3Config.from_dict(settings), *counts)
    return sizes


def count_parameters(config: Qwen3Config) -> ParameterCount:
    """Counts the parameters of a model by building it without memory; a tied head counts once."""
    from qwen3_eval.model.weights import build_empty

    total = idle = 0
    model = build_empty(config)
    for name, parameter in model.named_parameters():
        total += parameter.numel()
        if ".experts." in name:
            idle += (
                parameter.numel() // config.num_experts * (config.num_experts - config.num_experts_per_tok)
            )
    heads = {id(p): p.numel() for p in (model.model.embed_tokens.weight, model.lm_head.weight)}
    return ParameterCount(total, total - sum(heads.values()), total - idle)
