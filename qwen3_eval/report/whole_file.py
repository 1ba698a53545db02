"""Files that appear whole or not at all, whatever happens while they are written."""

import os
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


def write_whole(path: Path, content: bytes) -> None:
    """Replaces the file in one step, so that a reader never meets half of it."""
    draft = open_draft(path)
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
