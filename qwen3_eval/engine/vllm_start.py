"""From settings to a running vLLM: its arguments, its processes' environment, and what it says of itself.

vLLM runs its scheduler and its workers in processes of its own. Their log goes to a file, so that the
progress display stays readable; a failure is told in our words, with vLLM's own cause and that file's path.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from qwen3_eval.adapter import RANKS, Adapter
from qwen3_eval.engine.vllm import VllmEngine
from qwen3_eval.engine.vllm_log import EngineLog
from qwen3_eval.errors import EngineError
from qwen3_eval.model.config import find_native_context
from qwen3_eval.model.vllm_plugin import ARCHITECTURE, REPLACES

if TYPE_CHECKING:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.lora.request import LoRARequest
    from vllm.v1.engine.async_llm import AsyncLLM

Impl = Literal["bundled", "vllm"]

GIB = 1024**3
PLUGIN = "qwen3_eval"


async def start_vllm(
    model: str,
    *,
    impl: Impl = "bundled",
    revision: str | None = None,
    adapter: Adapter | None = None,
    dtype: str = "auto",
    max_model_len: int | None = None,
    yarn_factor: float = 1.0,
    tensor_parallel_size: int = 1,
    pipeline_parallel_size: int = 1,
    gpu_memory_utilization: float = 0.9,
    max_num_seqs: int = 256,
    enable_prefix_caching: bool = True,
    seed: int = 0,
    log_path: Path | None = None,
    extra: Mapping[str, Any] | None = None,
) -> VllmEngine:
    """Starts vLLM on a checkpoint folder or hub id; call it in the event loop that will use the engine.

    `impl="bundled"` runs the model class in `model/vllm_qwen3.py` where the checkpoint is a Qwen3, dense or
    a mixture of experts, vLLM's own class otherwise; `describe()["model_class"]` is the class that the worker
    really loaded. `adapter` is in force in every request. `dtype="auto"` is the dtype that the checkpoint is
    stored in. `max_model_len=None` is the model's own.
    `yarn_factor` above 1 stretches the rotary embedding by YaRN, and the context with it, for every prompt.
    `gpu_memory_utilization` counts on a GPU; a CPU's KV cache takes a quarter of the free memory, at most
    4 GiB. `extra={"kv_cache_memory_bytes": ...}` fixes its size on either. The model is compiled on a GPU
    only: on a CPU that costs a minute and gains little; `extra={"enforce_eager": False}` does it there too.
    `log_path` is appended to; without it the log is a temporary file, removed by `close`.
    `extra` holds further vLLM engine arguments by their own names; they win over the ones above.

    Raises EngineError where vLLM is not installed, the plugin is not registered, a setting does not fit
    the model, or memory runs out.
    """
    log = EngineLog(log_path)
    try:
        with _told_as_engine_error(log), _environment(log):
            args = _engine_args(
                model,
                impl=impl,
                dtype=dtype,
                yarn_factor=yarn_factor,
                extra=dict(extra or {}),
                revision=revision,
                adapter=adapter,
                max_model_len=max_model_len,
                tensor_parallel_size=tensor_parallel_size,
                pipeline_parallel_size=pipeline_parallel_size,
                gpu_memory_utilization=gpu_memory_utilization,
                max_num_seqs=max_num_seqs,
                enable_prefix_caching=enable_prefix_caching,
                seed=seed,
            )
            from vllm.v1.engine.async_llm import AsyncLLM

            llm = AsyncLLM.from_engine_args(args)
            try:
                request = await _load_adapter(llm, adapter) if adapter else None
                facts = await _facts(llm, args)
            except BaseException:
                llm.shutdown()
                raise
    except BaseException:
        log.remove()
        raise
    engine = VllmEngine(llm, facts, log, request)
    del llm  # vLLM keeps a traceback that holds this frame; the engine alone must hold what it will close
    return engine


def check_vllm(architecture: str, impl: str) -> None:
    """Raises EngineError where vLLM is not installed or could not find the bundled class; imports neither."""
    if util.find_spec("vllm") is None:
        raise EngineError(_not_installed("no module named 'vllm'"))
    if impl == "bundled" and architecture in REPLACES:
        _check_plugin()


@contextlib.contextmanager
def _environment(log: EngineLog) -> Iterator[None]:
    """Sets, while vLLM starts, what it reads from the environment here and in its processes."""
    before = dict(os.environ)
    os.environ["VLLM_LOGGING_CONFIG_PATH"] = str(log.config_path)
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else one line a worker on its NUMA binding
    os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")  # of vLLM's own code
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _engine_args(
    model: str,
    *,
    impl: Impl,
    dtype: str,
    adapter: Adapter | None,
    yarn_factor: float,
    extra: dict[str, Any],
    **settings: Any,
) -> "AsyncEngineArgs":
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.platforms import current_platform
    from vllm.transformers_utils.config import get_config

    config = get_config(
        model, trust_remote_code=extra.get("trust_remote_code", False), revision=settings["revision"]
    )
    architectures = tuple(getattr(config, "architectures", None) or ())
    overrides = dict(extra.pop("hf_overrides", {}))
    if impl == "bundled" and architectures[:1] and architectures[0] in REPLACES:
        _check_plugin()
        overrides.setdefault("architectures", [ARCHITECTURE])
    if yarn_factor != 1:
        native = find_native_context(config.max_position_embeddings)
        # Source: Qwen3 model cards, Processing Long Texts. vLLM takes max_position_embeddings as scaled.
        overrides.setdefault("max_position_embeddings", int(native * yarn_factor))
        overrides.setdefault(
            "rope_parameters",
            {
                **(getattr(config, "rope_parameters", None) or {}),
                "rope_type": "yarn",
                "factor": yarn_factor,
                "original_max_position_embeddings": native,
            },
        )
        settings["max_model_len"] = settings["max_model_len"] or int(native * yarn_factor)

    if adapter:
        room = next(rank for rank in RANKS if rank >= adapter.rank)
        settings |= {"enable_lora": True, "max_lora_rank": room, "max_loras": 1}

    # vLLM's own "auto" casts a float32 checkpoint down; a study of exactness must not.
    stored = str(getattr(config, "dtype", None)).removeprefix("torch.")
    if dtype == "auto" and stored == "float32":
        dtype = stored

    if current_platform.is_cpu():
        settings["enforce_eager"] = True
        # A seeded request whose prompt is split between steps kills vLLM 0.32's CPU worker ("CPU Generator
        # does not use offset": gpu_model_runner.py rewinds the request's generator, as only CUDA's can be).
        settings["enable_chunked_prefill"] = False
        if "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
            # vLLM would take gpu_memory_utilization of the whole machine, and fail where others use it too.
            settings["kv_cache_memory_bytes"] = min(4 * GIB, _free_memory_bytes() // 4)
    return AsyncEngineArgs(
        **{
            "model": model,
            "dtype": dtype,
            "hf_overrides": overrides,
            "generation_config": "vllm",  # the caller's sampling only, none of the checkpoint's defaults
            "skip_tokenizer_init": True,
            "worker_extension_cls": "qwen3_eval.model.vllm_plugin.ModelClassOfWorker",
            "disable_log_stats": True,
            "use_tqdm_on_load": False,
            **settings,
            **extra,
        }
    )


def _check_plugin() -> None:
    """vLLM's processes find our class by the installed entry point; without it they could not."""
    found = {point.name for point in metadata.entry_points(group="vllm.general_plugins")}
    if PLUGIN not in found:
        raise EngineError(
            "vLLM does not know the bundled Qwen3: the project is not installed, so its vLLM plugin is not "
            "registered; run `pip install -e .` in the project's folder, or set model.impl=vllm"
        )
    allowed = os.environ.get("VLLM_PLUGINS")
    if allowed is not None and PLUGIN not in allowed.split(","):
        raise EngineError(
            f"VLLM_PLUGINS={allowed!r} keeps vLLM from loading the bundled Qwen3; add {PLUGIN!r} to that "
            "comma-separated list, or set model.impl=vllm"
        )


async def _load_adapter(llm: "AsyncLLM", adapter: Adapter) -> "LoRARequest":
    """Loads the adapter now, so that one which vLLM does not take ends the start, not each request."""
    from vllm.lora.request import LoRARequest

    request = LoRARequest(adapter.name, 1, adapter.path)
    await llm.add_lora(request)
    return request


async def _facts(llm: "AsyncLLM", args: "AsyncEngineArgs") -> dict[str, Any]:
    """Returns what run.json keeps of the engine, read back from vLLM rather than from what was asked."""
    import torch
    from vllm.platforms import current_platform

    model_config, cache = llm.model_config, llm.vllm_config.cache_config
    model_class = (await llm.collective_rpc("loaded_model_class"))[0]
    distribution, version = find_distribution()
    on_cpu = current_platform.is_cpu()
    reproducible, why = _reproducibility(on_cpu, str(model_config.dtype))
    return {
        "engine": "vllm",
        "distribution": distribution,
        "vllm_version": version,
        "torch_version": torch.__version__,
        "device": "cpu" if on_cpu else current_platform.get_device_name(),
        "dtype": str(model_config.dtype).removeprefix("torch."),
        "impl": "bundled" if model_class.startswith("qwen3_eval.") else "vllm",
        "model_class": model_class,
        "quantization": str(model_config.quantization or ""),
        "max_model_len": model_config.max_model_len,
        "vocab_size": model_config.get_vocab_size(),
        "enable_prefix_caching": bool(cache.enable_prefix_caching),
        "block_size": cache.block_size,
        "tensor_parallel_size": args.tensor_parallel_size,
        "pipeline_parallel_size": args.pipeline_parallel_size,
        "max_num_seqs": args.max_num_seqs,
        "enforce_eager": args.enforce_eager,
        "seed": args.seed,
        "reproducible": reproducible,
        "reproducible_because": why,
    }


def _reproducibility(on_cpu: bool, dtype: str) -> tuple[bool, str]:
    """Says whether a request's ids are the same alone and among others, and why.

    The CPU claim is measured, not proved: tests/test_engine_vllm.py compares both on the box model.
    """
    if on_cpu and dtype.endswith("float32"):
        return True, "measured on the box model: float32 on a CPU, a seed for each request"
    return False, (
        "each request has its own seed, but a matrix product's rounding depends on the batch, and a rounding "
        "can change the likeliest token; VLLM_BATCH_INVARIANT=1 makes some GPUs and models indifferent to it"
    )


def find_distribution() -> tuple[str, str]:
    """Returns the name and version of what was installed; vllm-cpu carries no metadata named vllm."""
    for name in ("vllm", "vllm-cpu"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return name, metadata.version(name)
    return "vllm", "of unknown version"


def _free_memory_bytes() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _not_installed(reason: str) -> str:
    return (
        f"engine=vllm needs vLLM, which cannot be imported ({reason}); install it with "
        "`pip install 'qwen3_eval[cpu]'` or, on a machine with a GPU, `pip install 'qwen3_eval[gpu]'`, "
        "or set engine=torch"
    )


@contextlib.contextmanager
def _told_as_engine_error(log: EngineLog) -> Iterator[None]:
    try:
        yield
    except EngineError:
        raise
    except ImportError as error:
        raise EngineError(_not_installed(str(error))) from error
    except Exception as error:
        raise EngineError(log.explain(error, "cannot start")) from error
