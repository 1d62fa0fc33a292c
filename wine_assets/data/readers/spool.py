"""What remote sources have returned, kept in temporary files so that planning and the step read each source once."""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

_spool: ContextVar[Path | None] = ContextVar("spool", default=None)


@contextlib.contextmanager
def read_once() -> Iterator[None]:
    """Read each remote source once in the block; what it returned is removed at the block's end."""
    with tempfile.TemporaryDirectory(prefix="wine_assets-") as folder:
        token = _spool.set(Path(folder))
        try:
            yield
        finally:
            _spool.reset(token)


def folder_of(source: str) -> Path | None:
    """Return the folder of what a source has returned, by a text that identifies it; None outside of `read_once`."""
    spool = _spool.get()
    if spool is None:
        return None
    folder = spool / hashlib.sha256(source.encode()).hexdigest()
    folder.mkdir(exist_ok=True)
    return folder
