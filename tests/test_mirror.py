"""Pulling a mirror through `datasets`, and checking one."""

import gzip
import json
import os
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from qwen3_eval.cli import main
from qwen3_eval.data import MIRROR_VARIABLE

OWN_TASK = """
from qwen3_eval.scoring.math import math_scorer
from qwen3_eval.task import Card, task
from qwen3_eval.types import Message, Sample


@task(
    name="own_rows",
    card=Card(rows=4, licence="MIT", prompt="q", protocol="p", source="me", hub_id="org/set",
              config=("one", "two"), split="test", columns=("q", "a")),
    scorer=math_scorer(),
)
def own_rows(row, sample_id):
    return Sample(sample_id, (Message("user", row["q"]),), row["a"])
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a repository as the hub has it, `org/set` of two configs, and a task that reads it."""
    repository = tmp_path / "org/set"
    repository.mkdir(parents=True)
    card = "configs:\n" + "".join(
        f"- config_name: {name}\n  data_files:\n  - split: test\n    path: {name}.jsonl\n"
        for name in ("one", "two")
    )
    (repository / "README.md").write_text(f"---\n{card}---\n")
    for name in ("one", "two"):
        rows = [{"q": f"{name} {i}? é中", "a": str(i)} for i in range(2)]
        (repository / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/own.py").write_text(OWN_TASK)
    return tmp_path


def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command with an empty cache and a hub that refuses connections."""
    environment = {**os.environ, "HF_HOME": str(place / "cache"), "HF_ENDPOINT": "http://127.0.0.1:9"}
    for name in (MIRROR_VARIABLE, "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "qwen3_eval", *arguments, f"tasks.path={place}/mine"]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)


def test_what_is_pulled_checks_and_is_read_without_the_hub(place: Path) -> None:
    """Each config becomes a file; a second pull leaves it; the task loads from the mirror alone."""
    where = ("task=own_rows", "data.root=mirror")
    assert run(place, "data", "check", *where).returncode == 1  # nothing is there yet
    pulled = run(place, "data", "pull", *where)
    assert pulled.returncode == 0, pulled.stdout + pulled.stderr
    assert "ok       own_rows: 4 questions" in pulled.stdout
    files = sorted(place.glob("mirror/org/set/*/test.jsonl.gz"))
    assert [file.parent.name for file in files] == ["one", "two"]
    before = [file.stat().st_mtime_ns for file in files]
    (place / "org").rename(place / "gone")
    assert run(place, "data", "pull", *where).returncode == 0
    assert [file.stat().st_mtime_ns for file in files] == before
    assert run(place, "data", "check", *where).returncode == 0
    swept = run(place, "sweep", "engine=scripted", "budget=16", "run.dir=run", *where)
    assert swept.returncode == 0, swept.stderr


def test_a_damaged_mirror_fails_the_check(place: Path) -> None:
    """A file cut short is named, the other tasks are still checked, and the exit code says it."""
    where = ("task=chain,own_rows", "data.root=mirror")
    assert run(place, "data", "pull", *where).returncode == 0
    file = place / "mirror/org/set/two/test.jsonl.gz"
    file.write_bytes(file.read_bytes()[:-12])
    checked = run(place, "data", "check", *where)
    assert checked.returncode == 1
    assert "ok       chain: made here" in checked.stdout
    assert "missing  own_rows: mirror/org/set/two/test.jsonl.gz is damaged" in checked.stdout


RELEASE_TASK = OWN_TASK.replace("own_rows", "release").replace(
    'hub_id="org/set",\n              config=("one", "two")',
    'hub_id="release", url="{url}",\n              config="v1"',
)


def test_a_release_off_the_hub_is_pulled_byte_for_byte(place: Path) -> None:
    """From its URL, into the mirror's place for it; without a mirror the message says how to fetch it."""
    rows = [{"q": f"{i}?", "a": str(i)} for i in range(4)]
    content = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    (place / "served.jsonl.gz").write_bytes(content)
    handler = partial(SimpleHTTPRequestHandler, directory=str(place))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/served.jsonl.gz"
        (place / "mine/release.py").write_text(RELEASE_TASK.replace("{url}", url))
        lost = run(place, "sweep", "engine=scripted", "task=release")
        assert lost.returncode == 2
        assert f"release v1/test is not on the hub, but at {url}; fetch it into a mirror" in lost.stderr
        pulled = run(place, "data", "pull", "task=release", "data.root=mirror")
        server.shutdown()
    assert pulled.returncode == 0, pulled.stdout + pulled.stderr
    assert (place / "mirror/release/v1/test.jsonl.gz").read_bytes() == content
    gone = run(place, "data", "pull", "task=release", "data.root=other")
    assert gone.returncode == 1
    assert f"{url} cannot be fetched" in gone.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data"], "write 'data pull' or 'data check'"),
        (["data", "fetch", "task=gsm8k"], "write 'data pull' or 'data check'"),
        (["data", "pull", "data.root=x"], "needs task="),
        (["data", "check", "task=gsm8k"], "needs data.root=DIR"),
    ],
)
def test_what_is_missing_is_told(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One error says what to write."""
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
