"""A sweep killed, out of disk, locked out or damaged: what is committed stands, and the sweep goes on."""

import asyncio
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from importlib import util
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from qwen3_eval import run
from qwen3_eval.budget import Ending, parse_budget
from qwen3_eval.cli import main
from qwen3_eval.engine.start import start_engine
from qwen3_eval.errors import EngineError, StoreError
from qwen3_eval.run_folder import is_in_use
from qwen3_eval.score import read_records
from qwen3_eval.store import Store
from qwen3_eval.types import Sampling

# The command line as it is, and a note of every request, written before the engine is asked.
LOGGED = """
import os, sys
from qwen3_eval.cli import main
from qwen3_eval.engine.{module} import {engine} as Engine

log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
generate = Engine.generate

async def noted(self, prompt_ids, max_tokens, stop_token_ids, sampling, seed):
    os.write(log, f"{{seed}}\\n".encode())
    return await generate(self, prompt_ids, max_tokens, stop_token_ids, sampling, seed)

Engine.generate = noted
if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]))
"""
SCRIPTED = LOGGED.format(module="scripted", engine="ScriptedEngine")
VLLM = LOGGED.format(module="vllm", engine="VllmEngine")

BUDGETS = "16,32,64,inf"
TIMES = ["thinking_s", "answer_s", "cached_tokens", "rollout"]  # what two runs of one sweep may differ in


def settings(folder: Path, *more: str) -> list[str]:
    return ["sweep", "engine=scripted", f"budget={BUDGETS}", "sampling=greedy", f"run.dir={folder}", *more]


def sweep(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "qwen3_eval", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def read_all(folder: Path, budgets: str) -> tuple[pd.DataFrame, dict[tuple[Any, ...], tuple[int, ...]]]:
    """Returns a run's records without what may differ, and the ids behind each of them."""
    with Store.read(folder) as store:
        records = read_records(store, [parse_budget(b) for b in budgets.split(",")])
        ids = {}
        for row in records.to_dict("records"):
            ending = Ending("forced" if row["forced"] else "natural", row["thinking_tokens"])
            answer = store.read_answer(row["rollout"], ending)
            key = (row["sample_id"], row["mode"], row["budget"])
            ids[key] = store.read_trace_ids(row["rollout"]) + (answer.ids if answer else ())
    keys = ["task", "sample_id", "mode", "budget", "repeat"]
    return records.drop(columns=TIMES).sort_values(keys, ignore_index=True), ids


def read_committed(folder: Path) -> dict[int, float]:
    """Returns the seed of every committed request, which names it, and when it was committed."""
    if not (folder / "run.db").is_file():
        return {}
    try:
        with closing(sqlite3.connect(folder / "run.db")) as db:
            return dict(db.execute("SELECT seed, finished FROM generations").fetchall())
    except sqlite3.OperationalError:  # killed before the tables were made
        return {}


def count_done(folder: Path) -> int:
    """Returns how many requests and verdicts are committed."""
    if not (folder / "run.db").is_file():
        return 0
    try:
        with closing(sqlite3.connect(folder / "run.db")) as db:
            tables = "(SELECT count(*) FROM generations) + (SELECT count(*) FROM verdicts)"
            return int(db.execute(f"SELECT {tables}").fetchone()[0])
    except sqlite3.OperationalError:  # before the tables were made
        return 0


def run_logged(script: str, log: Path, arguments: Sequence[str], due: Callable[[], bool]) -> int:
    """Runs the command, with SIGKILL to all its processes once `due`; returns its exit code."""
    log.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(log), *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        while process.poll() is None and not due():
            time.sleep(0.002)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def read_asked(log: Path) -> list[int]:
    """Returns the seeds of the requests that the engine was asked."""
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def kill_again_and_again(script: str, folder: Path, moments: Sequence[int], arguments: Sequence[str]) -> None:
    """Kills the command once at each moment (a count of what is committed), then lets it end.

    Asserts each time that what was committed before is not asked again, and does not change.
    """
    log = folder.with_suffix(".log")
    for moment in [*moments, None]:
        before = read_committed(folder)
        due = (lambda: False) if moment is None else (lambda m=moment: count_done(folder) >= m)
        code = run_logged(script, log, arguments, due)
        assert code == (0 if moment is None else -signal.SIGKILL)
        assert not set(read_asked(log)) & set(before), "what was committed was generated again"
        after = read_committed(folder)
        assert {seed: after.get(seed) for seed in before} == before


def assert_same_run(folder: Path, calm: Path, budgets: str) -> None:
    records, ids = read_all(folder, budgets)
    expected, expected_ids = read_all(calm, budgets)
    assert len(records) > 0
    pd.testing.assert_frame_equal(records, expected)
    assert ids == expected_ids
    assert len(read_committed(folder)) == len(read_committed(calm))


@pytest.mark.slow
def test_killed_at_twenty_moments_a_sweep_ends_as_if_undisturbed(tmp_path: Path) -> None:
    """kill -9, then the same command: the same records and ids, and nothing committed is asked twice."""
    calm, torn = tmp_path / "calm", tmp_path / "torn"
    more = ["limit=24", "sweep.concurrency=4"]
    assert sweep(*settings(calm, *more)).returncode == 0
    moments = sorted(random.Random(20).sample(range(count_done(calm)), 20))
    kill_again_and_again(SCRIPTED, torn, moments, settings(torn, *more, "engine.extra.delay_s=0.02"))
    assert_same_run(torn, calm, BUDGETS)


@pytest.mark.slow
def test_a_greedy_sweep_on_vllm_survives_three_kills(tmp_path: Path) -> None:
    """The same on the real engine and the model in the box, with records as of an undisturbed greedy run."""
    if util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed (pip install -e '.[cpu]')")
    calm, torn = tmp_path / "calm", tmp_path / "torn"
    arguments = [
        "sweep", "budget=64,256", "sampling=greedy", "limit=12", "max_answer_tokens=256",
        "sweep.concurrency=3", "engine.extra.kv_cache_memory_bytes=1073741824",
    ]  # fmt: skip
    assert sweep(*arguments, f"run.dir={calm}").returncode == 0
    moments = sorted(random.Random(3).sample(range(len(read_committed(calm))), 3))
    kill_again_and_again(VLLM, torn, moments, [*arguments, f"run.dir={torn}"])
    assert_same_run(torn, calm, "64,256")


def test_more_budgets_on_a_run_generate_only_what_is_new(tmp_path: Path) -> None:
    """On 16,64 a sweep of 16,32,64,inf asks, per question, the answer at 32, the rest, and its answer."""
    log, folder = tmp_path / "log", tmp_path / "run"
    first = [*settings(folder, "limit=4")]
    first[2] = "budget=16,64"
    assert run_logged(SCRIPTED, log, first, lambda: False) == 0
    assert len(read_asked(log)) == 4 * (2 + 2 + 1)  # two segments, two forced answers, one non-thinking
    before = read_committed(folder)
    assert run_logged(SCRIPTED, log, settings(folder, "limit=4"), lambda: False) == 0
    assert len(read_asked(log)) == 4 * 3
    assert not set(read_asked(log)) & set(before)
    after = read_committed(folder)
    assert {seed: after[seed] for seed in before} == before
    assert run_logged(SCRIPTED, log, settings(folder, "limit=4"), lambda: False) == 0
    assert read_asked(log) == []


def test_two_processes_on_one_run(tmp_path: Path) -> None:
    """The second is refused in one line while the first goes on undisturbed."""
    first = subprocess.Popen(
        [sys.executable, "-m", "qwen3_eval", *settings(tmp_path, "limit=2", "engine.extra.delay_s=1")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not is_in_use(tmp_path) and first.poll() is None:
            time.sleep(0.01)
        with pytest.raises(StoreError, match="in use by another process"):
            Store.open(tmp_path)
        # The lock lasts as long as the process: stopped, it cannot end before the second one has tried.
        first.send_signal(signal.SIGSTOP)
        second = sweep(*settings(tmp_path, "limit=2"))
        first.send_signal(signal.SIGCONT)
        assert_one_error(second, "in use by another process")
        assert first.wait(120) == 0
    finally:
        first.kill()
        first.wait()


def assert_one_error(done: subprocess.CompletedProcess[str], message: str) -> None:
    """The command ended with exit code 2 and one line that begins with `error: `."""
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if not line.startswith("starting")]
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("error: ")
    assert message in errors[0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte, which a test may fill, or remount read-only."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = os.geteuid() == 0 and shutil.which("mount") is not None
    mounted = (
        mounted and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "x", place]).returncode == 0
    )
    if not mounted:
        pytest.skip("a small disk needs root and the right to mount a tmpfs")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def remount(disk: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(disk)], check=True)


def test_a_disk_that_runs_full_stops_the_sweep_and_loses_nothing(small_disk: Path, tmp_path: Path) -> None:
    """One line, exit code 2; what is committed can be read on the full disk; with room, the rest follows."""
    calm, folder, log = tmp_path / "calm", small_disk / "run", tmp_path / "log"
    more = ["limit=60", "sweep.concurrency=4"]
    assert sweep(*settings(calm, *more)).returncode == 0
    assert_one_error(sweep(*settings(folder, *more)), "disk is full")
    before = read_committed(folder)
    assert 20 < len(before) < len(read_committed(calm))
    with Store.read(folder) as store:
        assert sum(len(store.read_trace_ids(row[0])) for row in store.query("SELECT id FROM rollouts")) > 0
    remount(small_disk, "size=64m")
    assert run_logged(SCRIPTED, log, settings(folder, *more), lambda: False) == 0
    assert not set(read_asked(log)) & set(before)
    assert_same_run(folder, calm, BUDGETS)


def test_a_read_only_folder_is_refused_and_can_be_read(small_disk: Path) -> None:
    """Nothing is started; the records can still be read; made writable, the same command goes on."""
    folder = small_disk / "run"
    remount(small_disk, "size=64m")
    assert sweep(*settings(folder, "limit=2")).returncode == 0
    remount(small_disk, "ro")
    assert_one_error(sweep(*settings(folder, "limit=3")), "Read-only file system")
    assert len(read_all(folder, BUDGETS)[0]) == 2 * 5
    remount(small_disk, "rw")
    assert sweep(*settings(folder, "limit=3")).returncode == 0
    assert len(read_all(folder, BUDGETS)[0]) == 3 * 5


@pytest.mark.parametrize("damage", ["bytes flipped", "cut short", "not a database"])
def test_a_damaged_database_is_told_and_left_alone(tmp_path: Path, damage: str) -> None:
    """One line, exit code 2, the file is as it was; put right again, nothing is generated twice."""
    log = tmp_path / "log"
    arguments = settings(tmp_path / "run", "limit=4")
    assert sweep(*arguments).returncode == 0
    file = tmp_path / "run" / "run.db"
    whole = file.read_bytes()
    page = range(4096, 6144)
    harmed = {
        "bytes flipped": bytes(byte ^ 0xFF if i in page else byte for i, byte in enumerate(whole)),
        "cut short": whole[: len(whole) // 2],
        "not a database": b"Dear diary, " + whole[12:],
    }[damage]
    file.write_bytes(harmed)
    assert_one_error(sweep(*arguments), "is damaged")
    assert file.read_bytes() == harmed
    file.write_bytes(whole)
    assert run_logged(SCRIPTED, log, arguments, lambda: False) == 0
    assert read_asked(log) == []


def test_a_store_that_fails_under_way_closes_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error of one rollout among many leaves as one line, after the engine was closed."""
    engines: list[Any] = []

    async def start_and_keep(*arguments: Any) -> Any:
        engines.append(await start_engine(*arguments))
        return engines[-1]

    monkeypatch.setattr(run, "start_engine", start_and_keep)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))  # no file may grow further: a full disk
    try:
        code = main(settings(tmp_path / "run", "limit=60", "sweep.concurrency=4"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    errors = capsys.readouterr().err.splitlines()[1:]  # after `starting scripted ...`
    assert code == 2
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert "nothing done is lost" in errors[0]
    with pytest.raises(EngineError, match="closed"):
        asyncio.run(engines[0].generate((1,), 1, frozenset(), Sampling(), 0))
    assert len(read_committed(tmp_path / "run")) > 10
