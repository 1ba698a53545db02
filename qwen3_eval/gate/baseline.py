"""A baseline as a small file, made to be committed: written by `gate export`, read by `gate`."""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qwen3_eval.budget import format_budget, parse_budget
from qwen3_eval.errors import StoreError
from qwen3_eval.gate.sides import PROMPT_DIGITS, CellScores, Floats, Side, TaskScores, find_parts

FORMAT = "qwen3_eval gate baseline"
VERSION = 1

_MODEL = ("name", "path", "revision", "architecture", "fingerprint")
_ABOUT = ("metric", "average", "parallel", "questions", "repeats")


def write_baseline(side: Side, path: Path) -> None:
    """Writes the baseline file, whole or not at all; gzip'd where its name ends in .gz. Raises StoreError."""
    from qwen3_eval.report.whole_file import write_whole

    content = format_baseline(side).encode()
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise StoreError(f"out='{path}' cannot be written: {error.strerror or error}") from error


def format_baseline(side: Side) -> str:
    """Returns the baseline file's text, which depends on nothing but the run: the same run, the same bytes.

    It is JSON, a line for each list. Lists are as long as the task's ids, in their order. `score` and
    `forced` count parts: `{"per": 4, "n": "4031-"}` are 1, 0, 3/4, 1/4 and no verdict, as one digit each
    where they fit and else as a list. `{"all": x}` stands for a list of nothing but x.
    """
    return _lay_out(
        {
            "format": FORMAT,
            "version": VERSION,
            "model": {name: side.model.get(name) for name in _MODEL},
            "protocol": {"name": side.protocol, "departures": list(side.departures)},
            "settings": dict(side.settings),
            "limited": side.limited,
            "versions": dict(side.versions),
            "tasks": {name: _pack_task(task) for name, task in side.tasks.items()},
        }
    )


def read_baseline(path: Path) -> Side:
    """Returns the side that `write_baseline` wrote. Raises StoreError where the file is none, or damaged."""
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        packed = json.loads(content)
        if not isinstance(packed, dict) or packed.get("format") != FORMAT:
            raise StoreError(
                f"baseline='{path}' is no baseline file; 'qwen3_eval gate export run.dir=RUN' makes one"
            )
        if packed["version"] != VERSION:
            raise StoreError(
                f"baseline='{path}' has version {packed['version']}; this version of qwen3_eval reads "
                f"{VERSION}; export it anew"
            )
        return Side(
            name=path.name,
            kind="file",
            model=packed["model"],
            settings=packed["settings"],
            protocol=packed["protocol"]["name"],
            departures=tuple(packed["protocol"]["departures"]),
            versions=packed["versions"],
            unfinished="",
            limited=packed["limited"],
            tasks={name: _unpack_task(task) for name, task in packed["tasks"].items()},
        )
    except OSError as error:
        raise StoreError(f"baseline='{path}' cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise StoreError(
            f"baseline='{path}' is damaged ({type(error).__name__}: {error}); export it anew, or restore it"
        ) from error


def _pack_task(task: TaskScores) -> dict[str, Any]:
    names = sorted(set(task.groups))
    return {
        "about": {name: task.about[name] for name in _ABOUT if name in task.about},
        "ids": list(task.ids),
        "groups": {"names": names, "of": _shorten([names.index(group) for group in task.groups])},
        "prompts": {mode: _pack_prompts(hashes) for mode, hashes in task.prompts.items()},
        "cells": {
            f"{mode} {format_budget(budget)}": {
                "records": cell.n_records,
                "errors": cell.n_errors,
                "repeats": cell.n_repeats,
                "score": _pack_shares(cell.scores, cell.n_repeats),
                "forced": _pack_shares(cell.forced, cell.n_repeats),
                "thinking_tokens": _pack_counts(cell.thinking_tokens),
            }
            for (mode, budget), cell in task.cells.items()
        },
    }


def _unpack_task(packed: Mapping[str, Any]) -> TaskScores:
    ids = tuple(packed["ids"])
    names, of = packed["groups"]["names"], _lengthen(packed["groups"]["of"], len(ids))
    cells = {}
    for name, cell in packed["cells"].items():
        mode, _, budget = name.partition(" ")
        cells[mode, parse_budget(budget)] = CellScores(
            _unpack_shares(cell["score"], len(ids)),
            _unpack_counts(cell["thinking_tokens"], len(ids)),
            _unpack_shares(cell["forced"], len(ids)),
            cell["records"],
            cell["errors"],
            cell["repeats"],
        )
    prompts = {mode: _unpack_prompts(text, len(ids)) for mode, text in packed["prompts"].items()}
    return TaskScores(ids, tuple(names[i] for i in of), packed["about"], prompts, cells)


def _pack_shares(values: Floats, n_repeats: int) -> dict[str, Any]:
    per = find_parts(values, n_repeats)
    counted = [None if np.isnan(value) else round(float(value) * per) for value in values]
    if len(set(counted)) == 1:
        return {"per": per, "all": counted[0]}
    if per <= 9:
        return {"per": per, "n": "".join("-" if n is None else str(n) for n in counted)}
    return {"per": per, "n": counted}


def _unpack_shares(packed: Mapping[str, Any], length: int) -> Floats:
    if "all" in packed:
        counted: Sequence[Any] = [packed["all"]] * length
    else:
        counted = [None if n in ("-", None) else int(n) for n in packed["n"]]
    values = [np.nan if n is None else n / packed["per"] for n in counted]
    return np.array(_of_length(values, length), dtype=float)


def _pack_counts(values: Floats) -> Any:
    return _shorten(
        [
            None if np.isnan(value) else int(value) if float(value).is_integer() else float(value)
            for value in values
        ]
    )


def _unpack_counts(packed: Any, length: int) -> Floats:
    counts = [np.nan if count is None else float(count) for count in _lengthen(packed, length)]
    return np.array(counts, dtype=float)


def _shorten(values: list[Any]) -> Any:
    return {"all": values[0]} if len(set(values)) == 1 else values


def _lengthen(packed: Any, length: int) -> list[Any]:
    return [packed["all"]] * length if isinstance(packed, dict) else _of_length(packed, length)


def _pack_prompts(hashes: Sequence[str]) -> str:
    return "".join(found or "-" * PROMPT_DIGITS for found in hashes)


def _unpack_prompts(text: str, length: int) -> tuple[str, ...]:
    cut = [text[i : i + PROMPT_DIGITS] for i in range(0, len(text), PROMPT_DIGITS)]
    return tuple("" if part.startswith("-") else part for part in _of_length(cut, length))


def _of_length(values: list[Any], length: int) -> list[Any]:
    if len(values) != length:
        raise ValueError(f"a list holds {len(values)} entries for {length} questions")
    return values


def _lay_out(value: Any, depth: int = 0) -> str:
    """Returns JSON with a line for each entry of the outer levels, so that a diff tells what changed."""
    if not isinstance(value, dict) or not value or depth == 5:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    pad = " " * (depth + 1)
    lines = [
        f"{pad}{json.dumps(key, ensure_ascii=False)}: {_lay_out(value[key], depth + 1)}" for key in value
    ]
    return "{\n" + ",\n".join(lines) + f"\n{' ' * depth}}}" + ("\n" if depth == 0 else "")
