"""LoRA adapters in PEFT's layout: what a folder holds, and whether it fits the checkpoint it was given with.

Beside a weight W (out, in) lie A (r, in) and B (out, r); the weight in force is W + s B A, with the scale
s = lora_alpha / r. All that is asked here stands in adapter_config.json and the files' headers.

Source: LoRA (arXiv:2106.09685), section 4.1; PEFT's documentation, "Checkpoint format".
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen3_eval.errors import CheckpointError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks that vLLM reserves room for. Source: vLLM 0.32, config/lora.py."""

# What changes more than low-rank products do. Source: vLLM 0.32, lora/peft_helper.py, which refuses them too,
# but in mid-run.
_UNSUPPORTED = (
    "use_dora", "lora_bias", "modules_to_save", "alora_invocation_tokens", "layer_replication", "use_bdlora",
    "use_qalora",
)  # fmt: skip
_PLAIN_STARTS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")  # they leave the base's weights alone

_MATRIX = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_(?:([AB])\.weight|embedding_([AB]))")
_EMBEDDINGS = (".embed_tokens.base_layer.weight", ".lm_head.base_layer.weight")  # copies of the base's


@dataclass(frozen=True)
class Adapter:
    """A located adapter. `shapes` holds, by module, the (out, in) of the weight that it changes."""

    name: str
    path: str
    rank: int  # the largest of its modules
    shapes: dict[str, tuple[int, int]]
    fingerprint: str

    def describe(self) -> dict[str, str | int]:
        """Returns what run.json keeps of it."""
        return {"path": self.path, "rank": self.rank, "fingerprint": self.fingerprint}


def locate_adapter(path: str) -> Adapter:
    """Returns the adapter in a local folder, or fetched from the hub. Raises CheckpointError."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        folder = _fetch(path)
    files = folder / CONFIG, folder / WEIGHTS
    for file in files:
        if not file.is_file():
            raise CheckpointError(
                f"adapter '{path}' has no {file.name}; a LoRA adapter in PEFT's layout holds {CONFIG} and "
                f"{WEIGHTS}; a whole fine-tuned checkpoint is given as model="
            )
    rank = _read_rank(path, files[0])
    shapes = _read_modules(path, files[1])
    ranks = {module: a[0] for module, (a, _) in shapes.items()}
    largest = max(rank, *ranks.values())
    if largest > RANKS[-1]:
        raise CheckpointError(
            f"adapter '{path}' has rank {largest}, and vLLM takes at most {RANKS[-1]}; merge it into the "
            "checkpoint (peft's merge_and_unload), and give the result as model="
        )
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    name = path.rstrip("/").rpartition("/")[2]
    weights = {module: (b[0], a[1]) for module, (a, b) in shapes.items()}
    return Adapter(name, str(folder), largest, weights, f"sha256:{digest}")


def check_adapter(adapter: Adapter, checkpoint: Path, *, quantized: bool = False) -> None:
    """Raises CheckpointError where the adapter changes a weight that the checkpoint folder has not, or not
    in that shape; quantised weights are packed, so there the names alone are compared.
    """
    base: dict[str, tuple[int, ...]] = {}
    for file in sorted(checkpoint.glob("*.safetensors")):
        base |= _read_shapes(file)
    modules = {name.rpartition(".")[0] for name in base}
    for module, shape in adapter.shapes.items():
        if ".experts" in module or module == "lm_head":
            continue  # stored apart or stacked; tied to the embeddings, or not
        if module not in modules:
            raise CheckpointError(
                f"adapter '{adapter.path}' changes {module}, which the model in '{checkpoint}' has not; give "
                "the model that the adapter was trained on"
            )
        there = base.get(f"{module}.weight")
        if not quantized and there != shape:
            raise CheckpointError(
                f"adapter '{adapter.path}' changes {module} of shape {list(shape)}, which in the model in "
                f"'{checkpoint}' is {list(there or ())}; give the model that the adapter was trained on"
            )


def _fetch(path: str) -> Path:
    if path.startswith((".", "/", "~")) or path.count("/") != 1:
        raise CheckpointError(
            f"adapter '{path}' is no folder here; give a folder in PEFT's layout, or a hub id (owner/name)"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(path, allow_patterns=[CONFIG, WEIGHTS]))
    except Exception as error:  # huggingface_hub's own, and those of the HTTP library it carries
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"adapter '{path}' is no folder here, and the hub does not give it: {reason}; check the name and "
            "the network, or give a local folder"
        ) from error


def _read_rank(path: str, file: Path) -> int:
    """Returns the rank that the adapter was made with. Raises CheckpointError for what is no plain LoRA."""
    try:
        settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        kind, rank = settings.get("peft_type", "LORA"), settings["r"]
    except (ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"'{file}' is no configuration of a LoRA adapter: {type(error).__name__}: {error}"
        ) from error
    found = {name: settings[name] for name in _UNSUPPORTED if settings.get(name)}
    if kind != "LORA":
        found["peft_type"] = kind
    if settings.get("bias", "none") != "none":
        found["bias"] = settings["bias"]
    start = settings.get("init_lora_weights", True)
    if isinstance(start, str) and start.lower() not in _PLAIN_STARTS:
        found["init_lora_weights"] = start
    if found:
        told = ", ".join(f"{name}={value!r}" for name, value in found.items())
        raise CheckpointError(
            f"adapter '{path}' is no plain LoRA ({told}), and vLLM applies no other; merge it into the "
            "checkpoint (peft's merge_and_unload), and give the result as model="
        )
    if not isinstance(rank, int) or rank < 1:
        raise CheckpointError(f"'{file}': r={rank!r} is no rank; give a whole number of at least 1")
    return rank


def _read_modules(path: str, file: Path) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Returns the shapes of A and B of each module."""
    pairs: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in _read_shapes(file).items():
        if name.endswith(_EMBEDDINGS):
            continue
        found = _MATRIX.fullmatch(name)
        if found is None:
            raise CheckpointError(
                f"adapter '{path}' holds {name}, which is no LoRA matrix, and which vLLM would not take; "
                "merge the adapter into the checkpoint (peft's merge_and_unload)"
            )
        side = found[2] or found[3]
        if found[3]:  # an embedding's A is (r, words) and B (hidden, r), of a weight (words, hidden)
            side, shape = "BA"[side == "B"], shape[::-1]
        pairs.setdefault(found[1], {})[side] = shape
    if not pairs:
        raise CheckpointError(f"'{file}' holds no LoRA matrices (lora_A, lora_B)")
    for module, pair in pairs.items():
        fits = pair.keys() == {"A", "B"} and len(pair["A"]) == len(pair["B"]) == 2
        if not fits or pair["A"][0] != pair["B"][1]:
            raise CheckpointError(
                f"'{file}': {module} needs lora_A (r, in) and lora_B (out, r) of one rank r; it has "
                + ", ".join(f"lora_{side} {list(shape)}" for side, shape in sorted(pair.items()))
            )
    return {module: (pair["A"], pair["B"]) for module, pair in pairs.items()}


def _read_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118  # an open file, not a mapping
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"'{file}' is damaged ({error}); fetch it again") from error
