"""From settings to a running engine."""

from collections.abc import Mapping
from pathlib import Path

from qwen3_eval.chat import Chat
from qwen3_eval.checkpoint import Checkpoint
from qwen3_eval.config import EngineConfig
from qwen3_eval.engine.base import Engine
from qwen3_eval.errors import ConfigError, EngineError, did_you_mean
from qwen3_eval.model.config import DENSE, MIXTURE

ENGINES = ("vllm", "torch", "scripted")
IMPLS = ("bundled", "vllm")


NOT_ON_VLLM = ("bitsandbytes",)
"""Methods that people meet often and vLLM has no layers for. Others it names itself, once it is started."""


def check_engine(config: EngineConfig, checkpoint: Checkpoint, impl: str) -> None:
    """Refuses, before anything is started or written, what could not run.

    Raises ConfigError for an unknown setting, EngineError where vLLM is missing or the engine does not take
    this form of checkpoint, CheckpointError where the weights are damaged or not those of config.json.
    """
    for name, value, known in (("engine.name", config.name, ENGINES), ("model.impl", impl, IMPLS)):
        if value not in known:
            raise ConfigError(
                f"{name}={value!r} is unknown{did_you_mean(value, known)} allowed: {', '.join(known)}"
            )
    if config.name == "scripted" and config.yarn_factor != 1:
        raise ConfigError(
            f"engine.yarn_factor={config.yarn_factor:g} is of engine=vllm and engine=torch, not of "
            "engine=scripted"
        )
    if config.name == "scripted":
        _read_delay(config.extra)
        return  # it reads no weights
    if config.name == "torch" and config.extra:
        name = next(iter(config.extra))
        raise ConfigError(
            f"unknown setting 'engine.extra.{name}'; engine=torch takes none, engine=vllm its own"
        )
    if config.name == "torch":
        _check_form_for_torch(checkpoint)
    if config.name == "vllm":
        from qwen3_eval.engine.vllm_start import check_vllm

        check_vllm(checkpoint.architecture, impl)
        _check_form_for_vllm(config, checkpoint, impl)
    if Path(checkpoint.path).is_dir():
        from qwen3_eval.model.weights import check_weights

        check_weights(checkpoint.path)
        if checkpoint.architecture in (DENSE, MIXTURE) and (
            config.name == "torch" or config.yarn_factor != 1
        ):
            from qwen3_eval.model.config import Qwen3Config

            # It raises where config.json asks for more than the bundled model has, or has YaRN already.
            Qwen3Config.from_file(checkpoint.path).stretch(config.yarn_factor)
    elif config.name == "torch":
        raise EngineError(
            f"engine=torch loads a checkpoint folder, and model '{checkpoint.path}' is on the hub; fetch it "
            f"with `hf download {checkpoint.path} --local-dir DIR` and give model=DIR, or use engine=vllm"
        )


def _check_form_for_torch(checkpoint: Checkpoint) -> None:
    """Raises EngineError for another family, quantised weights or an adapter."""
    instead = "use engine=vllm"
    if checkpoint.architecture not in (DENSE, MIXTURE):
        raise EngineError(
            f"engine=torch runs {DENSE} and {MIXTURE}, and model '{checkpoint.path}' is "
            f"{checkpoint.architecture}; {instead}, which has classes for other families"
        )
    if checkpoint.quantization:
        raise EngineError(
            f"engine=torch runs plain weights, and those of model '{checkpoint.path}' are quantised by "
            f"{checkpoint.quantization}; {instead}, or give the checkpoint before it was quantised"
        )
    if checkpoint.adapter:
        raise EngineError(
            f"engine=torch takes no adapter; {instead}, or merge '{checkpoint.adapter.path}' into the "
            "checkpoint (PeftModel.from_pretrained(model, ADAPTER).merge_and_unload().save_pretrained(DIR), "
            "and the tokenizer's files beside it) and give model=DIR"
        )


def _check_form_for_vllm(config: EngineConfig, checkpoint: Checkpoint, impl: str) -> None:
    """Raises EngineError for a quantisation that vLLM has not, or an adapter on the bundled mixture;
    ConfigError where the settings leave too little room for the adapter.
    """
    if checkpoint.quantization in NOT_ON_VLLM:
        raise EngineError(
            f"the weights of model '{checkpoint.path}' are quantised by {checkpoint.quantization}, for which "
            "vLLM has no layers; give the plain checkpoint, or one in FP8, AWQ, GPTQ or compressed-tensors"
        )
    if checkpoint.adapter is None:
        return
    if checkpoint.architecture == MIXTURE and impl == "bundled":
        raise EngineError(
            "the bundled mixture of experts takes no adapter on vLLM; set model.impl=vllm, vLLM's own class"
        )
    room = config.extra.get("max_lora_rank", checkpoint.adapter.rank)
    if room < checkpoint.adapter.rank:
        raise ConfigError(
            f"engine.extra.max_lora_rank={room} is less than the rank {checkpoint.adapter.rank} of adapter "
            f"'{checkpoint.adapter.path}'; leave it out, and it is set from the adapter"
        )


async def start_engine(
    config: EngineConfig, checkpoint: Checkpoint, impl: str, chat: Chat, folder: Path
) -> Engine:
    """Starts the engine that the settings name, which `check_engine` has passed; vLLM's log goes to `folder`.

    Raises ConfigError, EngineError.
    """
    if config.name == "vllm":
        from qwen3_eval.engine.vllm_start import start_vllm

        return await start_vllm(
            checkpoint.path,
            impl="bundled" if impl == "bundled" else "vllm",
            revision=checkpoint.revision,
            adapter=checkpoint.adapter,
            dtype=config.dtype,
            max_model_len=config.max_model_len,
            tensor_parallel_size=config.tensor_parallel_size,
            pipeline_parallel_size=config.pipeline_parallel_size,
            gpu_memory_utilization=config.gpu_memory_utilization,
            yarn_factor=config.yarn_factor,
            max_num_seqs=config.max_num_seqs,
            log_path=folder / "vllm.log",
            extra=config.extra,
        )
    if config.name == "torch":
        from qwen3_eval.engine.torch import start_torch

        return start_torch(
            checkpoint.path,
            dtype=config.dtype,
            max_model_len=config.max_model_len,
            max_batch_size=config.max_num_seqs,
            yarn_factor=config.yarn_factor,
            prefill_chunk_tokens=config.prefill_chunk_tokens,
        )
    if config.name == "scripted":
        from qwen3_eval.engine.scripted import ScriptedEngine, default_script

        script = default_script(chat.encode, min(chat.eos_ids))
        context = config.max_model_len or checkpoint.context or 32_768
        return ScriptedEngine(script, max_model_len=context, delay_s=_read_delay(config.extra))
    raise AssertionError(f"check_engine let engine.name={config.name!r} pass")


def _read_delay(extra: Mapping[str, object]) -> float:
    """Returns seconds to wait before each scripted reply, so that a dry run lasts long enough to watch."""
    known = ["delay_s"]
    for name in extra:
        if name not in known:
            raise ConfigError(
                f"unknown setting 'engine.extra.{name}' of the scripted engine{did_you_mean(name, known)} "
                "known: delay_s"
            )
    delay = extra.get("delay_s", 0)
    if isinstance(delay, bool) or not isinstance(delay, int | float) or delay < 0:
        raise ConfigError(f"engine.extra.delay_s={delay!r} is not allowed; give seconds, 0 or more")
    return float(delay)
