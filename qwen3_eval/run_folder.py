"""The folder of a run: `run.json`, which says what was asked, and the lock of the one process that writes."""

import fcntl
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from qwen3_eval.errors import StoreError

_LOCK = ".lock"


def make_folder(folder: Path) -> None:
    """Makes the folder, if it is not there. Raises StoreError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def read_run(folder: Path) -> dict[str, Any] | None:
    """Returns run.json, or None where there is none. Raises StoreError."""
    path = folder / "run.json"
    try:
        run: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoreError(f"'{path}' cannot be read: {error}; restore it, or give a new run.dir=") from error
    return run


def write_run(folder: Path, run: Mapping[str, Any]) -> None:
    """Replaces run.json in one step. Raises StoreError."""
    path = folder / "run.json"
    draft = path.with_suffix(".json.tmp")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(json.dumps(run, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())  # else a power cut could leave the new name with no content
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise StoreError(
            f"'{path}' cannot be written: {error.strerror}; make room or mend the folder's permissions, "
            "then run the same command again: nothing done is lost"
        ) from error


def lock_folder(folder: Path) -> int:
    """Takes the run for this process. Returns the lock's file descriptor; the kernel frees it, always.

    Raises StoreError where the folder cannot be written, or another process holds it.
    """
    try:
        lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    except FileNotFoundError as error:
        raise StoreError(f"run.dir='{folder}' holds no run (no run.db); a sweep makes one") from error
    except OSError as error:
        raise _unwritable(folder, error) from error
    for attempt in range(5):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            time.sleep(0.05 * (attempt < 4))  # `is_in_use` holds it for a moment too
        except OSError as error:
            os.close(lock)
            raise StoreError(
                f"run.dir='{folder}' cannot be locked: {error.strerror}; give a folder on a file system with "
                "locks (flock), run.dir=PATH"
            ) from error
    os.close(lock)
    raise StoreError(
        f"run.dir='{folder}' is in use by another process; wait for it, or give another run.dir="
    )


def is_in_use(folder: Path) -> bool:
    """Returns whether another process holds the run for writing."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def _unwritable(folder: Path, error: OSError) -> StoreError:
    return StoreError(
        f"run.dir='{folder}' cannot be written: {error.strerror}; give a folder you can write, run.dir=PATH"
    )
