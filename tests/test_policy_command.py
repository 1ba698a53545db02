"""Promises of `policy` as a person meets it: what it prints and leaves in a run folder, what it refuses."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from qwen3_eval.cli import main
from qwen3_eval.policy.points import FIXED, ORACLE, POLICY_COLUMNS, PREDICTOR, STABLE

# Questions of known length would need a model; the scripted one thinks 3 lines and answers 0.
OWN_TASK = """
from qwen3_eval.scoring.math import BOXED_INSTRUCTION, math_scorer
from qwen3_eval.task import Card, procedural_task
from qwen3_eval.types import Message, Sample


@procedural_task(
    name="zeros",
    card=Card(rows=6, licence="MIT", prompt="a number", protocol="0-shot chat", source="a test"),
    scorer=math_scorer(),
)
def zeros():
    for i in range(6):
        yield Sample(f"zeros/{i}", (Message("user", f"What is 0 times {i}?\\n{BOXED_INSTRUCTION}"),), "0")
"""
SCRIPTED = ("engine=scripted", "repeats=2")
FILES = ("policy.csv", "policy.json", "policy.md", "policy.png", "policy.svg")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two tasks at four budgets; one of them is always answered right, the other almost never."""
    folder = tmp_path_factory.mktemp("policy")
    (folder / "tasks").mkdir()
    (folder / "tasks" / "zeros.py").write_text(OWN_TASK)
    done = main([
        "sweep", *SCRIPTED, "budget=8,16,32,1k", "task=chain,zeros", "limit=6",
        f"tasks.path={folder / 'tasks'}", f"run.dir={folder / 'run'}",
    ])  # fmt: skip
    assert done == 0
    return folder / "run"


def read_table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "policy.csv", keep_default_na=False, na_values=[""])


def test_the_command_writes_its_table_in_every_form(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each task and all together; print, CSV, page and JSON agree; a second run gives the same bytes."""
    assert main(["policy", f"run.dir={run_dir}"]) == 0
    printed = capsys.readouterr().out
    first = [(run_dir / name).read_bytes() for name in FILES]
    table = read_table(run_dir)
    assert tuple(table.columns) == POLICY_COLUMNS
    assert list(dict.fromkeys(table["task"])) == ["chain", "zeros", "all tasks"]
    sentence = "zeros: no policy beats fixed budgets at equal tokens with intervals apart"
    assert sentence in printed
    page = (run_dir / "policy.md").read_text()
    assert sentence.removeprefix("zeros: ") in page
    assert page.count("\n| zeros |") == sum(table["task"] == "zeros")
    summary = json.loads((run_dir / "policy.json").read_text())
    assert summary["findings"]["zeros"] == [sentence.removeprefix("zeros: ")]
    assert len(summary["policies"]) == len(table)
    assert summary["folds"] == 5
    assert main(["policy", f"run.dir={run_dir}"]) == 0
    assert [(run_dir / name).read_bytes() for name in FILES] == first


def test_what_the_scripted_model_gives(run_dir: Path) -> None:
    """Its answer is 0 at every budget, so waiting for two in a row thinks 16 tokens and is as good as any; on
    the task where 0 is right all score 1, and the oracle takes what costs least."""
    assert main(["policy", "task=zeros", f"run.dir={run_dir}"]) == 0
    table = read_table(run_dir)
    assert set(table["task"]) == {"zeros"}
    assert set(table["score"]) == {1.0}
    stable = table[(table["policy"] == STABLE) & (table["setting"] == "2 in a row")].iloc[0]
    fixed = table[table["policy"] == FIXED]
    assert stable["thinking_tokens_mean"] == 16
    spent = dict(zip(fixed["setting"], fixed["all_tokens_mean"], strict=True))
    assert stable["all_tokens_mean"] == 16 + 2 * (spent["8"] - 8), "two answers after 16 tokens of thinking"
    assert table.loc[table["policy"] == PREDICTOR, "thinking_tokens_mean"].tolist() == [8]
    assert table.loc[table["policy"] == ORACLE, "all_tokens_mean"].max() == fixed["all_tokens_mean"].min()
    assert set(table["n_repeats"]) == {2}


def test_groups_may_skip_thinking_over_all_tasks(run_dir: Path) -> None:
    """Both tasks do no worse without thinking, so all questions skip it, at every budget to fall back on."""
    assert main(["policy", f"run.dir={run_dir}", "folds=3", "seed=4"]) == 0
    table = read_table(run_dir)
    rows = table[(table["task"] == "all tasks") & (table["policy"] == "non-thinking by group")]
    assert len(rows) == 4
    assert set(rows["non_thinking"]) == {1.0}
    assert set(rows["thinking_tokens_mean"]) == {0.0}


def test_one_budget_leaves_nothing_to_choose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the run, the task and the budget, and says how to get more; nothing is written."""
    assert main(["sweep", *SCRIPTED, "budget=16", "limit=3", f"run.dir={tmp_path}"]) == 0
    assert main(["policy", f"run.dir={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert re.search(
        r"has one thinking budget of chain \(16\); .* two or more: .* budget=\[1k,4k,8k\]", error
    )
    assert not any((tmp_path / name).exists() for name in FILES)


def test_a_run_without_thinking_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the modes that there are."""
    assert main(["sweep", *SCRIPTED, "mode=non-thinking", "limit=3", f"run.dir={tmp_path}"]) == 0
    assert main(["policy", f"run.dir={tmp_path}"]) == 2
    assert "has no thinking records of chain, only non-thinking" in capsys.readouterr().err


def test_one_question_cannot_be_learnt_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error counts the questions that are complete."""
    assert main(["sweep", *SCRIPTED, "budget=8,16", "limit=1", f"run.dir={tmp_path}"]) == 0
    assert main(["policy", f"run.dir={tmp_path}"]) == 2
    assert "1 question of chain has a score at each of its 2 budgets" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["task=chian"], "task 'chian' is not in run.dir=.*did you mean 'chain'.*it holds: chain, zeros"),
        (["folds=1"], "folds=1: cross-validation needs 2 or more"),
    ],
)
def test_settings_are_refused_by_name(
    run_dir: Path, settings: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and one error that says what is allowed."""
    assert main(["policy", f"run.dir={run_dir}", *settings]) == 2
    assert re.search(said, capsys.readouterr().err)


def test_a_file_in_the_way_is_told(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a file cannot be replaced the error says so, and the folder keeps no draft of it."""
    copy = tmp_path / "run"
    copy.mkdir()
    for name in ("run.json", "run.db"):
        (copy / name).write_bytes((run_dir / name).read_bytes())
    (copy / "policy.csv").mkdir()
    assert main(["policy", f"run.dir={copy}", "task=zeros"]) == 2
    assert "the policies cannot be written to" in capsys.readouterr().err
    assert {path.name for path in copy.iterdir()} == {"run.json", "run.db", "policy.csv"}


def test_the_figure_names_every_policy(run_dir: Path) -> None:
    """In the SVG, whose texts are texts: the policies, the budgets and what it rests on."""
    assert main(["policy", f"run.dir={run_dir}"]) == 0
    drawn = (run_dir / "policy.svg").read_text()
    for text in (FIXED, PREDICTOR, STABLE, ORACLE, "1k", "6 questions × 2 repeats", "all tasks: score"):
        assert text in drawn, text
