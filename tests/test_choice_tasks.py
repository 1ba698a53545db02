"""The multiple choice suites on real rows, and on made-up ones where no real row is to be had."""

import json
from collections import Counter
from pathlib import Path

import pytest
from qwen3_eval.tasks.mmlu_redux import AREA_OF, AREAS, judge_row, read_correction

from qwen3_eval.data import DataSource
from qwen3_eval.errors import ConfigError
from qwen3_eval.scoring.choice import CHOICE_INSTRUCTION
from qwen3_eval.task import Asking, load_task
from qwen3_eval.types import Sample

SUITES = ("mmlu_redux", "mmmlu", "include", "gpqa_diamond")


def load(name: str, root: Path, **options: object) -> list[Sample]:
    return load_task(name).load(Asking(DataSource(root, allow_partial=True)), options).made


@pytest.fixture
def gpqa(tmp_path: Path) -> Path:
    """A mirror of eight made-up rows in GPQA's columns; the real ones are gated."""
    folder = tmp_path / "Idavidrein/gpqa/gpqa_diamond"
    folder.mkdir(parents=True)
    rows = [
        {
            "Record ID": f"rec{i}", "Question": f"What is {i}?\n", "Correct Answer": f"right {i}",
            "Incorrect Answer 1": "wrong 1", "Incorrect Answer 2": "wrong 2",
            "Incorrect Answer 3": "wrong 3", "High-level domain": "Physics",
        }
        for i in range(8)
    ]  # fmt: skip
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.mark.parametrize("name", SUITES)
def test_references_score_and_the_others_do_not(name: str, data_root: Path, gpqa: Path) -> None:
    """Each right letter in the asked field is correct and each other one incorrect, on every row there is."""
    found = load_task(name)
    samples = load(name, gpqa if name == "gpqa_diamond" else data_root, share=1.0)
    for sample in samples:
        right = [sample.target] if isinstance(sample.target, str) else sample.target
        for letter in "ABCD":
            verdict = found.score(sample, f'```json\n{{"answer": "{letter}"}}\n```')
            assert verdict.outcome == ("correct" if letter in right else "incorrect"), sample.sample_id
        assert found.score(sample, "I would have to think about that.").outcome == "no_answer"
        assert sample.messages[0].content.endswith(f"\n\n{CHOICE_INSTRUCTION}")


@pytest.mark.parametrize(
    ("policy", "outcomes"),
    [
        ("ok", {"ok": 5330}),
        ("ok_and_corrected", {"ok": 5330, "corrected": 102}),
        ("all", {"ok": 5330, "corrected": 102, "any of several": 29, "as published": 239}),
    ],
)
def test_mmlu_redux_policies(policy: str, outcomes: dict[str, int], data_root: Path) -> None:
    """Of 5,700 rows 5,330 are ok and 102 of 107 corrections can be read; each row says which it is."""
    samples = load("mmlu_redux", data_root, policy=policy)
    assert Counter(s.metadata["policy_outcome"] for s in samples) == outcomes


def test_mmlu_redux_is_the_pinned_content(data_root: Path) -> None:
    """57 subjects of 100 rows with the card's fingerprint, in four areas of 18, 13, 12 and 14 subjects."""
    loaded = load_task("mmlu_redux").load(Asking(DataSource(data_root)))
    assert loaded.fingerprint == load_task("mmlu_redux").card.fingerprint
    assert loaded.notes == ("268 of 5,700 rows are not asked",)
    assert len(AREA_OF) == 57
    assert [len(subjects.split()) for subjects in AREAS.values()] == [18, 13, 12, 14]
    assert {s.group.partition("/")[0] for s in loaded.samples} == set(AREAS)


@pytest.mark.parametrize(("text", "letters"), [
    ("2", ["C"]), ("B", ["B"]), ("0 or 1", ["A", "B"]), ("(0, 1)", ["A", "B"]), ("2 and 3", ["C", "D"]),
    ("0 1 3", ["A", "B", "D"]), ("A,B,C", ["A", "B", "C"]), ("1,1", ["B"]), (None, []), ("$373", []),
    ("30", []), ("appeal to ignorance?", []), ("2: I can't figure this out", []), ("4", []), ("E", []),
])  # fmt: skip
def test_a_correction_is_read_only_where_it_names_choices(text: str | None, letters: list[str]) -> None:
    """Numbers from 0 and letters, alone or several; prose that begins with a number is no correction."""
    assert read_correction(text) == letters


def test_a_corrected_label_is_the_one_that_scores() -> None:
    """The correction replaces the published key; without one, or under `ok`, the row is not asked."""
    row = {"answer": 0, "error_type": "wrong_groundtruth", "correct_answer": "3"}
    assert judge_row(row, "ok_and_corrected") == (["D"], "corrected")
    assert judge_row(row, "ok") == ([], "left out")
    assert judge_row({**row, "correct_answer": None}, "ok_and_corrected") == ([], "left out")
    assert judge_row({**row, "correct_answer": None}, "all") == (["A"], "as published")


def test_mmmlu_takes_a_tenth_without_yoruba(tmp_path: Path) -> None:
    """Of 40 rows in three languages the report's policy takes 4 in two; `all` and share=1 take every one."""
    for locale in ("FR_FR", "SW_KE", "YO_NG"):
        folder = tmp_path / "openai/MMMLU" / locale
        folder.mkdir(parents=True)
        row = {"Question": "q", "A": "1", "B": "2", "C": "3", "D": "4", "Answer": "B", "Subject": "s"}
        (folder / "test.jsonl").write_text((json.dumps(row) + "\n") * 40)
    assert Counter(s.group for s in load("mmmlu", tmp_path)) == {"FR_FR": 4, "SW_KE": 4}
    assert Counter(s.group for s in load("mmmlu", tmp_path, share=0.15)) == {"FR_FR": 6, "SW_KE": 6}
    every = load("mmmlu", tmp_path, languages="all", share=1.0)
    assert Counter(s.group for s in every) == {"FR_FR": 40, "SW_KE": 40, "YO_NG": 40}
    larger = {s.sample_id for s in load("mmmlu", tmp_path, share=0.5)}
    assert {s.sample_id for s in load("mmmlu", tmp_path)} < larger


def test_scripts_survive_byte_for_byte(tmp_path: Path) -> None:
    """Right-to-left text with marks, CJK, combining accents and joiners stand in the prompt as in the row."""
    texts = ["أيّ مِمّا يلي؟\u200f", "下列哪一項？", "e\u0301 ≠ é", "क्\u200dष", "שָׁלוֹם"]
    folder = tmp_path / "CohereLabs/include-base-44/Arabic"
    folder.mkdir(parents=True)
    options = {f"option_{letter}": text for letter, text in zip("abcd", texts[1:], strict=True)}
    row = {"question": texts[0], "answer": 2, **options}
    (folder / "test.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    (sample,) = load("include", tmp_path)
    assert (
        sample.messages[0].content
        == "\n".join(
            [texts[0], *(f"{letter}. {text}" for letter, text in zip("ABCD", texts[1:], strict=True))]
        )
        + f"\n\n{CHOICE_INSTRUCTION}"
    )
    assert (sample.target, sample.group) == ("C", "Arabic")


def test_gpqa_choices_are_shuffled_by_the_rows_id(gpqa: Path) -> None:
    """The right choice stands at its letter, not always the same one, and at the same one each time."""
    samples = load("gpqa_diamond", gpqa)
    for i, sample in enumerate(samples):
        assert f"\n{sample.target}. right {i}\n" in sample.messages[0].content
    assert len({s.target for s in samples}) > 1
    assert samples == load("gpqa_diamond", gpqa)


def test_the_instruction_can_be_replaced(data_root: Path) -> None:
    """options.TASK.instruction= stands at the prompt's end in place of the model card's sentence."""
    sample = load("mmlu_redux", data_root, instruction="Answer with a letter.")[0]
    assert sample.messages[0].content.endswith("\n\nAnswer with a letter.")


@pytest.mark.parametrize(("options", "message"), [
    ({"polcy": "ok"}, "unknown setting 'options.mmlu_redux.polcy'; did you mean 'policy'?"),
    ({"policy": "none"}, "policy='none' is not allowed; give ok_and_corrected, ok, all"),
    ({"instruction": 3}, "instruction=3 is not allowed; give one like the default"),
    ({"share": 0}, "share=0.0 is not allowed; give a share above 0"),
    ({"share": "x"}, "share='x' is not allowed; give one like the default, 1.0"),
])  # fmt: skip
def test_a_wrong_option_is_told(options: dict[str, object], message: str) -> None:
    """The message names the setting, what was got, and what is allowed."""
    with pytest.raises(ConfigError) as told:
        load_task("mmlu_redux").read_options(options)
    assert message in str(told.value)
