"""What a benchmark is to the rest of the project, and the registry that finds one by its name."""

import hashlib
import importlib.util
import inspect
import json
import pkgutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from qwen3_eval.data import DataSource, Row
from qwen3_eval.errors import ConfigError, DataError, QwenEvalError, did_you_mean
from qwen3_eval.subset import take_share
from qwen3_eval.types import Sample, Verdict

Scorer = Callable[[Sample, str], Verdict]
RowReader = Callable[..., Sample | None]
Generator = Callable[..., Iterable[Sample]]

_TASKS_PACKAGE = "qwen3_eval.tasks"
_OWN = "qwen3_eval_tasks_of_"  # the modules of a user's folder are named so


@dataclass(frozen=True)
class Card:
    """What a reader needs to know of a task to trust, cite and repeat its score.

    `config` is the hub's, or a tuple where the rows lie in several, whose sum is `rows`. `fingerprint` is the
    content of the complete rows (`data.fingerprint_rows` over `columns`). `partial` tells that a subset is
    all there is to be had. A procedural task leaves the fields of the hub empty.
    `departures` says where the task differs from the protocol that its published scores follow.
    """

    rows: int
    licence: str
    prompt: str
    protocol: str
    source: str
    metric: str = "accuracy"
    departures: str = "none"
    hub_id: str = ""
    config: str | tuple[str, ...] = ""
    split: str = ""
    revision: str | None = None
    columns: tuple[str, ...] = ()
    fingerprint: str | None = None
    partial: bool = False


@dataclass(frozen=True)
class Loaded:
    """A task's samples, with the content and place that they came from, for the run's record."""

    samples: tuple[Sample, ...]
    fingerprint: str
    origin: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Option:
    """A choice that a task leaves to its user; without `allowed`, any value of the default's type is."""

    name: str
    default: Any
    allowed: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Task:
    """One benchmark. `max_output_tokens` caps thinking and answer together; `repeats` is the default number
    of answers for each question and mode.

    Its options are the keyword-only parameters of its function, and `share`: of each group so much is taken.
    `average` says what the whole task's score is a mean of: all questions, or its top groups' scores.
    `parallel` groups hold the same questions, known by the row's number, so their errors go together.
    """

    name: str
    card: Card
    scorer: Scorer
    reader: RowReader | None = None
    generator: Generator | None = None
    max_output_tokens: int = 32_768
    repeats: int = 1
    share: float = 1.0
    average: Literal["questions", "groups"] = "questions"
    parallel: bool = False

    @property
    def metric(self) -> str:
        """What the mean of its scores is called, as `accuracy`."""
        return self.card.metric

    @property
    def path(self) -> str:
        """The folder of a user's own task, "" for one of the package's."""
        module = sys.modules.get(self._function.__module__)
        own = self._function.__module__.startswith(_OWN) and module is not None and module.__file__
        return str(Path(own).parent) if own else ""

    @property
    def _function(self) -> Callable[..., Any]:
        function = self.generator or self.reader
        assert function is not None
        return function

    @cached_property
    def options(self) -> tuple[Option, ...]:
        """What `options.<task>.<name>=` can set."""
        found = [Option("share", self.share)]
        for parameter in inspect.signature(self._function, eval_str=True).parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY:
                literal = get_origin(parameter.annotation) is Literal
                allowed = get_args(parameter.annotation) if literal else ()
                found.append(Option(parameter.name, parameter.default, allowed))
        return tuple(found)

    def read_options(self, given: object) -> dict[str, Any]:
        """Returns every option, as `given` by name or by default. Raises ConfigError for a wrong one."""
        if not isinstance(given, Mapping):
            raise ConfigError(
                f"options.{self.name}={given!r} names no option; write options.{self.name}.NAME=VALUE"
            )
        known = {option.name: option for option in self.options}
        chosen = {option.name: option.default for option in self.options}
        for name, value in given.items():
            where = f"options.{self.name}.{name}"
            if name not in known:
                raise ConfigError(
                    f"unknown setting '{where}'{did_you_mean(name, known)} task '{self.name}' has: "
                    f"{', '.join(known)}"
                )
            option = known[name]
            if option.allowed and value not in option.allowed:
                raise ConfigError(
                    f"{where}={value!r} is not allowed; give {', '.join(map(str, option.allowed))}"
                )
            if isinstance(option.default, float) and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            if not option.allowed and not isinstance(value, type(option.default)):
                raise ConfigError(
                    f"{where}={value!r} is not allowed; give one like the default, {option.default!r}"
                )
            chosen[name] = value
        if not 0 < chosen["share"] <= 1:
            raise ConfigError(
                f"options.{self.name}.share={chosen['share']} is not allowed; give a share above 0, up to 1"
            )
        return chosen

    def load(self, source: DataSource, given: object = None) -> Loaded:
        """Returns the samples, in data order, under the given options.

        Raises DataError where the rows are not to be had, ConfigError for a wrong option.
        """
        options = self.read_options({} if given is None else given)
        share = options.pop("share")
        if self.generator is not None:
            samples = tuple(self.generator(**options))
            loaded = Loaded(samples, _fingerprint_samples(samples), "generated")
        else:
            assert self.reader is not None
            card = self.card
            found = source.rows(
                card.hub_id,
                card.config,
                card.split,
                card.revision,
                card.rows,
                card.columns,
                card.fingerprint,
                card.partial,
            )
            read = (self._read(row, row_id, options) for row_id, row in found)
            samples = tuple(sample for sample in read if sample is not None)
            left_out = len(found.rows) - len(samples)
            notes = (f"{left_out:,} of {len(found.rows):,} rows are not asked",) if left_out else ()
            loaded = Loaded(samples, found.fingerprint, found.origin, found.notes + notes)
        seen = Counter(sample.sample_id for sample in samples)
        for sample_id, times in seen.items():
            if times > 1:
                raise ConfigError(
                    f"task '{self.name}': {times} samples have the id '{sample_id}'; give each its own"
                )
        if share < 1:
            loaded = replace(loaded, samples=take_share(samples, share))
        return loaded

    def _read(self, row: Row, row_id: str, options: Mapping[str, Any]) -> Sample | None:
        assert self.reader is not None
        try:
            return self.reader(row, f"{self.name}/{row_id}", **options)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise DataError(
                f"task '{self.name}' cannot read row {row_id}: {type(error).__name__}: {error}; the rows are "
                f"not as its card says ('python -m qwen3_eval tasks {self.name}'), or the task is wrong"
            ) from error

    def score(self, sample: Sample, answer: str) -> Verdict:
        """Judges `answer`, the decoded text after `</think>`."""
        return self.scorer(sample, answer)


_registry: dict[str, Task] = {}


def task(*, name: str, card: Card, scorer: Scorer, **settings: Any) -> Callable[[RowReader], RowReader]:
    """Registers a benchmark whose rows lie on the hub. Decorates a function (row, sample_id) -> Sample.

    The sample id is `<name>/<row number>`, or `<name>/<config>/<row number>`; the function may return one of
    its own, unique in the task, or None for a row that is not asked. Its keyword-only parameters are the
    task's options. `settings` are further fields of `Task`, as repeats=64.
    """

    def register(reader: RowReader) -> RowReader:
        _register(Task(name, card, scorer, reader, None, **settings))
        return reader

    return register


def procedural_task(
    *, name: str, card: Card, scorer: Scorer, **settings: Any
) -> Callable[[Generator], Generator]:
    """Registers a benchmark that makes its questions. Decorates a function () -> samples, always the same.

    Its keyword-only parameters are the task's options; `settings` are as in `task`.
    """

    def register(generator: Generator) -> Generator:
        _register(Task(name, card, scorer, None, generator, **settings))
        return generator

    return register


def task_names() -> list[str]:
    """Returns the names of all tasks, sorted."""
    _discover()
    return sorted(_registry)


def load_task(name: str) -> Task:
    """Returns the task of that name. Raises ConfigError where there is none."""
    _discover()
    try:
        return _registry[name]
    except KeyError:
        hint = did_you_mean(name, _registry) or ";"
        raise ConfigError(f"task '{name}' not found{hint} 'python -m qwen3_eval tasks' lists all") from None


def add_tasks(folder: str) -> None:
    """Registers the tasks of a user's folder: every module in it is run once, as those of `tasks/` are.

    Raises ConfigError where there is no such folder or no module in it, or a module fails.
    """
    _discover()
    place = Path(folder).expanduser().resolve()
    modules = sorted(place.glob("*.py"))
    if not modules:
        raise ConfigError(
            f"tasks.path={folder!r} is no folder with a .py file in it; give one whose modules use @task"
        )
    for file in modules:
        name = f"{_OWN}{hashlib.sha256(bytes(place)).hexdigest()[:8]}.{file.stem}"
        if name in sys.modules:
            continue
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except QwenEvalError:
            del sys.modules[name]
            raise
        except Exception as error:
            del sys.modules[name]
            raise ConfigError(
                f"tasks.path={folder!r}: {file.name} cannot be run: {type(error).__name__}: {error}"
            ) from error


def _register(found: Task) -> None:
    if found.name in _registry:
        raise ConfigError(f"two tasks are named '{found.name}'; give one of them another name in its @task")
    _registry[found.name] = found


@cache
def _discover() -> None:
    """Imports every module of the tasks package; each registers its tasks as it is imported."""
    package = importlib.import_module(_TASKS_PACKAGE)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{_TASKS_PACKAGE}.{module.name}")


def _fingerprint_samples(samples: Iterable[Sample]) -> str:
    """Returns the sha256 of the samples as canonical JSON lines: what a procedural task has for content."""
    digest = hashlib.sha256()
    for sample in samples:
        line = json.dumps(asdict(sample), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()
