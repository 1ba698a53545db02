"""Python environments that differ from that of the tests: a package less, or nothing of the checkout."""

import os
import shutil
import site
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def link_packages(folder: Path, without: Sequence[str]) -> Path:
    """Fills `folder` with links to all that is installed here, but for names that begin as in `without`.

    What is left out is truly absent, metadata and entry points included. `.pth` files do nothing there, so
    an editable installation is absent too unless the checkout is put on the path.
    """
    folder.mkdir(parents=True)
    for installed in map(Path, site.getsitepackages()):
        for entry in installed.iterdir() if installed.is_dir() else ():
            skipped = entry.name.startswith(tuple(without)) or entry.name in ("__pycache__", "_virtualenv.py")
            if not skipped and not (folder / entry.name).exists():
                (folder / entry.name).symlink_to(entry)
    return folder


def run_without(
    packages: Path, *arguments: str, env: Mapping[str, str] | None = None, timeout_s: float = 300
) -> subprocess.CompletedProcess[str]:
    """Runs `python -m qwen3_eval` from the checkout, with `packages` for all that is installed."""
    # -S keeps the site-packages of the tests' own environment away.
    return subprocess.run(
        [sys.executable, "-S", "-m", "qwen3_eval", *arguments],
        env=dict(os.environ) | {"PYTHONPATH": f"{packages}{os.pathsep}{CHECKOUT}"} | dict(env or {}),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def copy_checkpoint(source: Path, folder: Path) -> Path:
    """Returns a copy of a checkpoint that a test may damage."""
    return Path(shutil.copytree(source, folder))
