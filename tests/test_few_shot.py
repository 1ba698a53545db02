"""Mode `base`: the few-shot prompts, and a sweep that goes on until a stop text stands in the answer."""

import asyncio
from pathlib import Path

import pandas as pd
import pytest
from sweeping import Silent

from qwen3_eval.chat import load_chat
from qwen3_eval.checkpoint import locate_checkpoint
from qwen3_eval.cli import main
from qwen3_eval.data import DataSource
from qwen3_eval.engine.scripted import ScriptedEngine
from qwen3_eval.errors import ConfigError
from qwen3_eval.few_shot import Examples, FewShot, ask_choice
from qwen3_eval.plan import Plan, Questions
from qwen3_eval.score import read_records, score_answers
from qwen3_eval.scoring.math import HASHES, math_scorer
from qwen3_eval.store import Store
from qwen3_eval.sweep import run_sweep
from qwen3_eval.task import Asking, load_task
from qwen3_eval.types import BASE, Completion, Message, Sample, Sampling

ROWS = [(str(i), {"q": f"q{i}", "a": f"a{i}", "kind": "even" if i % 2 == 0 else "odd"}) for i in range(8)]
FORM = FewShot(n=2, ask=lambda row: f"Q: {row['q']}\nA:", answer=lambda row: f" {row['a']}", stop=("\nQ:",))


def test_examples_come_before_the_question_and_are_never_itself() -> None:
    """Two solved rows, then the question; every question has the same first examples but its own."""
    examples = Examples(FORM, ROWS)
    for row_id, row in ROWS:
        parts = examples.compose(row_id, row).prompt.split("\n\n")
        assert parts[-1] == f"Q: q{row_id}\nA:"
        assert len(parts) == 3
        shown = [part.partition("\n")[0] for part in parts[:-1]]
        assert f"Q: q{row_id}" not in shown
        assert len(set(shown)) == 2
    firsts = {examples.compose(row_id, row).prompt.split("\n\n")[0] for row_id, row in ROWS}
    assert len(firsts) == 2  # the first of the order, and for that one itself the second


def test_examples_stay_within_their_kind_and_what_is_usable() -> None:
    """Odd questions are shown odd rows, without row 5; of too few, all."""
    form = FewShot(
        n=5, ask=FORM.ask, answer=FORM.answer, stop=(), within=lambda row: row["kind"],
        usable=lambda row: row["q"] != "q5",
    )  # fmt: skip
    parts = Examples(form, ROWS).compose("1", ROWS[1][1]).prompt.split("\n\n")
    assert sorted(parts[:-1]) == ["Q: q3\nA: a3", "Q: q7\nA: a7"]


def test_examples_of_another_split_may_have_the_same_number() -> None:
    """Row 0 of the training set is not row 0 of the test set."""
    form = FewShot(n=1, ask=FORM.ask, answer=FORM.answer, stop=(), split="train", split_rows=1)
    composed = Examples(form, ROWS[:1]).compose("0", {"q": "new"})
    assert composed.prompt == "Q: q0\nA: a0\n\nQ: new\nA:"


@pytest.mark.parametrize(("text", "kept"), [
    (" 7\nQ: next", " 7"), (" 7", " 7"), ("\nQ: at once", ""), (" 7\n\nX\nQ:", " 7"), ("", ""),
])  # fmt: skip
def test_an_answer_ends_before_the_first_stop_text(text: str, kept: str) -> None:
    """Whichever of the stop texts comes first."""
    assert Completion("", ("\nQ:", "\n\nX")).cut(text) == kept


def test_a_choice_is_asked_as_in_mmlu() -> None:
    """Worked by hand after figure 1 of the paper: question, lettered choices, `Answer:`."""
    assert ask_choice("2 + 2?\n", ["3", "4"]) == "2 + 2?\nA. 3\nB. 4\nAnswer:"


@pytest.mark.parametrize(("name", "n", "mark"), [
    ("gsm8k", 4, "Question:"), ("math500", 4, "Problem:"), ("mmlu_redux", 5, "\nAnswer:"),
    ("mmmlu", 5, "\nAnswer:"), ("include", 5, "\nAnswer:"),
])  # fmt: skip
def test_real_rows_have_the_report_s_shots(name: str, n: int, mark: str, data_root: Path) -> None:
    """The number of the Qwen3 report, the question last and unanswered, and never among its examples."""
    task = load_task(name)
    samples = task.load(Asking(DataSource(data_root, allow_partial=True), base=True)).made
    for sample in samples[:40]:
        assert sample.completion is not None
        prompt = sample.completion.prompt
        assert prompt.count(mark) >= n + 1  # a question may hold the word itself
        asked = sample.messages[0].content.partition("\n")[0]
        assert asked in prompt.rpartition("\n\n")[2] or asked in prompt[-3000:]
        assert "<<" not in prompt or name != "gsm8k"


def test_a_reference_written_as_the_examples_are_is_right(data_root: Path) -> None:
    """What a base model is shown to write, it is scored by: the test set's own solution is correct."""
    task = load_task("gsm8k")
    assert task.few_shot is not None
    rows = DataSource(data_root).rows("openai/gsm8k", "main", "test", None, 1319, ("question", "answer")).rows
    samples = task.load(Asking(DataSource(data_root))).made
    for row, sample in zip(rows[:100], samples, strict=False):
        text = f"{task.few_shot.answer(row)}\n\nQuestion: and on it goes\nAnswer: 0\n#### 0"
        assert task.score(sample, Completion("", task.few_shot.stop).cut(text)).outcome == "correct"


def test_a_task_without_the_form_is_refused(data_root: Path) -> None:
    """AIME has none in the report; the message names the task and the mode."""
    with pytest.raises(ConfigError, match=r"task 'aime25' has no few-shot form, so mode=base cannot ask it"):
        load_task("aime25").load(Asking(DataSource(data_root), base=True))


def test_a_task_whose_questions_are_made_later_is_refused_at_once() -> None:
    """RULER has no such form here; that is said before a model is loaded, not at its first question."""
    with pytest.raises(ConfigError, match="task 'ruler' has no few-shot form"):
        load_task("ruler").load(Asking(DataSource(), base=True), {"names": ["vt"], "n": 2})


@pytest.mark.parametrize(("written", "outcome", "finish_reason", "tokens"), [
    (" so 6 * 7 is it.\n#### 42\nQuestion: x\nAnswer: #### 1", "correct", "stop", 128),
    (" " + "work " * 60 + "\n#### 42\nQuestion: more", "correct", "stop", 512),
    (" " + "work " * 400, "no_answer", "length", 600),
])  # fmt: skip
def test_a_base_model_is_stopped_at_its_stop_text(
    written: str, outcome: str, finish_reason: str, tokens: int, tmp_path: Path
) -> None:
    """nano's tokens are bytes: pieces of 128, 128, 256, ... until the stop text stands, 600 at most.

    The answer is stored as generated, and judged up to the stop text. The prompt is plain text.
    """
    chat = load_chat(locate_checkpoint("box:nano").path)
    completion = Completion("Question: 6 * 7?\nAnswer:", ("\nQuestion:",))
    sample = Sample("toy/0", (Message("user", "6 * 7?"),), "42", completion=completion)
    plan = Plan(
        questions=[Questions("toy", [sample], 1, 9000)], modes=(BASE,), budgets=(), strategy="nested",
        sampling={BASE: Sampling()}, stop_ids=chat.encode("</think>"), max_answer_tokens=600, seed=0,
        concurrency=1,
    )  # fmt: skip
    engine = ScriptedEngine(lambda prompt: chat.encode(written))
    with Store.open(tmp_path, create=True) as store:
        store.start_session(engine.describe())
        asyncio.run(run_sweep(plan, chat, engine, store, Silent()))
        assert engine.calls[0].prompt_ids == chat.encode(completion.prompt)
        score_answers(store, {"toy": math_scorer(fallback=(HASHES,))}, chat.decoder)
        (record,) = read_records(store, [1024]).to_dict("records")
        found = [record[name] for name in ("mode", "budget", "outcome", "finish_reason", "answer_tokens")]
        assert found == ["base", 0, outcome, finish_reason, tokens]
        n_calls = len(engine.calls)
        asyncio.run(run_sweep(plan, chat, engine, store, Silent()))
        assert len(engine.calls) == n_calls, "a finished answer is not generated again"


def test_a_run_gains_the_mode_and_keeps_it_when_merged(data_root: Path, tmp_path: Path) -> None:
    """Asked in chat first, then as a base model in the same folder; joined with a run of chat alone."""
    common = ["task=gsm8k", "limit=3", "engine=scripted", f"data.root={data_root}"]
    folders = [tmp_path / name for name in ("first", "second", "merged")]
    assert main(["sweep", *common, "mode=non-thinking", f"run.dir={folders[0]}"]) == 0
    assert main(["sweep", *common, "mode=non-thinking", f"run.dir={folders[1]}"]) == 0
    assert main(["sweep", *common, "mode=base", f"run.dir={folders[1]}"]) == 0
    assert main(["runs", "merge", str(folders[2]), str(folders[0]), str(folders[1])]) == 0
    for folder in folders[1:]:
        assert main(["report", f"run.dir={folder}"]) == 0
        samples = pd.read_parquet(folder / "samples.parquet")
        assert samples.groupby("mode").size().to_dict() == {"base": 3, "non-thinking": 3}
        assert set(samples.query("mode == 'base'")["prompt"].str.count("Question:")) == {5}
