"""What a task says of itself (its card), what it is told (the asking), and what it gives (the loaded)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qwen3_eval.data import DataSource
from qwen3_eval.types import Sample, Unmade


@dataclass(frozen=True)
class Card:
    """What a reader needs to know of a task to trust, cite and repeat its score.

    `config` is the hub's, or a tuple where the rows lie in several, whose sum is `rows`. `fingerprint` is the
    content of the complete rows (`data.fingerprint_rows` over `columns`). `partial` tells that a subset is
    all there is to be had. A procedural task leaves the fields of the hub empty.
    `url` is where the rows are fetched from, where the hub does not have them.
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
    url: str = ""


@dataclass(frozen=True)
class Asking:
    """What a task may need to know of the sweep that asks it.

    `encode` gives the token ids of a text by the model's tokenizer, and `template_tokens` is what its chat
    template adds to one user message; unless a model is at hand, UTF-8 bytes stand in. Its `context` must
    hold a prompt and `output_tokens`, of thinking and answer. `base` tells that the samples need their
    `completion`.
    """

    source: DataSource
    encode: Callable[[str], Sequence[int]] = str.encode
    template_tokens: int = 0
    context: int | None = None
    output_tokens: int = 0
    base: bool = False


@dataclass(frozen=True)
class Loaded:
    """A task's samples, with the content and place that they came from, for the run's record.

    `metric` names what the mean of the scores is, where an option decides it.
    """

    samples: tuple[Sample | Unmade, ...]
    fingerprint: str
    origin: str
    notes: tuple[str, ...] = ()
    metric: str = ""

    @property
    def made(self) -> list[Sample]:
        """The samples, those made that were not."""
        return [sample.make() if isinstance(sample, Unmade) else sample for sample in self.samples]
