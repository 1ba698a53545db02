"""Any `generate_until` task of lm-eval as a task of ours: `task=[lm-eval/gsm8k]`.

Prompts, few-shot examples, filters and metrics come from lm-eval's own code, as `simple_evaluate` runs it by
default; modes, budgets and sampling are ours. lm-eval and `datasets` are imported only when such a task is
asked for.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from qwen3_eval.data import HubSplit
from qwen3_eval.errors import ConfigError
from qwen3_eval.lm_eval_index import PREFIX, Found, find_task_file, list_names
from qwen3_eval.lm_eval_samples import Form, make_samples, quiet
from qwen3_eval.lm_eval_scoring import score_answer
from qwen3_eval.task import Asking, Card, Loaded, Task

_OF_SEVERAL_ANSWERS = {"majority_vote", "take_first_k"}


def load_lm_eval_task(name: str, include_path: str = "") -> Task:
    """Returns lm-eval's task `name` (without our prefix), from the user's folder first.

    Raises ConfigError where it is not found, or is of a kind that cannot be run here.
    """
    found = find_task_file(name, include_path)
    with quiet():
        config = _read_config(found, name)
    _check_kind(config, name)

    def generate(
        asking: Asking, *, num_fewshot: Any = None, fewshot_as_multiturn: bool = True, metric: str = ""
    ) -> Loaded:
        form = Form(
            _read_shots(name, num_fewshot, config),
            fewshot_as_multiturn,
            metric,
            tuple(_name_metrics(config)),
            tuple(_name_filters(config)),
        )
        return make_samples(PREFIX + name, found.path, config, asking.source, form, asking.base)

    return Task(
        PREFIX + name,
        _write_card(config, found),
        partial(score_answer, found.path),
        None,
        generate,
        repeats=config.get("repeats", 1),
        also=tuple(_find_splits(config)),
        read_from=str(Path(include_path).expanduser().resolve()) if include_path else "",
    )


def _read_config(found: Found, name: str) -> dict[str, Any]:
    """Returns what the YAML file says, includes joined and functions left as text."""
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        config: dict[str, Any] = load_yaml(found.path, resolve_func=False)
    except Exception as error:  # of YAML, of a file that it includes, of the file system
        raise ConfigError(f"task '{PREFIX}{name}': {found.path} cannot be read: {error}") from error
    return config


def _check_kind(config: Mapping[str, Any], name: str) -> None:
    """Raises ConfigError for all but a task of text that the model writes."""
    task = f"task '{PREFIX}{name}'"
    if "class" in config:
        raise ConfigError(
            f"{task} is a Python class, which makes its questions in its own way; only tasks that are all "
            "in a YAML file and the functions that it names run here"
        )
    if "group" in config or not isinstance(config.get("task"), str):
        members = list_names(_find_members(config.get("task")))
        raise ConfigError(f"{task} is a group of lm-eval, not a task; ask for its members: {members}")
    kind = config.get("output_type", "generate_until")
    if kind != "generate_until":
        raise ConfigError(
            f"{task} is of lm-eval's output type {kind}: it compares likelihoods of given texts, and the "
            "model neither thinks nor answers; only generate_until runs here: take a generative form of it "
            "(as mmlu_generative for mmlu), or write one and set lm_eval.include_path=DIR"
        )
    if config.get("unsafe_code"):
        raise ConfigError(
            f"{task} runs code that the model wrote inside the harness's own process (unsafe_code: true); "
            "take humaneval, humaneval_plus, mbpp or mbpp_plus, which run it in a sandbox"
        )
    if config.get("doc_to_image") or config.get("doc_to_audio"):
        raise ConfigError(f"{task} asks about images or sound; only tasks of text run here")
    listed = config.get("metric_list") or []
    if listed and not config.get("process_results") and not any(map(_may_be_mean, listed)):
        found = ", ".join(f"{_name_metric(m)} ({_shorten(m['aggregation'])})" for m in listed)
        raise ConfigError(
            f"{task} has no metric that is a mean over questions, but {found}; a budget's score and its "
            "interval need one"
        )
    if not _name_filters(config):
        raise ConfigError(f"{task} has only filters that need several answers; each is scored by itself here")


def _find_members(listed: object) -> Iterator[str]:
    """Yields the names in a group's list, those of groups written within it included."""
    if isinstance(listed, str):
        yield listed
    for member in listed if isinstance(listed, list) else ():
        yield from _find_members(member.get("task") if isinstance(member, Mapping) else member)


def _may_be_mean(metric: Mapping[str, Any]) -> bool:
    return str(metric.get("aggregation", "mean")) == "mean"


def _name_metric(metric: Mapping[str, Any]) -> str:
    """Returns a metric's name in lm-eval's results; a function there is a path that ends in its name."""
    name = str(metric["metric"])
    return _shorten(name).rpartition(".")[2] if _shorten(name) != name else name


def _name_metrics(config: Mapping[str, Any]) -> list[str]:
    """Returns the metrics in the file's order. Source: lm-eval takes exact_match where a file lists none."""
    return [_name_metric(m) for m in config.get("metric_list") or [{"metric": "exact_match"}]]


def _name_filters(config: Mapping[str, Any]) -> list[str]:
    """Returns the filters in lm-eval's order, without those that need several answers to one question."""
    listed = config.get("filter_list")
    if not listed:
        return ["none"]
    return [
        each["name"]
        for each in listed
        if _OF_SEVERAL_ANSWERS.isdisjoint(step["function"] for step in each["filter"])
    ]


def _write_card(config: Mapping[str, Any], found: Found) -> Card:
    metrics, filters = _name_metrics(config), _name_filters(config)
    means = [_name_metric(m) for m in config.get("metric_list") or [] if _may_be_mean(m)]
    score = f"{(means or metrics)[0]},{filters[0]}"
    departures = ["sampling and output limits are the sweep's", "white space around an answer is cut"]
    if config.get("gen_prefix"):
        departures.append(f"chat modes drop the answer prefix {config['gen_prefix']!r}, which bars thinking")
    if len(filters) < len(config.get("filter_list") or [1]):
        departures.append("filters that vote among answers are left out: each answer is scored by itself")
    return Card(
        rows=0,
        licence="see the data set's card",
        prompt=_show(config.get("doc_to_text", "")),
        protocol=f"{config.get('num_fewshot') or 0}-shot; filters {', '.join(filters)}; metrics "
        f"{', '.join(metrics)}; the score is {score}",
        source=f"lm-eval {metadata.version('lm_eval')}, {found.shown}",
        metric=score,
        departures="; ".join(departures),
        hub_id=config["dataset_path"] if _reads_hub(config) else "",
        config=config.get("dataset_name") or "default",
        split=config.get("test_split") or config.get("validation_split") or "",
    )


def _find_splits(config: Mapping[str, Any]) -> Iterator[HubSplit]:
    """Yields the splits of the hub that the task may read; none where it reads local files."""
    if _reads_hub(config):
        examples = config.get("fewshot_config") or {}
        names = [config.get(f"{kind}_split") for kind in ("test", "validation", "training", "fewshot")]
        for split in dict.fromkeys([*names, examples.get("split")]):
            if split:
                yield HubSplit(config["dataset_path"], config.get("dataset_name") or "default", split)


def _reads_hub(config: Mapping[str, Any]) -> bool:
    """False for the readers of `datasets` that take files, as `json`, and for rows that a function makes."""
    return "/" in (config.get("dataset_path") or "") and not config.get("custom_dataset")


def _show(template: object) -> str:
    """Returns a prompt's template, or that a function makes it."""
    text = str(template)
    return text if _shorten(text) == text else f"made by {_shorten(text)}"


def _shorten(text: str) -> str:
    """Returns `utils.make` for a function, which the file's reader gives with the path before it."""
    return text.rpartition("/")[2] if text.startswith("/") and "\n" not in text else text


def _read_shots(name: str, given: object, config: Mapping[str, Any]) -> int:
    shots = config.get("num_fewshot") or 0 if given is None else given
    if isinstance(shots, bool) or not isinstance(shots, int) or shots < 0:
        raise ConfigError(
            f"options.{PREFIX}{name}.num_fewshot={given!r} is not allowed; give a number of examples, from 0"
        )
    return shots
