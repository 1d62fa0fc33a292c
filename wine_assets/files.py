"""Files that are either whole or absent: atomic writes, flushes to disk and hashes."""

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

TEMPORARY_PREFIX = ".tmp-"
_CHUNK_BYTES = 1 << 20


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it, flushed to disk, when the block ends well.

    When the block raises, `path` is untouched and the temporary file is gone. A process that is killed
    leaves at most a file whose name starts with `TEMPORARY_PREFIX`; `sweep_temporaries` removes those.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{path.suffix}")
    temporary.touch(exist_ok=False)  # with the mode that the umask gives, for readers of other users; mkstemp's is 0600
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush(path.parent)


def atomic_write(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that readers see the old file or the new one, and nothing between."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def flush(path: Path) -> None:
    """Make what was written to a file, or the names in a folder, survive a loss of power (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep_temporaries(folder: Path, *, older_than_s: float) -> int:
    """Remove what killed writers left in `folder`, if unchanged for `older_than_s` seconds; return how many."""
    swept = 0
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime >= older_than_s:
                path.unlink()
                swept += 1
    return swept


def sha256_of_bytes(content: bytes) -> str:
    """Return the SHA-256 of `content` as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of the file at `path` as 64 hexadecimal digits, in constant memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
