"""Where a checkpoint lies, what architecture and form it is, and a fingerprint of the weights that ran."""

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qwen3_eval.adapter import Adapter, check_adapter, locate_adapter
from qwen3_eval.config import ModelConfig
from qwen3_eval.errors import CheckpointError

BOX = {
    "box:nano": Path(__file__).parent / "model" / "nano_checkpoint",
    "box:nano-moe": Path(__file__).parent / "model" / "nano_moe_checkpoint",
}
"""The checkpoints that ship with the package."""

_HUB_TIMEOUT_S = 10.0
_WHOLE_BYTES = 4 << 30  # beyond this, weights are fingerprinted by their headers and ends


@dataclass(frozen=True)
class Checkpoint:
    """A located checkpoint. `context` is in tokens, None where config.json does not tell.

    `quantization` is the method that config.json names (awq, gptq, fp8, ...), "" for plain weights. The
    fingerprint is of the weights and, with an adapter, of both.
    """

    path: str
    revision: str | None
    architecture: str
    context: int | None
    fingerprint: str
    quantization: str = ""
    adapter: Adapter | None = None

    def describe(self) -> dict[str, Any]:
        """Returns what run.json keeps of it, beside the name and path that the settings give."""
        return {
            "revision": self.revision,
            "architecture": self.architecture,
            "quantization": self.quantization,
            "adapter": self.adapter.describe() if self.adapter else None,
            "fingerprint": self.fingerprint,
        }


def locate_model(model: ModelConfig) -> Checkpoint:
    """Returns the checkpoint that the settings name, with their adapter on it. Raises CheckpointError."""
    checkpoint = locate_checkpoint(model.path, model.revision)
    if not model.adapter:
        return checkpoint
    adapter = locate_adapter(model.adapter)
    if Path(checkpoint.path).is_dir():
        check_adapter(adapter, Path(checkpoint.path), quantized=bool(checkpoint.quantization))
    both = hashlib.sha256(f"{checkpoint.fingerprint}+{adapter.fingerprint}".encode()).hexdigest()
    return replace(checkpoint, adapter=adapter, fingerprint=f"sha256:{both}")


def name_model(model: ModelConfig) -> str:
    """Returns what reports call the model that the settings name, its adapter included."""
    name = model.name or _last_part(model.path)
    return f"{name}+{_last_part(model.adapter)}" if model.adapter else name


def locate_checkpoint(path: str, revision: str | None = None) -> Checkpoint:
    """Returns the checkpoint at a local folder, a `box:` name or a hub id. Raises CheckpointError."""
    folder = BOX.get(path, Path(path).expanduser())
    if folder.is_dir():
        config_file = folder / "config.json"
        if not config_file.is_file():
            raise CheckpointError(
                f"model folder '{path}' has no config.json; a checkpoint in Hugging Face layout holds "
                "config.json, tokenizer.json and *.safetensors"
            )
        try:
            config = json.loads(config_file.read_text())
        except ValueError as error:
            raise CheckpointError(f"'{config_file}' is not JSON: {error}") from error
        if not list(folder.glob("*.safetensors")):
            raise CheckpointError(f"model folder '{path}' holds no *.safetensors weights")
        return _read(str(folder), revision, config, _fingerprint(folder))
    if path.startswith((".", "/", "~")) or path.count("/") != 1:
        raise CheckpointError(
            f"model '{path}' is no folder here; give a folder in Hugging Face layout, a hub id "
            "(owner/name), or a name from 'python -m qwen3_eval models'"
        )
    from transformers import AutoConfig

    _go_offline_where_no_hub_answers(path, revision)
    try:
        hub_config = AutoConfig.from_pretrained(path, revision=revision)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"model '{path}' is no folder here, and the hub does not give it: {str(error).splitlines()[0]}; "
            "check the name and the network, or give a local folder"
        ) from error
    commit = getattr(hub_config, "_commit_hash", None)
    return _read(path, commit or revision, hub_config.to_dict(), f"commit:{commit or 'unknown'}")


def _go_offline_where_no_hub_answers(path: str, revision: str | None) -> None:
    """Without a hub transformers and vLLM retry for minutes before they look in the cache; so, at once."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().model_info(path, revision=revision, timeout=_HUB_TIMEOUT_S)
    except HfHubHTTPError:
        return  # it answers: what it refuses it refuses transformers again, with the reason
    except Exception:  # httpx's errors, by the version of httpx that huggingface_hub carries
        constants.HF_HUB_OFFLINE = True
        os.environ["HF_HUB_OFFLINE"] = "1"  # for the engine's processes


def _read(path: str, revision: str | None, config: dict[str, Any], fingerprint: str) -> Checkpoint:
    architectures = config.get("architectures") or ["unknown"]
    context, quantization = _find_context(config), _find_quantization(config)
    return Checkpoint(path, revision, architectures[0], context, fingerprint, quantization)


def _find_quantization(config: dict[str, Any]) -> str:
    settings = config.get("quantization_config") or config.get("compression_config") or {}
    return str(settings.get("quant_method") or "unknown") if settings else ""


def _find_context(config: dict[str, Any]) -> int | None:
    context: int | None = config.get("max_position_embeddings")
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if context and rope.get("rope_type", rope.get("type")) == "yarn" and rope.get("factor"):
        # The model cards have people add YaRN and leave max_position_embeddings as it is; so reads vLLM.
        return int((rope.get("original_max_position_embeddings") or context) * rope["factor"])
    return context


def _fingerprint(folder: Path) -> str:
    """sha256 over the files that decide an output; weights beyond 4 GiB by size, header and last MiB."""
    names = (
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    )
    files = [folder / n for n in names if (folder / n).is_file()] + sorted(folder.glob("*.safetensors"))
    whole = sum(f.stat().st_size for f in files) <= _WHOLE_BYTES
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}\n".encode())
        with file.open("rb") as stream:
            if whole:
                while block := stream.read(1 << 20):
                    digest.update(block)
            else:
                digest.update(stream.read(1 << 20))
                stream.seek(max(size - (1 << 20), 0))
                digest.update(stream.read())
    return f"sha256:{digest.hexdigest()}"


def _last_part(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
