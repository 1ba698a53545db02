"""The first tasks on the real rows: counts, content, the prompt as it is asked, references that score."""

from collections import Counter
from pathlib import Path

import pytest

from qwen3_eval.data import DataSource
from qwen3_eval.task import Asking, Loaded, load_task

ASK = "Please reason step by step, and put your final answer within \\boxed{}."
REAL = {"gsm8k": 1319, "aime24": 30, "aime25": 30, "math500": 500}


def load(name: str, root: Path) -> Loaded:
    return load_task(name).load(Asking(DataSource(root)))


@pytest.mark.parametrize(("name", "rows"), REAL.items())
def test_the_mirror_is_complete_and_as_pinned(name: str, rows: int, data_root: Path) -> None:
    """Every row is there with the content that the card pins, and nothing is noted against it."""
    loaded = load(name, data_root)
    assert len(loaded.made) == load_task(name).card.rows == rows
    assert loaded.fingerprint == load_task(name).card.fingerprint
    assert loaded.notes == ()
    assert len(load_task(name).card.revision or "") == 40


@pytest.mark.parametrize("name", [*REAL, "aime26", "chain"])
def test_references_score_and_neighbours_do_not(name: str, data_root: Path) -> None:
    """Each reference in a box is correct; with 1 added to an integer reference it is incorrect."""
    found = load_task(name)
    for sample in load(name, data_root).made:
        assert found.score(sample, f"So it is $\\boxed{{{sample.target}}}$.").outcome == "correct", sample
        if sample.target.lstrip("-").isdigit():
            wrong = f"\\boxed{{{int(sample.target) + 1}}}"
            assert found.score(sample, wrong).outcome == "incorrect", sample


def test_gsm8k_asks_as_the_model_card_says(data_root: Path) -> None:
    """Sample 3, read by eye: the question as it stands, two spaces included, a line, the card's sentence."""
    sample = load("gsm8k", data_root).made[3]
    question = (
        "James decides to run 3 sprints 3 times a week.  He runs 60 meters each sprint.  "
        "How many total meters does he run a week?"
    )
    assert [(m.role, m.content) for m in sample.messages] == [("user", f"{question}\n{ASK}")]
    assert (sample.sample_id, sample.target) == ("gsm8k/3", "540")


def test_gsm8k_targets_lose_their_commas(data_root: Path) -> None:
    """Fourteen references are written as 1,450,000; every target is a plain integer."""
    assert all(s.target.lstrip("-").isdigit() for s in load("gsm8k", data_root).made)


@pytest.mark.parametrize(("name", "index", "first_words", "target"), [
    ("aime24", 0, "Every morning Aya goes for a $9$-kilometer-long walk", "204"),
    ("aime26", 0, "Patrick started walking at a constant rate along a straight road", "277"),
    ("aime25", 0, "Find the sum of all integer bases $b>9$ for which $17_b$", "70"),
])  # fmt: skip
def test_aime_asks_as_the_report_says(
    name: str, index: int, first_words: str, target: str, data_root: Path
) -> None:
    """64 answers to a question, 38,912 tokens; targets are integers 0-999 without leading zeros."""
    loaded = load(name, data_root)
    sample = loaded.made[index]
    assert sample.messages[0].content.startswith(first_words)
    assert sample.messages[0].content.endswith(f"\n{ASK}")
    assert sample.target == target
    assert (load_task(name).repeats, load_task(name).max_output_tokens) == (64, 38_912)
    assert all(s.target == str(int(s.target)) and 0 <= int(s.target) <= 999 for s in loaded.made)


def test_math500_groups_by_subject(data_root: Path) -> None:
    """The seven subjects of MATH are the groups; the level, 1 to 5, is in the metadata."""
    loaded = load("math500", data_root)
    assert Counter(s.group for s in loaded.made) == {
        "Algebra": 124, "Intermediate Algebra": 97, "Prealgebra": 82, "Number Theory": 62,
        "Precalculus": 56, "Geometry": 41, "Counting & Probability": 38,
    }  # fmt: skip
    assert {s.metadata["level"] for s in loaded.made} == {1, 2, 3, 4, 5}
    assert loaded.made[3].messages[0].content == (
        f"How many positive whole-number divisors does 196 have?\n{ASK}"
    )


def test_chain_needs_no_mirror() -> None:
    """A thousand questions, asked in the same words, answers 0-999."""
    samples = load("chain", Path("/nowhere")).made
    assert len(samples) == load_task("chain").card.rows == 1000
    assert all(s.messages[0].content.endswith(f"\n{ASK}") and 0 <= int(s.target) <= 999 for s in samples)
    assert len({s.messages for s in samples}) == 1000
