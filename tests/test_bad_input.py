"""Bad input from the command line: one clear error, exit code 2, nothing started, nothing written or lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from environments import copy_checkpoint, link_packages, run_without
from safetensors.torch import load_file, save_file

from qwen3_eval.cli import main
from qwen3_eval.errors import CheckpointError
from qwen3_eval.model.weights import check_weights

COLUMN = "question"
ROW = {COLUMN: "1 + 1?", "answer": "It is two.\n#### 2"}


def refuse(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Returns what the command says on stderr, after the checks that every refusal must pass."""
    capsys.readouterr()
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    return told


def rename_token(model: Path, token: str) -> None:
    file = model / "tokenizer.json"
    file.write_text(file.read_text().replace(f'"{token}"', '"<renamed>"'))


@pytest.mark.parametrize("token", ["<think>", "</think>"])
def test_a_checkpoint_without_the_tags_leaves_no_run(
    token: str, nano: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The missing token is named, and no half-made run stands in the way of the mended checkpoint."""
    model = copy_checkpoint(nano, tmp_path / "model")
    rename_token(model, token)
    told = refuse(capsys, "sweep", f"model={model}", "engine=scripted", f"run.dir={tmp_path}/run")
    assert f"has no token {token};" in told
    assert not (tmp_path / "run").exists()


def break_weights(model: Path, how: str) -> None:
    file = model / "model.safetensors"
    tensors = load_file(file)
    name = "model.layers.0.mlp.up_proj.weight"
    if how == "truncated":
        file.write_bytes(file.read_bytes()[:-1])
        return
    if how == "missing":
        del tensors[name]
    else:
        tensors["model.layers.99.mlp.up_proj.weight"] = tensors[name].clone()
    save_file(tensors, file)


@pytest.mark.parametrize("engine", [["engine=torch"], ["engine=vllm"], ["engine=vllm", "model.impl=vllm"]])
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated", "model.safetensors' is truncated"),
        ("missing", "lacks tensor model.layers.0.mlp.up_proj.weight"),
        ("surplus", "surplus tensor model.layers.99.mlp.up_proj.weight"),
    ],
)
def test_damaged_weights_are_refused_before_any_engine_starts(
    how: str,
    message: str,
    engine: list[str],
    nano: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With either engine and either model class the message is the same, and no run is made."""
    monkeypatch.setattr("qwen3_eval.engine.vllm_start.check_vllm", lambda architecture, impl: None)
    model = copy_checkpoint(nano, tmp_path / "model")
    break_weights(model, how)
    told = refuse(capsys, "sweep", f"model={model}", *engine, f"run.dir={tmp_path}/run")
    assert message in told
    assert not (tmp_path / "run").exists()


def test_a_quantised_checkpoint_may_hold_tensors_of_its_own(nano: Path, tmp_path: Path) -> None:
    """Scales beside the weights are no mistake there; a truncated file still is."""
    model = copy_checkpoint(nano, tmp_path / "model")
    break_weights(model, "surplus")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "fp8"}}))
    check_weights(model)
    break_weights(model, "truncated")
    with pytest.raises(CheckpointError, match="is truncated"):
        check_weights(model)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps(ROW)[:-9], "line 1 is torn"),
        (json.dumps({"answer": "#### 2"}), f"row 0 lacks '{COLUMN}'"),
        (json.dumps(ROW), "1 rows, where the task has 1,319"),
    ],
)
def test_a_bad_mirror_is_refused_with_its_file(
    content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A torn line, a missing column and a wrong row count: the file is named, and no run is made."""
    file = tmp_path / "mirror/openai/gsm8k/main/test.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text(content + "\n")
    where = (f"data.root={tmp_path}/mirror", f"run.dir={tmp_path}/run")
    told = refuse(capsys, "sweep", "task=gsm8k", "engine=scripted", *where)
    assert message in told
    assert str(file) in told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["engine.extra.delay=1"], "did you mean 'delay_s'?"),
        (["options.chain.shar=1"], "unknown setting 'options.chain.shar'; did you mean 'share'?"),
        (["options.gsm8k.share=1"], "options.gsm8k is of no task that is asked"),
        (["options.chain=3"], "options.chain=3 names no option; write options.chain.NAME=VALUE"),
        (["engine.extra.delay_s=-1"], "delay_s=-1"),
        (["engine=torch", "engine.extra.delay_s=1"], "engine=torch takes none"),
        (["engine.name=vlm"], "did you mean 'vllm'?"),
        (["model.impl=bundle"], "did you mean 'bundled'?"),
        (["max_answer_tokens=16384", "budget=inf"], "context of model 'box:nano' is 16384"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    settings: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The nearest known is named, or the limit."""
    engine = [] if "engine=torch" in settings else ["engine=scripted"]
    told = refuse(capsys, "sweep", *engine, *settings, f"run.dir={tmp_path}/run")
    assert message in told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model=nobody/Nothing-8B"], "the hub does not give it"),
        (["task=gsm8k"], "no local mirror is set; set data.root="),
    ],
)
def test_without_a_hub_the_error_says_what_to_give(settings: list[str], message: str, tmp_path: Path) -> None:
    """A model and rows that only the hub has: told in one line, and what to give instead."""
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    environment.pop("QWEN3_EVAL_DATA", None)
    command = [sys.executable, "-m", "qwen3_eval", "sweep", "engine=scripted", *settings]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_without_vllm_the_sweep_names_the_extra(tmp_path: Path) -> None:
    """vLLM truly absent: the first message says which extra to install, and no run is made."""
    packages = link_packages(tmp_path / "packages", without=["vllm"])
    done = run_without(packages, "sweep", f"run.dir={tmp_path}/run")
    assert done.returncode == 2
    assert "pip install 'qwen3_eval[cpu]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(tmp_path: Path) -> None:
    """Exit code 130, one message, no traceback; the same command then generates only what was missing."""
    folder = tmp_path / "run"
    settings = ["engine=scripted", "budget=16", "mode=thinking", "limit=12", f"run.dir={folder}"]
    command = [sys.executable, "-m", "qwen3_eval", "sweep", *settings]
    slow = [*command, "sweep.concurrency=1", "engine.extra.delay_s=0.3"]
    # A session of its own, or the tests' own group would be signalled where they run in one.
    process = subprocess.Popen(
        slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert wait_for_generations(folder, 3, timeout_s=600)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 130
    assert f"kept in {folder}: the same command goes on" in told
    assert "Traceback" not in told
    kept = count_generations(folder)
    assert 3 <= kept < 24  # a segment of the trace and an answer for each question
    assert json.loads((folder / "run.json").read_text())["status"] == "stopped"
    again = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert again.returncode == 0, again.stderr
    assert count_generations(folder) == 24
    assert list(pd.read_csv(folder / "summary.csv")["n_questions"]) == [12]


def count_generations(folder: Path) -> int:
    import sqlite3

    try:
        with sqlite3.connect(f"file:{folder}/run.db?mode=ro", uri=True) as db:
            return int(db.execute("SELECT count(*) FROM generations").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # not made yet


def wait_for_generations(folder: Path, number: int, timeout_s: float) -> bool:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if count_generations(folder) >= number:
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_report_on_a_full_disk_leaves_the_last_one_whole(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the folder and the reason; with room again the report is written."""
    folder = small_disk / "run"
    assert main(["sweep", "engine=scripted", "budget=16", "limit=2", f"run.dir={folder}"]) == 0
    names = ["summary.csv", "samples.parquet", "curve.svg", "report.html"]
    before = {name: (folder / name).read_bytes() for name in names}
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        fill(filler)
    os.truncate(filler, filler.stat().st_size - 2**16)  # SQLite wants a little room to read, too
    told = refuse(capsys, "report", f"run.dir={folder}")
    assert "cannot be written" in told
    assert "No space left" in told
    assert {name: (folder / name).read_bytes() for name in names} == before
    filler.unlink()
    assert main(["report", f"run.dir={folder}"]) == 0


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as stream:
        while stream.write(b"\0" * 4096):
            pass
