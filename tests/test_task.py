"""The registry: tasks by name, their cards, and the choice of questions under a limit."""

import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from qwen3_eval import task as registry
from qwen3_eval.data import DataSource, Row
from qwen3_eval.errors import ConfigError, DataError
from qwen3_eval.subset import select, take_share
from qwen3_eval.task import Asking, Card, load_task, procedural_task, task, task_names
from qwen3_eval.types import Message, Sample, Verdict

CARD = Card(
    rows=2, licence="MIT", prompt="q", protocol="p", source="s", hub_id="o/s", config="c", split="test"
)


def same(sample: Sample, answer: str) -> Verdict:
    return Verdict.correct(answer) if answer == sample.target else Verdict.incorrect(answer)


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty registry for one test, which leaves the real one as it was."""
    task_names()
    monkeypatch.setattr(registry, "_registry", {})


def samples(groups: int, each: int) -> list[Sample]:
    return [Sample(f"t/{g * each + i}", (), "", group=str(g)) for g in range(groups) for i in range(each)]


@pytest.mark.usefixtures("own_registry")
def test_a_decorated_function_is_a_task(tmp_path: Path) -> None:
    """@task turns a row reader into a task that loads, names its samples by row, and scores."""

    @task(name="toy", card=CARD, scorer=same, repeats=4, max_output_tokens=100)
    def toy(row: Row, sample_id: str) -> Sample:
        return Sample(sample_id, (Message("user", row["q"]),), row["a"])

    folder = tmp_path / "o" / "s" / "c"
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text('{"q": "1?", "a": "1"}\n{"q": "2?", "a": "2"}\n')
    found = load_task("toy")
    loaded = found.load(Asking(DataSource(tmp_path)))
    assert [(s.sample_id, s.messages[0].content) for s in loaded.made] == [
        ("toy/0", "1?"),
        ("toy/1", "2?"),
    ]
    assert (found.repeats, found.max_output_tokens, found.metric) == (4, 100, "accuracy")
    assert found.score(loaded.made[1], "2").outcome == "correct"
    assert loaded.origin.startswith("mirror:")


@pytest.mark.usefixtures("own_registry")
def test_a_procedural_task_needs_no_data() -> None:
    """It yields its samples whatever the source, and its fingerprint follows their content."""

    def make(name: str, target: str) -> str:
        @procedural_task(name=name, card=CARD, scorer=same)
        def toy() -> Iterator[Sample]:
            yield Sample("toy/0", (Message("user", "?"),), target)

        loaded = load_task(name).load(Asking(DataSource(Path("/nowhere"))))
        assert loaded.origin == "generated"
        return loaded.fingerprint

    assert make("a", "1") == make("b", "1") != make("c", "2")


@pytest.mark.usefixtures("own_registry")
def test_two_tasks_of_one_name_are_refused() -> None:
    """The second registration names the clash instead of hiding the first task."""

    def toy() -> Iterator[Sample]:
        yield from ()

    procedural_task(name="toy", card=CARD, scorer=same)(toy)
    with pytest.raises(ConfigError, match="two tasks are named 'toy'"):
        procedural_task(name="toy", card=CARD, scorer=same)(toy)


@pytest.mark.usefixtures("own_registry")
def test_ids_that_repeat_are_told() -> None:
    """Two samples of one id would overwrite each other's records: refused, with the id."""

    @procedural_task(name="toy", card=CARD, scorer=same)
    def toy() -> Iterator[Sample]:
        yield from [Sample("toy/0", (Message("user", "?"),), "x")] * 2

    with pytest.raises(ConfigError, match="2 samples have the id 'toy/0'"):
        load_task("toy").load(Asking(DataSource()))


@pytest.mark.usefixtures("own_registry")
def test_a_row_that_is_not_as_promised_is_told(tmp_path: Path) -> None:
    """What a reader cannot read is an error of ours that names the task and the row."""

    @task(name="toy", card=CARD, scorer=same)
    def toy(row: Row, sample_id: str) -> Sample:
        return Sample(sample_id, (Message("user", row["q"]),), int(row["a"]))

    folder = tmp_path / "o" / "s" / "c"
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text('{"q": "1?", "a": "1"}\n{"q": "2?", "a": "two"}\n')
    with pytest.raises(DataError, match="task 'toy' cannot read row 1: ValueError"):
        load_task("toy").load(Asking(DataSource(tmp_path)))


def test_an_unknown_task_is_told_its_neighbour() -> None:
    """The sentence of DESIGN section 5, word by word; without a neighbour the hint is left out."""
    expected = "task 'aime52' not found; did you mean 'aime25'? 'python -m qwen3_eval tasks' lists all"
    with pytest.raises(ConfigError, match=f"^{re.escape(expected)}$"):
        load_task("aime52")
    with pytest.raises(ConfigError, match=r"^task 'zzz' not found; 'python -m qwen3_eval tasks' lists all$"):
        load_task("zzz")


def test_a_limit_is_a_prefix_of_a_longer_one_in_any_order_of_the_data() -> None:
    """limit=200 is contained in 400, in order; shuffled input gives the same choice."""
    all_samples = samples(1, 1000)
    shuffled = random.Random(0).sample(all_samples, 1000)
    assert select(all_samples, 400)[:200] == select(all_samples, 200) == select(shuffled, 200)
    assert sorted(select(all_samples, None), key=id) == sorted(all_samples, key=id)
    assert select(all_samples, 5000) == select(all_samples, None)


def test_a_limit_mixes_groups_that_lie_together() -> None:
    """Of ten groups of 100 in blocks, a limit of 200 draws about 20 each; 4 standard deviations are 15."""
    counts = Counter(s.group for s in select(samples(10, 100), 200))
    assert all(5 <= counts[str(g)] <= 35 for g in range(10))


def test_a_share_is_exact_and_of_each_group() -> None:
    """A tenth of 30 is 3, not 4 for a rounding; a tenth of 5 is 1, rounded up; a larger share holds it."""
    mixed = samples(1, 30) + [Sample(f"u/{i}", (), "", group="u") for i in range(5)]
    tenth = take_share(mixed, 0.1)
    assert Counter(s.group for s in tenth) == {"0": 3, "u": 1}
    assert {s.sample_id for s in tenth} < {s.sample_id for s in take_share(mixed, 0.5)}


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_that_selects_nothing_is_refused(limit: int) -> None:
    """Zero is not taken for "all": the message says what to give."""
    with pytest.raises(ConfigError, match=f"limit={limit} selects nothing"):
        select(samples(1, 3), limit)


def test_listing_tasks_imports_nothing_heavy() -> None:
    """`tasks` must answer within a second, so the registry may not pull in the libraries of the field."""
    code = (
        "import sys; from qwen3_eval.task import load_task, task_names; [load_task(n) for n in task_names()];"
        "print(*{m.split('.')[0] for m in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "vllm", "datasets", "pandas", "matplotlib", "sympy", "math_verify"} & set(loaded)
