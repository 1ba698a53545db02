"""The installed form: the wheel holds all that a run needs, and works without the checkout in sight."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from environments import CHECKOUT, link_packages

pytestmark = pytest.mark.slow

HOLDS = (
    "qwen3_eval/configs/sweep.yaml",
    "qwen3_eval/configs/model/nano.yaml",
    "qwen3_eval/configs/engine/vllm.yaml",
    "qwen3_eval/tasks/chain.py",
    "qwen3_eval/tasks/gsm8k.py",
    "qwen3_eval/reports/page.html",
    "qwen3_eval/reports/charts.js",
    "qwen3_eval/reports/published/qwen3-report.csv",
    "qwen3_eval/reports/published/qwen3-report-figure2.csv",
    "qwen3_eval/reports/report.html",
    "qwen3_eval/reports/routing.html",
    "qwen3_eval/reports/routing.css",
    "qwen3_eval/reports/reader.js",
    "qwen3_eval/reports/report.js",
    "qwen3_eval/reports/report.css",
    "qwen3_eval/reports/style.mplstyle",
    "qwen3_eval/sandboxes/__init__.py",
    "qwen3_eval/model/nano_checkpoint/model.safetensors",
    "qwen3_eval/model/nano_checkpoint/tokenizer.json",
    "qwen3_eval/model/nano_checkpoint/chat_template.jinja",
    "qwen3_eval/model/nano_moe_checkpoint/model.safetensors",
    "qwen3_eval/model/nano_moe_checkpoint/tokenizer.json",
    "qwen3_eval/model/nano_moe_checkpoint/chat_template.jinja",
    "qwen3_eval/model/vllm_plugin.py",
    "qwen3_eval/sizes.csv",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy of what the checkout holds, without an index."""
    source = tmp_path_factory.mktemp("source") / "project"
    shutil.copytree(CHECKOUT, source, ignore=_ignore)
    folder = tmp_path_factory.mktemp("wheel")
    build = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder)]
    check([sys.executable, *build, str(source)], cwd=folder)
    return next(folder.glob("qwen3_eval-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment that holds the wheel, and the packages it depends on as links."""
    packages = link_packages(
        tmp_path_factory.mktemp("packages") / "linked", without=["qwen3_eval", "__editable__"]
    )
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    site_packages = next((folder / "lib").glob("python3*/site-packages"))
    (site_packages / "dependencies.pth").write_text(f"{packages}\n")
    install = ["-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)]
    check([str(python), *install], cwd=folder)
    return python


def check(command: Sequence[str], cwd: Path) -> str:
    """Runs a command away from the checkout; returns what it printed."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _ignore(folder: str, names: list[str]) -> set[str]:
    unwanted = {".git", ".venv", "runs", "build", "dist", "__pycache__", ".hypothesis"}
    return {n for n in names if n in unwanted or n.endswith(".egg-info") or n.startswith(".pytest")}


def test_the_wheel_holds_everything(wheel: Path) -> None:
    """Configs, tasks, reports, sandboxes and the box model are in it; tests and runs are not."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    missing = [name for name in HOLDS if name not in names]
    assert not missing
    package = CHECKOUT / "qwen3_eval"
    modules = {f"qwen3_eval/{f.relative_to(package)}" for f in package.rglob("*.py")}
    assert modules <= names, "a package is missing from pyproject.toml"
    assert not [n for n in names if not n.startswith(("qwen3_eval/", "qwen3_eval-"))]


def test_the_package_is_the_installed_one(installed: Path, tmp_path: Path) -> None:
    """It is imported from the new environment, and its vLLM plugin is registered there once."""
    script = (
        "import qwen3_eval, qwen3_eval.tasks, importlib.metadata as m\n"
        "print(qwen3_eval.__file__, qwen3_eval.tasks.__file__)\n"
        "print([p.value for p in m.entry_points(group='vllm.general_plugins') if p.name == 'qwen3_eval'])"
    )
    printed = check([str(installed), "-c", script], tmp_path)
    files, plugins = printed.splitlines()
    assert all(file.startswith(str(installed.parent.parent)) for file in files.split())
    assert plugins == "['qwen3_eval.model.vllm_plugin:register']"


def test_tasks_sweep_and_report_run_from_anywhere(installed: Path, tmp_path: Path) -> None:
    """In an empty folder: the list, a scripted sweep on the box model, its report anew."""
    run = [str(installed), "-m", "qwen3_eval"]
    assert "chain" in check([*run, "tasks"], tmp_path)
    assert "nano" in check([*run, "models"], tmp_path)
    check([*run, "sweep", "engine=scripted", "budget=16,inf", "limit=3"], tmp_path)
    folder = tmp_path / "runs/nano-chain"
    (folder / "report.html").unlink()
    check([*run, "report", "run.dir=runs/nano-chain"], tmp_path)
    assert "<script" in (folder / "report.html").read_text()


def test_the_command_is_installed_too(installed: Path, tmp_path: Path) -> None:
    """`qwen3-eval` is `python -m qwen3_eval`."""
    assert check([str(installed.parent / "qwen3-eval"), "--version"], tmp_path).startswith("qwen3_eval ")
