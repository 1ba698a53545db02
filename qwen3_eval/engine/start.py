"""From settings to a running engine."""

from collections.abc import Mapping
from pathlib import Path

from qwen3_eval.chat import Chat
from qwen3_eval.checkpoint import Checkpoint
from qwen3_eval.config import EngineConfig
from qwen3_eval.engine.base import Engine
from qwen3_eval.errors import ConfigError, EngineError, did_you_mean

ENGINES = ("vllm", "torch", "scripted")
IMPLS = ("bundled", "vllm")


def check_engine(config: EngineConfig, checkpoint: Checkpoint, impl: str) -> None:
    """Refuses, before anything is started or written, what could not run.

    Raises ConfigError for an unknown setting, EngineError where vLLM is missing, CheckpointError where the
    weights are damaged or not those of config.json.
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
    if config.name == "vllm":
        from qwen3_eval.engine.vllm_start import check_vllm

        check_vllm(checkpoint.architecture, impl)
    if Path(checkpoint.path).is_dir():
        from qwen3_eval.model.weights import check_weights

        check_weights(checkpoint.path)
        if config.yarn_factor != 1 and checkpoint.architecture.startswith("Qwen3"):
            from qwen3_eval.model.config import Qwen3Config

            # It raises where config.json has YaRN already.
            Qwen3Config.from_file(checkpoint.path).stretch(config.yarn_factor)
    elif config.name == "torch":
        raise EngineError(
            f"engine=torch loads a checkpoint folder, and model '{checkpoint.path}' is on the hub; fetch it "
            f"with `hf download {checkpoint.path} --local-dir DIR` and give model=DIR, or use engine=vllm"
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
