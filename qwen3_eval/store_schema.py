"""The file behind a store: its tables, how it is opened and checked, how token ids are packed.

Size, all included but Qwen3's tokenizer (measured on `chain`-like sweeps over 1k, 4k and 8k, both modes):
3.5 bytes per generated token for random ids of a 151k vocabulary, which no packing gets below 2.15, and 1.6
for bytes. Three choices make that: byte planes compress better than whole ids (2.45 against 2.85 bytes),
a table with row ids fills its pages where one clustered by key leaves gaps (2.9 against 3.6), and pages of
2 KB waste less behind long rows than pages of 4 KB (2.9 against 3.3). Qwen3's tokenizer adds 1.4 MB to a run.
"""

import bz2
import sqlite3
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from qwen3_eval.errors import StoreError

SCHEMA_VERSION = 3

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE sessions (id INTEGER PRIMARY KEY, started REAL, engine TEXT);
CREATE TABLE samples (
    id INTEGER PRIMARY KEY, task TEXT, sample_id TEXT, "group" TEXT, target TEXT, messages TEXT,
    metadata TEXT, parts TEXT, completion TEXT, UNIQUE (task, sample_id));
CREATE TABLE rollouts (
    id INTEGER PRIMARY KEY, sample INTEGER REFERENCES samples, mode TEXT, repeat INTEGER, lane TEXT,
    prompt_sha256 TEXT, prompt_tokens INTEGER, prefill INTEGER, thinking_limit INTEGER, error TEXT,
    UNIQUE (sample, mode, repeat, lane));
CREATE TABLE generations (
    rollout INTEGER REFERENCES rollouts, kind TEXT, forced INTEGER, start INTEGER, ids BLOB,
    tokens INTEGER, trace_end TEXT, finish_reason TEXT, seed INTEGER, session INTEGER, finished REAL,
    elapsed REAL, cached_tokens INTEGER, PRIMARY KEY (rollout, kind, forced, start));
CREATE TABLE verdicts (
    rollout INTEGER REFERENCES rollouts, forced INTEGER, thinking_tokens INTEGER, outcome TEXT,
    score REAL, extracted TEXT, reason TEXT, parts TEXT, PRIMARY KEY (rollout, forced, thinking_tokens))
    WITHOUT ROWID;
"""

_CHECKED_BYTES = 2 * 1024**3


def pack_ids(ids: Sequence[int]) -> bytes:
    """Returns token ids as compressed little-endian uint32: all first bytes, then all second bytes, ..."""
    planes = np.asarray(ids, dtype="<u4").view(np.uint8).reshape(-1, 4).T
    return zlib.compress(planes.tobytes(), 6)


def unpack_ids(blob: bytes) -> tuple[int, ...]:
    """Returns the token ids of `pack_ids`. Raises zlib.error where the checksum says they are damaged."""
    planes = np.frombuffer(zlib.decompress(blob), dtype=np.uint8).reshape(4, -1)
    return tuple(np.ascontiguousarray(planes.T).view("<u4").ravel().tolist())


def pack_text(text: str) -> bytes:
    """Returns a long text (a tokenizer of 11 MB) compressed; bz2 takes it to two thirds of what zlib does."""
    return bz2.compress(text.encode())


def unpack_text(blob: bytes) -> str:
    """Returns the text of `pack_text`. Raises OSError or ValueError where it is damaged."""
    return bz2.decompress(blob).decode()


def open_to_write(folder: Path, *, create: bool) -> sqlite3.Connection:
    """Returns a connection whose every statement is committed as it returns. Raises StoreError.

    A commit survives kill -9. After a power cut the newest ones may be gone, the file stays sound.
    """
    path = folder / "run.db"
    if not create and not path.is_file():
        raise StoreError(f"run.dir='{folder}' holds no run (no run.db); a sweep makes one")
    if (folder / "run.json").is_file() and not (path.is_file() and path.stat().st_size):
        raise StoreError(
            f"'{path}' is missing or empty, but run.json describes a run; restore it, or give a new run.dir="
        )
    try:
        db = sqlite3.connect(
            path.absolute().as_uri(), uri=True, isolation_level=None, check_same_thread=False, timeout=30
        )
        try:
            version = _read_version(db)
            if version == 0 and create and not _has_tables(db):
                db.execute("PRAGMA page_size = 2048")
                db.execute("PRAGMA journal_mode = WAL")
                db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
            else:
                _check_version(path, version)
                check_pages(folder, db)
            # A killed process leaves the log, a crashed machine the newest part of it: never half a row.
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            db.close()
            raise
        return db
    except sqlite3.Error as error:
        raise explain(folder, error) from error


def open_to_read(folder: Path) -> sqlite3.Connection:
    """Returns a connection for reading, also beside a writer or in a read-only folder. Raises StoreError."""
    path = folder / "run.db"
    if not path.is_file():
        raise StoreError(f"run.dir='{folder}' holds no run (no run.db); a sweep makes one")
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        try:
            version = _read_version(db)
        except sqlite3.OperationalError:
            db.close()
            if path.with_name("run.db-wal").exists():
                raise
            # Nobody writes and no log is left: the file alone is the run, and nothing need be written.
            db = sqlite3.connect(
                f"{path.absolute().as_uri()}?immutable=1", uri=True, isolation_level=None,
                check_same_thread=False,
            )  # fmt: skip
            version = _read_version(db)
        _check_version(path, version)
        return db
    except sqlite3.Error as error:
        raise explain(folder, error) from error


def explain(folder: Path, error: sqlite3.Error) -> StoreError:
    """Returns the StoreError that says what SQLite's failure means for the run, and what to do."""
    text = str(error)
    if "malformed" in text or "not a database" in text or "decode" in text:
        return explain_damage(folder, text)
    if "full" in text or "I/O" in text:
        advice = "the disk is full or failing; make room and run the same command again: nothing done is lost"
    elif "readonly" in text or "unable to open" in text:
        advice = "it cannot be written; mend the folder's permissions or give another run.dir="
    else:
        advice = "run the same command again; what is committed is kept"
    return StoreError(f"'{folder / 'run.db'}': {text}; {advice}")


def explain_damage(folder: Path, text: str) -> StoreError:
    """Returns the StoreError of a file whose content is not what was written."""
    return StoreError(
        f"'{folder / 'run.db'}' is damaged ({text}); restore a copy of it, save what can be read with "
        "`sqlite3 run.db .recover`, or give a new run.dir="
    )


def _read_version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _has_tables(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is not None


def _check_version(path: Path, version: int) -> None:
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"'{path}' has schema version {version}; this version of qwen3_eval reads {SCHEMA_VERSION}; "
            "use the version that wrote it, or give a new run.dir="
        )


def check_pages(folder: Path, db: sqlite3.Connection) -> None:
    """Raises StoreError where a page is damaged: before a model is loaded, not days later.

    A file of more than 2 GiB is let pass; it would take minutes.
    """
    if (folder / "run.db").stat().st_size > _CHECKED_BYTES:
        return
    found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise explain_damage(folder, " ".join(str(found).split()))
