"""Checkpoints in Hugging Face layout: config.json and safetensors, in one file or several with an index.

A mixture's experts are stacked in memory. On the hub each is stored by itself, and so they are written here;
read are both, for transformers 5 can also store them stacked.

Tensors are read straight into their place. Mapped files would count beside the copies made of them.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from qwen3_eval.errors import CheckpointError
from qwen3_eval.model.config import Qwen3Config
from qwen3_eval.model.qwen3 import Qwen3ForCausalLM

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
TIED = "lm_head.weight"
DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
"""What weights may be stored in, as safetensors writes it."""

Part = tuple[str, tuple[int | slice, ...]]
"""A parameter's name, and what of it a stored tensor fills: () is all of it."""


def load_model(
    path: str | Path,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
    yarn_factor: float = 1.0,
) -> Qwen3ForCausalLM:
    """Loads a checkpoint folder for inference, one tensor at a time; `dtype=None` keeps the stored one.

    `yarn_factor` above 1 stretches the native context by YaRN so many times. Raises CheckpointError where a
    file is missing or damaged, or a tensor is missing, surplus or misshapen.
    """
    folder = Path(path)
    model = build_empty(Qwen3Config.from_file(folder).stretch(yarn_factor))
    tied = model.config.tie_word_embeddings
    _check_tensors(folder, model)
    stored = _list_stored(model)
    for file in _weight_files(folder):
        with file.open("rb", buffering=0) as data:
            for name, (stored_dtype, begin) in _find_tensors(file).items():
                if not (tied and name == TIED):
                    part = stored.get(name, (name, ()))
                    place = _make_place(model, part, dtype or stored_dtype, device)
                    data.seek(begin)
                    _read(file, data, name, stored_dtype, place)
    if tied:
        model.lm_head.weight = model.model.embed_tokens.weight
    return model.eval().requires_grad_(False)


def check_weights(path: str | Path) -> None:
    """Reads the headers of a checkpoint folder's weights, so takes a moment at any size.

    Which tensors belong is known of a plain Qwen3; of others, quantised ones among them, only the
    files are checked. Raises CheckpointError where a file is missing or damaged, or a tensor is missing,
    surplus or misshapen.
    """
    folder = Path(path)
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config = None if settings.get("quantization_config") else Qwen3Config.from_dict(settings)
    except CheckpointError:
        config = None
    if config is not None:
        _check_tensors(folder, build_empty(config))
        return
    listed = any((folder / name).is_file() for name in (INDEX, SINGLE))
    for file in _weight_files(folder) if listed else sorted(folder.glob("*.safetensors")):
        with _open(file):
            pass


def save_model(model: Qwen3ForCausalLM, path: str | Path, max_shard_bytes: int = 5 * 10**9) -> None:
    """Writes config.json and the weights, in shards with an index where they exceed `max_shard_bytes`."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    settings = model.config.as_dict() | {"dtype": str(next(model.parameters()).dtype).removeprefix("torch.")}
    (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    shards: list[dict[str, Tensor]] = [{}]
    size = total = 0
    parameters = dict(model.named_parameters())  # names a tied head once, under the embedding
    for name, (parameter, part) in _list_stored(model).items():
        tensor = parameters[parameter].detach()[part].contiguous()
        if shards[-1] and size + tensor.nbytes > max_shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
        total += tensor.nbytes
    for stale in (*folder.glob("model-*-of-*.safetensors"), folder / INDEX, folder / SINGLE):
        stale.unlink(missing_ok=True)
    if len(shards) == 1:
        save_file(shards[0], folder / SINGLE, metadata={"format": "pt"})
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(shard, file)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def build_empty(config: Qwen3Config) -> Qwen3ForCausalLM:
    """Builds the model without memory: each parameter comes into being when its tensor is read."""
    with torch.device("meta"):
        return Qwen3ForCausalLM(config)


def _list_stored(model: Qwen3ForCausalLM) -> dict[str, Part]:
    """Returns which part of which parameter each tensor of a hub checkpoint is."""
    stored: dict[str, Part] = {}
    for name, parameter in model.named_parameters():
        stem, _, leaf = name.rpartition(".")
        if not stem.endswith(".experts"):
            stored[name] = (name, ())
            continue
        F = parameter.shape[1] // 2
        for expert in range(len(parameter)):
            if leaf == "gate_up_proj":
                stored[f"{stem}.{expert}.gate_proj.weight"] = (name, (expert, slice(None, F)))
                stored[f"{stem}.{expert}.up_proj.weight"] = (name, (expert, slice(F, None)))
            else:
                stored[f"{stem}.{expert}.{leaf}.weight"] = (name, (expert,))
    return stored


def _check_tensors(folder: Path, model: Qwen3ForCausalLM) -> None:
    """Compares names and shapes, which stand in the files' headers, with the model's parameters."""
    parameters = dict(model.named_parameters())
    stored = _list_stored(model)
    expected = {name: parameter.shape for name, parameter in parameters.items()}
    expected |= {name: parameters[parameter][part].shape for name, (parameter, part) in stored.items()}
    parts: dict[str, set[str]] = {name: set() for name in parameters}
    for name, (parameter, _) in stored.items():
        parts[parameter].add(name)
    missing = set(stored)
    for file in _weight_files(folder):
        with _open(file) as tensors:
            for name in tensors.keys():  # noqa: SIM118  # an open file, not a mapping
                if name == TIED and model.config.tie_word_embeddings:
                    continue  # some writers store the tied head a second time
                _check(file, name, tuple(tensors.get_slice(name).get_shape()), expected)
                missing -= {name} if name in stored else parts[name]
    if missing:
        raise CheckpointError(
            f"checkpoint '{folder}' lacks {_list([name for name in stored if name in missing])}; "
            "config.json and weights must be of one model"
        )


def _weight_files(folder: Path) -> list[Path]:
    if not (folder / INDEX).is_file():
        files = [folder / SINGLE]
    else:
        try:
            weight_map = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
            files = [folder / name for name in sorted(set(weight_map.values()))]
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise CheckpointError(f"'{folder / INDEX}' is no index of shards; fetch it again") from error
    for file in files:
        if not file.is_file():
            raise CheckpointError(
                f"checkpoint '{folder}' has no {file.name}; its weights must be {SINGLE}, or the shards that "
                f"{INDEX} lists"
            )
    return files


@contextmanager
def _open(file: Path) -> Iterator[Any]:
    try:
        opened = safe_open(file, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"'{file}' is truncated or not a safetensors file ({error}); fetch it again"
        ) from error
    with opened as tensors:
        yield tensors


def _find_tensors(file: Path) -> dict[str, tuple[torch.dtype, int]]:
    """Returns each tensor's dtype and where in the file its bytes begin, in the order of the file.

    Source: safetensors, Format: eight bytes that count those of a JSON header, the header, the tensors.
    """
    with file.open("rb") as data:
        size = int.from_bytes(data.read(8), "little")
        header = json.loads(data.read(size))
    header.pop("__metadata__", None)
    found: dict[str, tuple[torch.dtype, int]] = {}
    for name, entry in sorted(header.items(), key=lambda item: int(item[1]["data_offsets"][0])):
        if entry["dtype"] not in DTYPES:
            raise CheckpointError(
                f"'{file}': tensor {name} is stored as {entry['dtype']}, but the bundled model reads "
                f"{', '.join(DTYPES)}; use model.impl=vllm"
            )
        found[name] = (DTYPES[entry["dtype"]], 8 + size + entry["data_offsets"][0])
    return found


def _read(file: Path, data: FileIO, name: str, dtype: torch.dtype, place: Tensor) -> None:
    """Fills `place` with the tensor that begins here: at once, or by way of one of `dtype` on the CPU."""
    direct = place.dtype == dtype and place.device.type == "cpu"
    tensor = place if direct else torch.empty(place.shape, dtype=dtype)
    left: memoryview = tensor.view(-1).view(torch.uint8).numpy().data
    while left:
        count = data.readinto(left)  # it may be less than asked for
        if not count:
            raise CheckpointError(f"'{file}': tensor {name} cannot be read whole; fetch it again")
        left = left[count:]
    if not direct:
        place.copy_(tensor)


def _check(file: Path, name: str, shape: tuple[int, ...], expected: dict[str, torch.Size]) -> None:
    if name not in expected:
        raise CheckpointError(
            f"'{file}' holds a surplus tensor {name}, which config.json has no place for; "
            "config.json and weights must be of one model"
        )
    if shape != expected[name]:
        raise CheckpointError(
            f"'{file}': tensor {name} has shape {list(shape)}, but config.json asks for "
            f"{list(expected[name])}; config.json and weights must be of one model"
        )


def _make_place(
    model: Qwen3ForCausalLM, part: Part, dtype: torch.dtype, device: str | torch.device
) -> Tensor:
    """Returns the memory of a parameter, or of the part of it, that a stored tensor fills."""
    name, index = part
    module_name, _, leaf = name.rpartition(".")
    module = model.get_submodule(module_name)
    parameter = getattr(module, leaf)
    if parameter.is_meta:
        values = torch.empty(parameter.shape, dtype=dtype, device=device)
        parameter = torch.nn.Parameter(values, requires_grad=False)
        setattr(module, leaf, parameter)
    place: Tensor = parameter.data[index]
    return place


def _list(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"tensor{'s' if len(names) > 1 else ''} " + ", ".join(names[:most]) + more
