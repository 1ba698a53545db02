"""Makes the samples of an lm-eval task by lm-eval's own code, as `simple_evaluate` makes its requests."""

import io
import json
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from qwen3_eval.data import DataSource
from qwen3_eval.errors import ConfigError, DataError, QwenEvalError, did_you_mean
from qwen3_eval.lm_eval_data import MirroredSplits, download, find_absent_splits, is_mirrored
from qwen3_eval.lm_eval_scoring import apply_metrics, build_task, is_share
from qwen3_eval.task import Loaded
from qwen3_eval.types import Completion, Message, Sample

# Source: lm-eval, lm_eval/defaults.py: what `simple_evaluate` seeds `random`, numpy and the examples with.
RANDOM_SEED, NUMPY_SEED, FEWSHOT_SEED = 0, 1234, 1234

_MAX_TARGET_CHARS = 500
_TRIED_DOCUMENTS = 3
_TRIED_ANSWER = "I do not know."


@dataclass(frozen=True)
class Form:
    """How a task is asked and judged: its options, and the filters that may count."""

    shots: int
    multiturn: bool
    metric: str  # "" for the first that can be one
    metrics: tuple[str, ...]  # in the order of the YAML file
    filters: tuple[str, ...]


def make_samples(
    name: str, file: Path, config: Mapping[str, Any], source: DataSource, form: Form, base: bool
) -> Loaded:
    """Returns a sample for every document of the task in `file`, without a fingerprint.

    `config` is what the file says.

    `name` is ours, and begins the ids. With `base`, each sample has lm-eval's prompt without chat, too.
    Raises DataError where the rows cannot be had or do not fit the task, ConfigError where none of its
    metrics can be a score.
    """
    with quiet(), _seeded(), _templates_compiled_once():
        try:
            task = _build(file, config, source, form)
            chat = _make_requests(task, form, chat=True)
            plain = _make_requests(task, form, chat=False) if base else []
            parts, left_out = _choose_metrics(name, task, [request.doc for request in chat], form)
            metric = _choose_main(name, parts, form)
            samples = [
                _make_sample(name, task, number, request, parts, metric)
                for number, request in enumerate(chat)
            ]
        except QwenEvalError:
            raise
        except ImportError as error:
            raise ConfigError(
                f"task '{name}' needs a package that is not here: {_first_line(error)}"
            ) from error
        except Exception as error:  # lm-eval's errors, and those of a task's code, are of any type
            raise DataError(
                f"lm-eval cannot make task '{name}' (its file {file.name}, rows of "
                f"{config.get('dataset_path') or 'its own'}): {type(error).__name__}: {_first_line(error)}"
            ) from error
    for number, request in enumerate(plain):
        context, kwargs = request.args
        samples[number] = replace(samples[number], completion=Completion(context, _read_until(kwargs)))
    mirrored = is_mirrored(source.mirror, config)
    origin = f"mirror:{source.mirror}/{config.get('dataset_path')}" if mirrored else "lm-eval"
    return Loaded(tuple(samples), "", origin, (f"the score is {metric}", *left_out), metric)


def _build(file: Path, config: Mapping[str, Any], source: DataSource, form: Form) -> Any:
    """Returns lm-eval's task with its rows."""
    overrides: dict[str, Any] = {"num_fewshot": form.shots}
    if is_mirrored(source.mirror, config):
        splits = MirroredSplits(source, config)
        overrides |= {"custom_dataset": lambda **_: splits, "dataset_kwargs": None}
        overrides |= find_absent_splits(splits, config) if form.shots == 0 else {}
    elif not config.get("custom_dataset"):
        overrides |= {"custom_dataset": lambda **_: download(config), "dataset_kwargs": None}
    return build_task(file, **overrides)


def _make_requests(task: Any, form: Form, chat: bool) -> list[Any]:
    """Returns lm-eval's request for each document; in chat its context is the list of turns, not rendered.

    A `gen_prefix` begins the assistant's turn, where the thinking has to be; in chat it is left out.
    """
    task.set_fewshot_seed(FEWSHOT_SEED)
    begin = task.doc_to_prefix
    if chat:
        task.doc_to_prefix = lambda doc: None
    task.build_all_requests(
        apply_chat_template=chat,
        fewshot_as_multiturn=chat and form.multiturn,
        chat_template=(lambda turns, **_: turns) if chat else None,
    )
    task.doc_to_prefix = begin
    requests: list[Any] = task.instances
    return requests


def _choose_metrics(
    name: str, task: Any, docs: Sequence[Mapping[str, Any]], form: Form
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the metrics that can be a score, and notes on those that cannot.

    One can if it is a mean over questions of numbers from 0 to 1, the more the better. What the numbers are
    is seen by scoring a few documents' own targets, and an answer that tells nothing.
    """
    from lm_eval.api.metrics import mean

    tried = []
    for doc in docs[:_TRIED_DOCUMENTS]:
        tried.append(apply_metrics(task, doc, _read_target(task, doc), form.filters)[0])
        with suppress(Exception):  # a task's code may fail on it; that makes an `error` verdict in time
            tried.append(apply_metrics(task, doc, _TRIED_ANSWER, form.filters)[0])
    parts, left_out = [], {}
    for part in tried[0]:
        metric = part.rpartition(",")[0]
        aggregate = task.aggregation().get(metric, mean)  # lm-eval, too, takes the mean where none is named
        if aggregate is not mean:
            left_out[metric] = f"left out: {metric}, which is no mean but {_name(aggregate)} of all answers"
        elif not task.higher_is_better().get(metric, True):
            left_out[metric] = f"left out: {metric}, where less is better"
        elif not all(is_share(values.get(part)) for values in tried):
            left_out[metric] = f"left out: {metric}, which is no number from 0 to 1"
        else:
            parts.append(part)
    if not parts:
        raise ConfigError(
            f"task '{name}' has no metric that is a mean over questions of numbers from 0 to 1, which a "
            f"score here is: {'; '.join(left_out.values()) or 'it gives none'}"
        )
    return tuple(parts), tuple(left_out.values())


def _choose_main(name: str, parts: Sequence[str], form: Form) -> str:
    if form.metric:
        if form.metric not in parts:
            raise ConfigError(
                f"options.{name}.metric={form.metric!r} is none of the task's"
                f"{did_you_mean(form.metric, parts)} it has: {' | '.join(parts)}"
            )
        return form.metric
    listed = [part for metric in form.metrics for part in parts if part.rpartition(",")[0] == metric]
    return (listed or list(parts))[0]


def _make_sample(
    name: str, task: Any, number: int, request: Any, parts: tuple[str, ...], metric: str
) -> Sample:
    turns, kwargs = request.args
    target = _read_target(task, request.doc)
    shown = target if len(target) <= _MAX_TARGET_CHARS else target[:_MAX_TARGET_CHARS] + "…"
    return Sample(
        f"{name}/{number}",
        tuple(Message(turn["role"], turn["content"]) for turn in turns),
        shown,
        metadata={
            "doc": _check_doc(name, number, request.doc),
            "multiple_target": task.multiple_target,
            "until": list(_read_until(kwargs)),
            "metric": metric,
        },
        parts=parts,
    )


def _check_doc(name: str, number: int, doc: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the document, which the scorer needs again; the run's store keeps it as JSON."""
    for column, value in doc.items():
        try:
            survives = json.loads(json.dumps(value)) == value
        except (TypeError, ValueError):
            survives = False
        if not survives:
            raise DataError(
                f"task '{name}', document {number}: column {column!r} holds a {type(value).__name__}, which "
                "a run cannot store: only texts, numbers, true, false, null, and lists and objects of them"
            )
    return dict(doc)


def _read_target(task: Any, doc: Mapping[str, Any]) -> str:
    """Returns a right answer as text, the first of several."""
    target = task.doc_to_target(doc)
    if task.config.doc_to_choice is not None and isinstance(target, int):
        target = task.doc_to_choice(doc)[target]
    while isinstance(target, list) and target:
        target = target[0]
    return str(target)


def _read_until(kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    until = kwargs.get("until") or []
    return tuple(stop for stop in ([until] if isinstance(until, str) else until) if stop)


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", function))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps the terminal clean of what lm-eval, `datasets` and a task's own code log and print."""
    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _templates_compiled_once() -> Iterator[None]:
    """Spares most of the time: lm-eval compiles its templates anew for every document and example."""
    from lm_eval.utils import env

    env.from_string = lru_cache(env.from_string)
    try:
        yield
    finally:
        del env.from_string  # what stood in front of the class's own


@contextmanager
def _seeded() -> Iterator[None]:
    """Seeds what a task's code may draw from, as some shuffle choices so; restores it at the end."""
    import numpy as np

    states = random.getstate(), np.random.get_state()
    random.seed(RANDOM_SEED)
    np.random.seed(NUMPY_SEED)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
