"""RULER as a task: what is asked of which lengths, made only when asked, and how it is scored."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from qwen3_eval.tasks.ruler_haystack import NAMES
from test_ruler import count_words, has_essays, load_encode

from qwen3_eval.data import DataSource
from qwen3_eval.errors import ConfigError, DataError
from qwen3_eval.subset import select
from qwen3_eval.task import Asking, load_task
from qwen3_eval.types import Sample, Unmade

WITHOUT_ESSAYS = ["niah_single_1", "niah_multikey_2", "niah_multikey_3", "vt", "cwe", "fwe", "qa_1", "qa_2"]


@pytest.fixture
def questions(data_root: Path) -> str:
    folder = data_root / "ruler"
    if not folder.is_dir():
        pytest.skip(f"no rows of SQuAD and HotpotQA at {folder}")
    return str(folder)


def ask(**settings: Any) -> Asking:
    return Asking(DataSource(Path("/nowhere")), **({"encode": count_words} | settings))


def test_every_task_at_every_length_is_a_group(questions: str) -> None:
    """13 tasks x 6 lengths x 500 samples, none of them made yet; two levels of groups."""
    loaded = load_task("ruler").load(ask(), {"questions": questions})
    assert len(loaded.samples) == load_task("ruler").card.rows == 39_000
    assert all(isinstance(sample, Unmade) for sample in loaded.samples)
    groups = {sample.group for sample in loaded.samples}
    assert len(groups) == 78
    assert {"4k/niah_single_1", "128k/qa_2"} <= groups


@pytest.mark.parametrize("tokenizer", ["qwen3", "nano"])
def test_a_sample_is_made_to_its_length_and_scored(
    tokenizer: str, questions: str, data_root: Path, nano: Path
) -> None:
    """In the model's own tokens, chat template included, 99 to 100 %; its references score 1, nothing 0."""
    path = nano if tokenizer == "nano" else data_root / "Qwen" / "Qwen3-tokenizer"
    asking = ask(encode=load_encode(path / "tokenizer.json"), template_tokens=12)
    options = {"questions": questions, "lengths": ["8k"], "n": 2}
    options["names"] = list(NAMES) if has_essays() else WITHOUT_ESSAYS
    task = load_task("ruler")
    for sample in task.load(asking, options).made:
        assert 0.99 * 8192 <= sample.metadata["prompt_tokens"] + 12 <= 8192, sample.sample_id
        assert len(asking.encode(sample.messages[0].content)) == sample.metadata["prompt_tokens"]
        assert task.score(sample, f"They are: {', '.join(sample.target)}").score == 1
        assert task.score(sample, "I cannot find it.").score == 0
        if sample.metadata["task"] in ("qa_1", "qa_2"):
            assert task.score(sample, sample.target[0]).outcome == "correct"  # one of several is enough
        elif len(sample.target) > 1:
            share = task.score(sample, sample.target[0]).score
            assert share == pytest.approx(1 / len(sample.target), abs=0.5 / len(sample.target))


def test_what_is_made_is_what_was_promised(questions: str) -> None:
    """Any sample alone, in any order, has the id and group that it was listed with, and the same text."""
    options = {"questions": questions, "lengths": [4096], "names": WITHOUT_ESSAYS, "n": 3}
    listed = load_task("ruler").load(ask(), options)
    again = {sample.sample_id: sample for sample in load_task("ruler").load(ask(), options).made}
    for unmade in select(listed.samples, 10):
        assert isinstance(unmade, Unmade)
        made = unmade.make()
        assert (made.sample_id, made.group) == (unmade.sample_id, unmade.group)
        assert made == again[made.sample_id]
    assert listed.fingerprint == load_task("ruler").load(ask(), options).fingerprint
    other = load_task("ruler").load(ask(encode=str.encode), options)
    assert other.fingerprint != listed.fingerprint, "another tokenizer makes other prompts"


def test_the_hub_s_rows_ask_the_same_questions(questions: str, tmp_path: Path) -> None:
    """A mirror in the hub's layout serves as RULER's own files do; a short one is refused."""
    squad = json.loads(gzip.decompress((Path(questions) / "squad.json.gz").read_bytes()))["data"]
    rows = [
        {"title": a["title"], "context": p["context"], "question": qa["question"],
         "answers": {"text": [x["text"] for x in qa["answers"]]}}
        for a in squad for p in a["paragraphs"] for qa in p["qas"]
    ]  # fmt: skip
    file = tmp_path / "rajpurkar/squad_v2/squad_v2/validation.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options: dict[str, Any] = {"lengths": ["4k"], "names": ["qa_1"], "n": 3}
    asking = Asking(DataSource(tmp_path), count_words)
    of_hub = load_task("ruler").load(asking, options).made
    of_files = load_task("ruler").load(asking, options | {"questions": questions}).made
    assert [s.target for s in of_hub] == [s.target for s in of_files]
    assert [s.messages for s in of_hub] == [s.messages for s in of_files]
    file.write_text(json.dumps(rows[0]) + "\n")
    with pytest.raises(DataError, match="1 rows, where the task has 11,873"):
        load_task("ruler").load(asking, options)


def test_a_mirror_may_hold_ruler_s_own_files(data_root: Path, questions: str) -> None:
    """In `ruler/`; 1,000 of HotpotQA's 7,405 rows are a subset, which passes only where one is allowed."""
    options = {"lengths": ["4k"], "names": ["qa_2"], "n": 1}
    with pytest.raises(DataError, match="1,000 rows, where qa_2 has 7,405; a subset passes"):
        load_task("ruler").load(Asking(DataSource(data_root), count_words), options)
    partial = Asking(DataSource(data_root, allow_partial=True), count_words)
    of_mirror = load_task("ruler").load(partial, options).made
    assert of_mirror == load_task("ruler").load(ask(), options | {"questions": questions}).made
    whole = Asking(DataSource(data_root), count_words)
    assert len(load_task("ruler").load(whole, options | {"names": ["qa_1"]}).samples) == 1


@pytest.mark.parametrize(("options", "asking", "told"), [
    ({"names": ["niah_singel_1"]}, {}, "did you mean 'niah_single_1'"),
    ({"lengths": ["inf"]}, {}, "options.ruler.lengths=inf is no length"),
    ({"lengths": ["4q"]}, {}, "4q"),
    ({"lengths": ["4k"]}, {"context": 8000, "output_tokens": 4000},
     "prompts of 4,096 tokens and 4,000 of thinking and answer do not fit 8,000, the context of the model"),
    ({"questions": "/nowhere", "names": ["qa_1"]}, {}, "'/nowhere' holds no squad"),
])  # fmt: skip
def test_what_cannot_be_asked_is_refused(options: dict[str, Any], asking: dict[str, Any], told: str) -> None:
    """One message that names the option and what is allowed, before a model is loaded."""
    with pytest.raises((ConfigError, DataError), match=told):
        load_task("ruler").load(ask(**asking), {"names": ["vt"]} | options)


def test_reserve_makes_prompt_and_output_take_the_length(questions: str) -> None:
    """A length equal to the context fits once the output is kept free within it."""
    asking = ask(context=8192, output_tokens=3000)
    (sample,) = (
        load_task("ruler").load(asking, {"lengths": ["8k"], "names": ["vt"], "n": 1, "reserve": 3000}).made
    )
    assert 0.98 * 8192 <= sample.metadata["prompt_tokens"] + 3000 <= 8192


@pytest.mark.slow
def test_long_prompts_are_made_one_at_a_time(data_root: Path, questions: str) -> None:
    """20 samples at 128k of Qwen3's tokens, a mix of tasks: the memory of one, not of twenty."""
    import tracemalloc

    asking = ask(encode=load_encode(data_root / "Qwen" / "Qwen3-tokenizer" / "tokenizer.json"))
    options = {"lengths": ["128k"], "names": ["niah_single_1", "niah_multikey_3", "vt", "fwe"], "n": 5}
    samples = load_task("ruler").load(asking, options).samples
    made, peaks = 0, []
    for sample in samples:
        assert isinstance(sample, Unmade)
        tracemalloc.start()
        whole: Sample = sample.make()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        made += whole.metadata["prompt_tokens"]
    assert made >= 20 * 0.99 * 131_072
    assert max(peaks) < 200 * 2**20
