"""Keeps answered dialogues as they end: a run that was killed goes on, and asks none again."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qwen3_eval.errors import StoreError
from qwen3_eval.thinkfollow.turn_row import TurnRow

JOURNAL = "thinkfollow.jsonl"


@dataclass
class Journal:
    """One file of JSON lines: what was asked of whom (`identity`), then a line for each finished dialogue.

    `engines` are those that answered, one for each command that asked.
    """

    path: Path
    identity: Mapping[str, Any]
    rows: list[TurnRow] = field(default_factory=list)
    engines: list[Mapping[str, Any]] = field(default_factory=list)

    def done(self) -> set[tuple[str, str]]:
        """Returns (dialogue, budget) of what is finished."""
        return {(row.dialogue, row.budget) for row in self.rows}

    @property
    def reproducible(self) -> bool:
        """Whether one prompt has one answer in it: each engine repeats its answers, and all were alike."""
        return all(e.get("reproducible") and e == self.engines[0] for e in self.engines)

    def start_session(self, engine: Mapping[str, Any]) -> None:
        """Says which engine answers what follows."""
        self._append({"engine": dict(engine)})
        self.engines.append(json.loads(json.dumps(dict(engine))))

    def keep(self, rows: Sequence[TurnRow]) -> None:
        """Adds a finished dialogue. Raises StoreError where it cannot be written."""
        self._append({"turns": [row.as_dict() for row in rows]})
        self.rows.extend(rows)

    def _append(self, line: Mapping[str, Any]) -> None:
        try:
            with self.path.open("a", encoding="utf-8", errors="replace") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        except OSError as error:
            raise StoreError(
                f"'{self.path}' cannot be written: {error.strerror}; make room or mend the folder's "
                "permissions, then run the same command again: nothing done is lost"
            ) from error


def open_journal(folder: Path, identity: Mapping[str, Any]) -> Journal:
    """Returns the journal of a folder, a new one where there is none; a line that was cut off is dropped.

    Raises StoreError where it holds dialogues that were asked under other settings, naming them.
    """
    path = folder / JOURNAL
    journal = None
    if path.is_file():
        _drop_torn_line(path)
        journal = read_journal(path)
    if journal is None:
        journal = Journal(path, identity)
        journal._append({"identity": identity})
        return journal
    differing = [
        f"{name} (there {journal.identity.get(name)!r}, now {value!r})"
        for name, value in json.loads(json.dumps(identity)).items()
        if journal.identity.get(name) != value
    ]
    if differing:
        raise StoreError(
            f"run.dir='{folder}' holds dialogues asked under other settings, which do not mix: "
            f"{'; '.join(differing)}; give the settings of that run, or a new run.dir="
        )
    return journal


def read_journal(path: Path) -> Journal | None:
    """Returns what is kept, also while it is being written; None where not even the first line is whole.

    Raises StoreError.
    """
    try:
        whole = path.read_bytes().rpartition(b"\n")[0]
        lines = [json.loads(line) for line in whole.splitlines()]
        if not lines:
            return None
        rows = [TurnRow.from_dict(row) for line in lines[1:] for row in line.get("turns", ())]
        engines = [line["engine"] for line in lines[1:] if "engine" in line]
        return Journal(path, lines[0]["identity"], rows, engines)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"'{path}' cannot be read: {error}; restore it, or give a new run.dir=") from error


def _drop_torn_line(path: Path) -> None:
    """Cuts off the part of a line that a killed process left behind; the caller holds the folder's lock."""
    try:
        content = path.read_bytes()
        os.truncate(path, content.rfind(b"\n") + 1)
    except OSError as error:
        raise StoreError(f"'{path}' cannot be written: {error.strerror}; give a new run.dir=") from error
