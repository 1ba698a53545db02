"""The list of runs, shards of a sweep, and joining them."""

import json
import subprocess
import sys
from collections.abc import Hashable, Sequence
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_eval.cli import main
from qwen3_eval.errors import StoreError
from qwen3_eval.run_folder import read_run
from qwen3_eval.runs import find_runs, merge_runs
from qwen3_eval.score import read_records
from qwen3_eval.store import Store
from qwen3_eval.store_schema import pack_ids
from qwen3_eval.subset import select
from qwen3_eval.types import Message, Sample

NUMBERED = ["rollout", "thinking_s", "answer_s"]  # what differs between two runs of one sweep


def sweep(folder: Path, *more: str, budget: str = "16,inf") -> None:
    code = main(["sweep", "engine=scripted", f"budget={budget}", "limit=7", f"run.dir={folder}", *more])
    assert code == 0


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one whole run, and the same sweep in three shards."""
    folder = tmp_path_factory.mktemp("runs")
    sweep(folder / "whole")
    for k in (1, 2, 3):
        sweep(folder / f"shard{k}", f"shard={k}/3")
    return folder


def read_sorted(folder: Path) -> list[dict[Hashable, Any]]:
    with Store.read(folder) as store:
        records = read_records(store, [16, float("inf")]).drop(columns=NUMBERED)
    return records.sort_values(["sample_id", "mode", "budget"]).to_dict("records")


@given(st.integers(1, 60), st.integers(1, 7), st.integers(1, 60))
def test_shards_are_a_stable_split(n_samples: int, n: int, limit: int) -> None:
    """Together they are the whole, none overlap, sizes differ by one, and a larger limit only adds."""
    samples = [Sample(f"toy/{i}", (Message("user", "?"),), "x") for i in range(n_samples)]
    shards = [select(samples, limit, (k, n)) for k in range(1, n + 1)]
    ids = [sample.sample_id for shard in shards for sample in shard]
    assert sorted(ids) == sorted(s.sample_id for s in select(samples, limit))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    for k, shard in enumerate(shards, start=1):
        assert select(samples, limit + 5, (k, n))[: len(shard)] == shard


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "1/0", "a/b", "-1/3"])
def test_a_shard_that_is_none_is_refused(
    shard: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message shows the form."""
    assert main(["sweep", "engine=scripted", f"shard={shard}", f"run.dir={tmp_path}/run"]) == 2
    assert "write K/N, as 1/4" in capsys.readouterr().err


def test_a_run_keeps_to_its_shard(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another shard, or all, in the same folder would make a run that no one can name: refused."""
    shared = ["sweep", "engine=scripted", "budget=16,inf", "limit=7", f"run.dir={runs}/shard1"]
    for more in (["shard=2/3"], []):
        assert main([*shared, *more]) == 2
        assert "runs merge" in capsys.readouterr().err


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_three_shards_merged_are_the_whole(runs: Path, tmp_path: Path, order: Sequence[int]) -> None:
    """The same records in every column, whatever the order, and the report is made from them."""
    out = tmp_path / "merged"
    state = merge_runs(out, [runs / f"shard{k}" for k in order])
    assert (state.state, state.done, state.total) == ("done", 21, 21)
    assert read_sorted(out) == read_sorted(runs / "whole")
    assert main(["report", f"run.dir={out}"]) == 0
    whole, merged = read_run(runs / "whole"), read_run(out)
    assert whole is not None
    assert merged is not None
    assert merged["tasks"] == whole["tasks"]
    assert merged["identity"] == whole["identity"]
    # Each shard's session keeps its engine, under a new number, and every row still names its own.
    with Store.read(out) as store:
        used = next(store.query("SELECT count(DISTINCT session) FROM generations"))[0]
        assert used == next(store.query("SELECT count(*) FROM sessions"))[0] == 3


def test_a_merged_run_grows_and_shards_can_join_later(runs: Path, tmp_path: Path) -> None:
    """Two of three shards, merged, are an unfinished sweep; the third, or the plain sweep, completes it."""
    out = tmp_path / "merged"
    assert merge_runs(out, [runs / "shard1", runs / "shard2"]).total == 15
    copytree(out, tmp_path / "copy")
    assert merge_runs(out, [runs / "shard3"]).total == 21
    assert merge_runs(out, [runs / "shard3"]).total == 21  # again: kept once
    sweep(tmp_path / "copy")
    assert read_sorted(out) == read_sorted(tmp_path / "copy") == read_sorted(runs / "whole")


def test_overlapping_runs_are_joined_where_they_agree(runs: Path, tmp_path: Path) -> None:
    """Two copies of one shard, one extended by a budget: the records of both, each token once."""
    copytree(runs / "shard1", tmp_path / "more")
    sweep(tmp_path / "more", "shard=1/3", budget="16,32,inf")
    out = tmp_path / "merged"
    state = merge_runs(out, [runs / "shard1", tmp_path / "more"])
    assert (state.done, state.total, list(state.budgets)) == (12, 12, ["16", "32", "inf", "0"])
    count = "SELECT count(*), sum(tokens) FROM generations"
    with Store.read(out) as merged, Store.read(tmp_path / "more") as more:
        assert tuple(next(merged.query(count))) == tuple(next(more.query(count)))


def test_runs_that_disagree_are_refused(runs: Path, tmp_path: Path) -> None:
    """Other tokens for one request: the question is named, and what stood in the folder stays."""
    copytree(runs / "shard1", tmp_path / "other")
    with Store.open(tmp_path / "other") as store:
        store._db.execute("UPDATE generations SET ids = ? WHERE forced = 1", (pack_ids([1, 2, 3]),))
    out = tmp_path / "merged"
    merge_runs(out, [runs / "shard1"])
    before = read_sorted(out)
    with pytest.raises(StoreError, match=r"different tokens for chain/.*, repeat 0"):
        merge_runs(out, [tmp_path / "other"])
    assert read_sorted(out) == before


def test_settings_that_differ_are_named(runs: Path, tmp_path: Path) -> None:
    """Runs of other seeds and sampling do not merge; nothing is written."""
    sweep(tmp_path / "other", "shard=2/3", "seed=1", "sampling=greedy")
    with pytest.raises(StoreError, match=r"temperature \(0.6 and 0.0\).*seed \(0 and 1\)") as refused:
        merge_runs(tmp_path / "out", [runs / "shard1", tmp_path / "other"])
    assert str(tmp_path / "other") in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_the_list_says_state_and_progress(runs: Path, tmp_path: Path) -> None:
    """Running while the lock is held, stopped where it ended early, done, damaged; each with its records."""
    copytree(runs / "whole", tmp_path / "a-done")
    copytree(runs / "whole", tmp_path / "b-stopped")
    run = json.loads((tmp_path / "b-stopped/run.json").read_text())
    run["tasks"]["chain"]["questions"] = 10
    (tmp_path / "b-stopped/run.json").write_text(json.dumps(run | {"status": "running"}))
    copytree(tmp_path / "b-stopped", tmp_path / "c-running")
    copytree(runs / "whole", tmp_path / "d-damaged")
    (tmp_path / "d-damaged/run.db").write_bytes(b"no database")
    (tmp_path / "e-no-run").mkdir()
    with Store.open(tmp_path / "c-running"):
        states = find_runs(tmp_path)
    assert [(s.folder.name, s.state.split(":")[0], s.done, s.total) for s in states] == [
        ("a-done", "done", 21, 21),
        ("b-stopped", "stopped", 21, 30),
        ("c-running", "running", 21, 30),
        ("d-damaged", "damaged", 0, 0),
    ]
    assert (states[0].model, list(states[0].tasks), list(states[0].budgets)) == (
        "nano", ["chain"], ["16", "inf", "0"],
    )  # fmt: skip


def test_the_command_lists_and_merges(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`runs DIR` prints a line for each run, `runs merge` what came of it; mistakes are told."""
    assert main(["runs", str(runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["state", "records", "model", "tasks", "budgets", "folder"]
    assert lines[-1].split() == ["done", "21/21", "nano", "chain", "16,inf,0", f"{runs}/whole"]
    shards = [f"{runs}/shard{k}" for k in (1, 2, 3)]
    assert main(["runs", "merge", f"{tmp_path}/out", *shards]) == 0
    assert f"done: 21 of 21 records in {tmp_path}/out" in capsys.readouterr().out
    for arguments, message in (
        (["runs", f"{tmp_path}/nowhere"], "is no folder"),
        (["runs", "merge", "out"], "runs merge OUT IN1 IN2"),
        (["runs", "merge", "out", shards[0], shards[0]], "names a folder twice"),
        (["runs", "merge", "out", str(tmp_path)], "holds no run"),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err


def test_a_run_that_is_still_written_is_not_merged(runs: Path, tmp_path: Path) -> None:
    """Its shard would be half there."""
    with Store.open(runs / "shard2"), pytest.raises(StoreError, match="still being written"):
        merge_runs(tmp_path / "out", [runs / "shard1", runs / "shard2"])


def test_listing_imports_nothing_heavy(runs: Path) -> None:
    """Neither pandas nor torch nor transformers, so that the list is there at once."""
    code = (
        "import sys; from qwen3_eval.cli import main; main(['runs', sys.argv[1]]); "
        "sys.exit(any(m in sys.modules for m in ('pandas', 'torch', 'transformers', 'hydra', 'vllm')))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(runs)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
