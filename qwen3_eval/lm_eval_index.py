"""Finds the one YAML file of an lm-eval task by the task's name, without reading all 14,000 of them.

lm-eval's own index parses every file, which takes seconds. Here a file named like the task is looked at
first; then the files' text is searched for the line that names the task, up to the first hit, in lm-eval's
order. No YAML is parsed before the file is found. Nothing here imports lm-eval.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from qwen3_eval.errors import ConfigError, did_you_mean

PREFIX = "lm-eval/"
"""What task names begin with here: `lm-eval/gsm8k` is lm-eval's `gsm8k`."""

_SKIPPED_FOLDERS = {"__pycache__", ".ipynb_checkpoints"}  # as lm-eval's index does
# A name at the top level of a file: `task: gsm8k`. A group's list of tasks begins on the next line.
_NAMED = re.compile(
    rb"""^["']?(task|group)["']?[ \t]*:[ \t]*["']?([^\s"'#]+)["']?[ \t]*(?:\#.*)?\r?$""", re.M
)
_TAGS = re.compile(rb"^tag[ \t]*:(.*(?:\n[ \t]*-[ \t].*)*)", re.M)
_WORD = re.compile(rb"""[^\s\[\],"'#]+""")
_SHOWN = 8


@dataclass(frozen=True)
class Found:
    """A task's file, and the folder of tasks that it lies in; `own` tells that the folder is the user's."""

    path: Path
    root: Path
    own: bool

    @property
    def shown(self) -> str:
        """The file as a card names it: from lm-eval's package or the user's folder on."""
        inside = self.path.relative_to(self.root).as_posix()
        return inside if self.own else f"lm_eval/tasks/{inside}"


def find_task_file(name: str, include_path: str = "") -> Found:
    """Returns the file that defines lm-eval's task `name`: of the user's folder first, then of lm-eval.

    Raises ConfigError where lm-eval is not installed, the folder is none, or no file names the task: then
    with the nearest names, or with the members where `name` is a tag.
    """
    roots = _find_roots(include_path)
    files = [(root, list(_walk(root))) for root in roots]
    for root, paths in files:
        alike = [path for path in paths if _normalize(Path(path).stem) == _normalize(name)]
        for path in (*alike, *paths):
            if name in _names_in(path):
                return Found(Path(path), root, root is not roots[-1])
    every = [path for _, paths in files for path in paths]
    raise _explain_unknown(name, every, roots)


def _find_roots(include_path: str) -> list[Path]:
    spec = find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"tasks named {PREFIX}NAME need lm-eval, which is not installed; pip install lm-eval==0.4.13"
        )
    roots = [Path(spec.submodule_search_locations[0]) / "tasks"]
    if include_path:
        own = Path(include_path).expanduser().resolve()
        if not own.is_dir():
            raise ConfigError(
                f"lm_eval.include_path={include_path!r} is no folder; give one that holds task YAML files"
            )
        roots.insert(0, own)
    return roots


def _walk(root: Path) -> Iterator[str]:
    """Yields the YAML files in lm-eval's order, which decides between two of one name."""
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in _SKIPPED_FOLDERS]
        found += [os.path.join(folder, name) for name in names if name.endswith(".yaml")]
    yield from sorted(found)


def _normalize(stem: str) -> str:
    return stem.replace("-", "_").strip("_")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:  # lm-eval's index, too, passes over what it cannot read
        return b""


def _names_in(path: str) -> list[str]:
    return [found[2].decode(errors="replace") for found in _NAMED.finditer(_read(path))]


def _explain_unknown(name: str, paths: Iterable[str], roots: Iterable[Path]) -> ConfigError:
    names, members = set(), set()
    for path in paths:
        here = _names_in(path)
        names.update(here)
        if any(name.encode() in _WORD.findall(tags[1]) for tags in _TAGS.finditer(_read(path))):
            members.update(here)
    if members:
        return ConfigError(
            f"'{PREFIX}{name}' is a tag of lm-eval, not a task; ask for its tasks: {list_names(members)}"
        )
    hint = did_you_mean(name, names).replace("mean '", f"mean '{PREFIX}")
    where = " nor ".join(str(root) for root in roots)
    return ConfigError(
        f"task '{PREFIX}{name}' not found: no YAML file names it in {where}{hint} 'lm_eval ls tasks' lists "
        "lm-eval's, lm_eval.include_path=DIR adds your own"
    )


def list_names(names: Iterable[str]) -> str:
    """Returns the names as `task=` takes them, the first few of many."""
    ordered = sorted(names)
    more = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return ", ".join(PREFIX + name for name in ordered[:_SHOWN]) + more
