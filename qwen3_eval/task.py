"""What a benchmark is to the rest of the project, and the registry that finds one by its name."""

import hashlib
import importlib
import json
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache

from qwen3_eval.data import DataSource, Row
from qwen3_eval.errors import ConfigError, did_you_mean
from qwen3_eval.types import Sample, Verdict

Scorer = Callable[[Sample, str], Verdict]
RowReader = Callable[[Row, str], Sample]
Generator = Callable[[], Iterable[Sample]]

_TASKS_PACKAGE = "qwen3_eval.tasks"


@dataclass(frozen=True)
class Card:
    """What a reader needs to know of a task to trust, cite and repeat its score.

    `fingerprint` is the content of the complete rows (`data.fingerprint_rows` over `columns`). `partial`
    tells that a subset is all there is to be had. A procedural task leaves the fields of the hub empty.
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
    config: str = ""
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
class Task:
    """One benchmark. `max_output_tokens` caps thinking and answer together; `repeats` is the default number
    of answers for each question and mode.
    """

    name: str
    card: Card
    scorer: Scorer
    reader: RowReader | None = None
    generator: Generator | None = None
    max_output_tokens: int = 32_768
    repeats: int = 1

    @property
    def metric(self) -> str:
        """What the mean of its scores is called, as `accuracy`."""
        return self.card.metric

    def load(self, source: DataSource) -> Loaded:
        """Returns every sample, in data order. Raises DataError where the rows are not to be had."""
        if self.generator is not None:
            samples = tuple(self.generator())
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
            samples = tuple(self.reader(row, f"{self.name}/{i}") for i, row in enumerate(found.rows))
            loaded = Loaded(samples, found.fingerprint, found.origin, found.notes)
        assert len({s.sample_id for s in samples}) == len(samples), f"{self.name}: sample ids repeat"
        return loaded

    def score(self, sample: Sample, answer: str) -> Verdict:
        """Judges `answer`, the decoded text after `</think>`."""
        return self.scorer(sample, answer)


_registry: dict[str, Task] = {}


def task(
    *, name: str, card: Card, scorer: Scorer, max_output_tokens: int = 32_768, repeats: int = 1
) -> Callable[[RowReader], RowReader]:
    """Registers a benchmark whose rows lie on the hub. Decorates a function (row, sample_id) -> Sample.

    The sample id is `<name>/<row number>`; the function may return one of its own, unique in the task.
    """

    def register(reader: RowReader) -> RowReader:
        _register(Task(name, card, scorer, reader, None, max_output_tokens, repeats))
        return reader

    return register


def procedural_task(
    *, name: str, card: Card, scorer: Scorer, max_output_tokens: int = 32_768, repeats: int = 1
) -> Callable[[Generator], Generator]:
    """Registers a benchmark that makes its questions. Decorates a function () -> samples, always the same."""

    def register(generator: Generator) -> Generator:
        _register(Task(name, card, scorer, None, generator, max_output_tokens, repeats))
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


def select(samples: Sequence[Sample], limit: int | None, shard: tuple[int, int] = (1, 1)) -> list[Sample]:
    """Returns the first `limit` samples (None for all) in a pseudo-random order that never changes.

    The order is that of a hash of each sample_id, so it needs no seed and no knowledge of the other samples.
    Hence limit=200 is a subset of limit=400, a longer run extends a shorter one, and groups that lie
    together in the data are mixed in every prefix: what is done when a run is stopped is a fair draw.
    Of those, shard (k, n) is every n-th from the k-th on: the n shards are the whole, of equal size to one
    question, and a larger limit only adds to each.
    Raises ConfigError where `limit` is below 1.
    """
    if limit is not None and limit < 1:
        raise ConfigError(
            f"limit={limit} selects nothing; give the number of questions per task, or null for all"
        )
    ordered = sorted(samples, key=lambda s: hashlib.sha256(s.sample_id.encode()).digest())
    k, n = shard
    return ordered[:limit][k - 1 :: n]


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
