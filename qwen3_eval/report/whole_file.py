"""Files that appear whole or not at all, whatever happens while they are written."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp


def open_draft(path: Path) -> Path:
    """Returns a new empty file beside `path`, with the rights that a plainly opened file would have."""
    handle, name = mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with suppress(OSError), os.fdopen(handle):
        umask = os.umask(0)
        os.umask(umask)
        os.fchmod(handle, 0o666 & ~umask)
    return Path(name)


def write_all(folder: Path, contents: Mapping[str, str | bytes]) -> list[Path]:
    """Writes files by name, each whole, and returns their paths. Raises OSError."""
    for name, content in contents.items():
        write_whole(folder / name, content)
    return [folder / name for name in contents]


def write_whole(path: Path, content: str | bytes) -> None:
    """Replaces the file in one step, so that a reader never meets half of it. Raises OSError.

    A lone surrogate, which UTF-8 has no bytes for, is written as a question mark.
    """
    draft = open_draft(path)
    try:
        draft.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
