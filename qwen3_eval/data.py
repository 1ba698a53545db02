"""Rows of a hub data set at a pinned revision, or of a local mirror of it."""

import csv
import gzip
import hashlib
import json
import os
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from qwen3_eval.errors import DataError

Row = Mapping[str, Any]

MIRROR_VARIABLE = "QWEN3_EVAL_DATA"
_SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet", ".csv")
_LAYOUT = "<hub id>/<config>/<split>.jsonl[.gz], .parquet or .csv"
_HUB_TIMEOUT_S = 10.0
_FETCH_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Rows:
    """Checked rows. `origin` is "hub" or "mirror:<path>"; `notes` say where they differ from the card.

    `ids` name the rows by number, from 0, after the config where there are several: `anatomy/17`.
    """

    rows: tuple[Row, ...]
    ids: tuple[str, ...]
    fingerprint: str
    origin: str
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[tuple[str, Row]]:
        return zip(self.ids, self.rows, strict=True)


@dataclass(frozen=True)
class HubSplit:
    """One split of one config of a hub data set; `revision` None is the newest.

    With a `url`, that is where the file of the split is fetched from, and the hub does not have it.
    """

    hub_id: str
    config: str
    split: str
    revision: str | None = None
    url: str = ""


@dataclass(frozen=True)
class DataSource:
    """Where rows come from: the mirror at `root`, else at $QWEN3_EVAL_DATA, else the hub.

    `allow_partial` takes a mirror that lacks rows, or whose content differs from the card's; it is noted.
    """

    root: Path | None = None
    allow_partial: bool = False

    @property
    def mirror(self) -> Path | None:
        """The mirror in use, None for the hub."""
        named = self.root or os.environ.get(MIRROR_VARIABLE)
        return Path(named).expanduser() if named else None

    def rows(
        self,
        hub_id: str,
        config: str | Sequence[str],
        split: str,
        revision: str | None,
        expected_rows: int,
        columns: Sequence[str],
        fingerprint: str | None = None,
        partial: bool = False,
        url: str = "",
    ) -> Rows:
        """Returns the rows of one split, in order, with at least `columns`; of several configs, one by one.

        `fingerprint` is the content that the task was checked with. A mirror must match it; the hub is held
        to `revision` instead, and other content is noted. `partial` lets any subset of the rows pass, and of
        several configs any that are there. What has a `url` is not on the hub: a mirror must hold it. Raises
        DataError where the rows cannot be had or are not as
        promised.
        """
        lenient = partial or self.allow_partial
        configs = [config] if isinstance(config, str) else list(config)
        rows: list[Row] = []
        ids: list[str] = []
        absent = [part for part in configs if lenient and self._lacks(hub_id, part, split)]
        if len(absent) == len(configs):
            absent = absent[:-1]  # the last is read all the same: that it is missing is the error to tell
        name, origin = f"{hub_id} {configs[0]}/{split}", "hub"
        for part in configs:
            if part in absent:
                continue
            found, origin, where = self._read(HubSplit(hub_id, part, split, revision, url))
            _check_columns(found, columns, where)
            rows += found if len(configs) == 1 else [{"config": part, **row} for row in found]
            ids += [str(i) if len(configs) == 1 else f"{part}/{i}" for i in range(len(found))]
            name = where
        if len(configs) > 1:
            name = f"{hub_id} {split}, {len(configs)} configs"
            origin = origin if origin == "hub" else f"mirror:{self.mirror}/{hub_id}"
        notes = [_check_count(len(rows), expected_rows, lenient, name)]
        if absent:
            notes.append(f"absent: {_join(absent)}")
        digest = fingerprint_rows(rows, columns)
        if fingerprint is not None and digest != fingerprint and len(rows) == expected_rows:
            note = f"content {digest[:12]}… is not the card's {fingerprint[:12]}…"
            if not lenient and self.mirror is not None:
                raise DataError(
                    f"{name}: {note}; mend the mirror, or take it as it is with data.allow_partial=true"
                )
            notes.append(note)
        return Rows(tuple(rows), tuple(ids), digest, origin, tuple(filter(None, notes)))

    def _lacks(self, hub_id: str, config: str, split: str) -> bool:
        """True where a mirror is there and has no file of that config; a damaged file is not lacking."""
        return self.mirror is not None and find_mirror_file(self.mirror, hub_id, config, split) is None

    def _read(self, wanted: HubSplit) -> tuple[list[dict[str, Any]], str, str]:
        """Returns the rows of one config, their origin, and what errors call them."""
        hub_id, config, split = wanted.hub_id, wanted.config, wanted.split
        name = f"{hub_id} {config}/{split}"
        if self.mirror is None and wanted.url:
            raise DataError(
                f"{name} is not on the hub, but at {wanted.url}; fetch it into a mirror with 'python -m "
                "qwen3_eval data pull task=... data.root=DIR', and give data.root=DIR here too"
            )
        if self.mirror is None:
            try:
                return read_hub(hub_id, config, split, wanted.revision), "hub", name
            except DataError as error:
                raise DataError(
                    f"{error}, and no local mirror is set; set data.root=FOLDER (or ${MIRROR_VARIABLE}), "
                    f"laid out {_LAYOUT}, or see to the connection"
                ) from error
        path = find_mirror_file(self.mirror, hub_id, config, split)
        if path is None:
            raise _explain_missing(self.mirror, hub_id, config, split)
        return list(_read_file(path)), f"mirror:{path}", f"{name} ({path})"


def fingerprint_rows(rows: Iterable[Row], columns: Sequence[str]) -> str:
    """Returns the sha256 of the rows' `columns`, in row order, as canonical JSON lines.

    Columns that a task does not read are left out, as mirrors may lack them; numbers count as their text,
    so that a CSV, which knows only text, has the fingerprint of the same rows in parquet.
    """
    digest = hashlib.sha256()
    for row in rows:
        kept = {c: row[c] if isinstance(row[c], str | list | dict) else str(row[c]) for c in columns}
        line = json.dumps(kept, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def _check_columns(rows: Sequence[Row], columns: Sequence[str], name: str) -> None:
    for number, row in enumerate(rows):
        missing = [c for c in columns if c not in row]
        if missing:
            raise DataError(
                f"{name}: row {number} lacks {', '.join(map(repr, missing))}; it has "
                f"{', '.join(map(repr, row)) or 'no columns'}; the task reads {', '.join(map(repr, columns))}"
            )


def _check_count(got: int, expected: int, lenient: bool, name: str) -> str:
    """Returns a note on a subset, or an empty string where the count is right."""
    if got == expected:
        return ""
    if 0 < got < expected and lenient:
        return f"partial: {got:,} of {expected:,} rows"
    hint = "; a subset passes with data.allow_partial=true" if 0 < got < expected else ""
    raise DataError(f"{name}: {got:,} rows, where the task has {expected:,}{hint}")


def find_mirror_file(root: Path, hub_id: str, config: str, split: str) -> Path | None:
    """Returns the file of a mirror that holds one config's split, or None where it has none."""
    stem = root / hub_id / config / split
    paths = (stem.with_name(stem.name + suffix) for suffix in _SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def _explain_missing(root: Path, hub_id: str, config: str, split: str) -> DataError:
    if not root.is_dir():
        return DataError(
            f"the data mirror {root} is not a folder; set data.root (or ${MIRROR_VARIABLE}) to one laid out "
            f"{_LAYOUT}, or unset both to read from the hub"
        )
    return DataError(
        f"the data mirror {root} has no {hub_id}/{config}/{split}{{{','.join(_SUFFIXES)}}}; "
        f"{_describe_nearest(root, hub_id, config)}; add the file, or unset data.root (and "
        f"${MIRROR_VARIABLE}) to read from the hub"
    )


def _describe_nearest(root: Path, hub_id: str, config: str) -> str:
    """Says what the deepest folder that exists on the way to the file holds."""
    for folder in (root / hub_id / config, root / hub_id):
        if folder.is_dir():
            return f"{folder} holds {_join(p.name for p in folder.iterdir())}"
    return f"it holds {_join(f'{p.parent.name}/{p.name}' for p in root.glob('*/*') if p.is_dir())}"


def _join(names: Iterable[str], most: int = 20) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return (", ".join(ordered[:most]) or "nothing") + more


def _read_file(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".parquet":
        yield from _read_parquet(path)
    elif path.suffix == ".csv":
        csv.field_size_limit(sys.maxsize)
        with path.open(encoding="utf-8-sig", newline="") as lines:
            yield from csv.DictReader(lines)
    else:
        yield from _read_jsonl(path)


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a readable parquet file ({error}); fetch it again") from error
    return rows


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise DataError(
                        f"{path}, line {number}: got {line[:60]!r}, expected one JSON object a line"
                    )
                yield row
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} is damaged after line {number}: {error}; fetch it again, or unpack it to .jsonl"
        ) from error
    except ValueError as error:  # torn JSON, or bytes that are not UTF-8
        raise DataError(f"{path}, line {number} is torn: {error}; fetch the file again") from error


def read_hub(hub_id: str, config: str, split: str, revision: str | None) -> list[dict[str, Any]]:
    """Returns the rows of one config, read through `datasets`: from its cache even with no hub in reach.

    Raises DataError.
    """
    import datasets  # type: ignore[import-untyped]  # it carries no types

    offline = datasets.config.HF_HUB_OFFLINE
    try:
        # Without a hub `datasets` retries for half a minute before it looks in its cache; this lets it look
        # there at once.
        datasets.config.HF_HUB_OFFLINE = offline or not hub_answers(hub_id, revision)
        table = datasets.load_dataset(hub_id, config, split=split, revision=revision)
    except (
        Exception
    ) as error:  # its errors share no type of their own; whatever it is, the rows are not there
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise DataError(
            f"{hub_id} {config}/{split} at revision {revision or 'main'} cannot be read from the hub "
            f"({reason})"
        ) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = offline
    return [dict(row) for row in table]


def fetch(url: str) -> bytes:
    """Returns the content at a URL. Raises DataError where it cannot be had."""
    try:
        with urlopen(url, timeout=_FETCH_TIMEOUT_S) as reply:  # https, or what a test serves
            content: bytes = reply.read()
    except (OSError, ValueError) as error:
        raise DataError(
            f"{url} cannot be fetched ({error}); fetch it by hand, or see to the network"
        ) from error
    return content


def hub_answers(hub_id: str, revision: str | None) -> bool:
    """True where the hub answers at all; what it refuses, `datasets` is refused again, with the reason."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().dataset_info(hub_id, revision=revision, timeout=_HUB_TIMEOUT_S)
    except HfHubHTTPError:
        return True
    except Exception:  # httpx's errors, by the version of httpx that huggingface_hub carries
        return False
    return True
