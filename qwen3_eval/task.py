"""What a benchmark is to the rest of the project, and the registry that finds one by its name."""

import hashlib
import importlib.util
import json
import pkgutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, Literal

from qwen3_eval.card import Asking, Card, Loaded
from qwen3_eval.data import DataSource, HubSplit, Row, Rows
from qwen3_eval.errors import ConfigError, DataError, QwenEvalError, did_you_mean
from qwen3_eval.few_shot import Examples, FewShot
from qwen3_eval.options import Option, find_options, read_options
from qwen3_eval.subset import take_share
from qwen3_eval.types import Sample, Unmade, Verdict

__all__ = [
    "LM_EVAL", "Asking", "Card", "Loaded", "Scorer", "Task", "add_tasks", "load_task", "procedural_task",
    "task", "task_names",
]  # fmt: skip

Scorer = Callable[[Sample, str], Verdict]
RowReader = Callable[..., Sample | None]
Generator = Callable[..., Iterable[Sample | Unmade] | Loaded]

LM_EVAL = "lm-eval/"
"""What the name of a task of lm-eval begins with."""

_TASKS_PACKAGE = "qwen3_eval.tasks"
_OWN = "qwen3_eval_tasks_of_"  # the modules of a user's folder are named so


@dataclass(frozen=True)
class Task:
    """One benchmark. `max_output_tokens` caps thinking and answer together; `repeats` is the default number
    of answers for each question and mode.

    Its options are the keyword-only parameters of its function, and `share`: of each group so much is taken.
    `average` says what the whole task's score is a mean of: all questions, or its top groups' scores.
    `parallel` groups hold the same questions, known by the row's number, so their errors go together.
    `few_shot` is how mode `base` asks it. `also` names splits that it reads beside its card's.
    `read_from` is the user's folder that holds its files, where it is no module of `tasks.path`.
    `runs_code` tells that its scorer runs what the model wrote, in a sandbox.
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
    few_shot: FewShot | None = None
    also: tuple[HubSplit, ...] = ()
    read_from: str = ""
    runs_code: bool = False

    @property
    def splits(self) -> tuple[HubSplit, ...]:
        """Every split that it may read, those of the few-shot examples included."""
        card = self.card
        configs = [card.config] if isinstance(card.config, str) else card.config
        names = [card.split, *([self.few_shot.split] if self.few_shot and self.few_shot.split else [])]
        own = [
            HubSplit(card.hub_id, c, name, card.revision, card.url)
            for name in names
            for c in configs
            if card.hub_id
        ]
        return (*own, *self.also)

    @property
    def metric(self) -> str:
        """What the mean of its scores is called, as `accuracy`."""
        return self.card.metric

    @property
    def path(self) -> str:
        """The folder of a user's own task, "" for one of the package's."""
        if self.read_from:
            return self.read_from
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
        return (Option("share", self.share), *find_options(self._function))

    def read_options(self, given: object) -> dict[str, Any]:
        """Returns every option, as `given` by name or by default. Raises ConfigError for a wrong one."""
        chosen = read_options(self.name, self.options, given)
        if not 0 < chosen["share"] <= 1:
            raise ConfigError(
                f"options.{self.name}.share={chosen['share']} is not allowed; give a share above 0, up to 1"
            )
        return chosen

    def load(self, asking: Asking, given: object = None) -> Loaded:
        """Returns the samples, in data order, under the given options.

        Raises DataError where the rows are not to be had, ConfigError for a wrong option, and where mode
        `base` is asked of a task that has no such form.
        """
        options = self.read_options({} if given is None else given)
        share = options.pop("share")
        if self.generator is not None:
            kinds = [parameter.kind for parameter in signature(self.generator).parameters.values()]
            given_asking = [asking] if any(kind is not Parameter.KEYWORD_ONLY for kind in kinds) else []
            made = self.generator(*given_asking, **options)
            loaded = made if isinstance(made, Loaded) else Loaded(tuple(made), "", "generated")
            loaded = replace(loaded, fingerprint=_fingerprint_samples(loaded.samples))
        else:
            loaded = self._load_rows(asking, options)
        seen = Counter(sample.sample_id for sample in loaded.samples)
        for sample_id, times in seen.items():
            if times > 1:
                raise ConfigError(
                    f"task '{self.name}': {times} samples have the id '{sample_id}'; give each its own"
                )
        if asking.base and any(isinstance(s, Unmade) or s.completion is None for s in loaded.samples):
            raise ConfigError(
                f"task '{self.name}' has no few-shot form, so mode=base cannot ask it; leave out the task or "
                "the mode"
            )
        return replace(loaded, samples=take_share(loaded.samples, share)) if share < 1 else loaded

    def _load_rows(self, asking: Asking, options: Mapping[str, Any]) -> Loaded:
        found = self._find_rows(asking.source, self.card.split, self.card.rows)
        read = [(row_id, row, self._read(row, row_id, options)) for row_id, row in found]
        asked = [(row_id, row, sample) for row_id, row, sample in read if sample is not None]
        samples = [sample for _, _, sample in asked]
        form = self.few_shot
        if asking.base and form is not None:
            pool = self._find_rows(asking.source, form.split, form.split_rows) if form.split else found
            examples = Examples(form, pool)
            try:
                samples = [
                    replace(sample, completion=examples.compose(row_id, row)) for row_id, row, sample in asked
                ]
            except KeyError as error:
                raise DataError(
                    f"task '{self.name}' cannot be asked in mode=base: its examples need the column {error}, "
                    "which these rows lack"
                ) from error
        left_out = len(read) - len(samples)
        notes = (f"{left_out:,} of {len(read):,} rows are not asked",) if left_out else ()
        return Loaded(tuple(samples), found.fingerprint, found.origin, found.notes + notes)

    def _find_rows(self, source: DataSource, split: str, rows: int) -> Rows:
        card = self.card
        fingerprint = card.fingerprint if split == card.split else None
        return source.rows(
            card.hub_id, card.config, split, card.revision, rows, card.columns, fingerprint, card.partial,
            card.url,
        )  # fmt: skip

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

    A function with a positional parameter is given the `Asking`; one that has more to tell than its samples
    returns a `Loaded`, whose fingerprint is filled in. Its keyword-only parameters are the task's options;
    `settings` are as in `task`.
    """

    def register(generator: Generator) -> Generator:
        _register(Task(name, card, scorer, None, generator, **settings))
        return generator

    return register


def task_names() -> list[str]:
    """Returns the names of all tasks, sorted."""
    _discover()
    return sorted(_registry)


def load_task(name: str, lm_eval_path: str = "") -> Task:
    """Returns the task of that name; `lm_eval_path` is a folder with YAML files of the user's for lm-eval.

    Raises ConfigError where there is none.
    """
    if name.startswith(LM_EVAL):
        from qwen3_eval.lm_eval_tasks import load_lm_eval_task

        return load_lm_eval_task(name.removeprefix(LM_EVAL), lm_eval_path)
    _discover()
    try:
        return _registry[name]
    except KeyError:
        hint = did_you_mean(name, _registry)
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


def _fingerprint_samples(samples: Iterable[Sample | Unmade]) -> str:
    """Returns the sha256 of the samples as canonical JSON lines: what a procedural task has for content."""
    digest = hashlib.sha256()
    for sample in samples:
        known = [sample.sample_id, sample.recipe] if isinstance(sample, Unmade) else asdict(sample)
        line = json.dumps(known, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()
