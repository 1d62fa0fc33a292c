"""The journal of a search: every result, one line of JSON each, whoever computed it and whatever ends in between."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import msgspec

from wine_assets.errors import ArtifactError, ConflictError
from wine_assets.files import atomic_write
from wine_assets.search.trials import TrialResult

FLUSH_S = 0.5
"""How long a trial took that is on disk at once; shorter ones are there when so much time has gone by since others.

So much work of each worker a loss of power may cost, and a killed process loses nothing that was appended.
"""
_encode = msgspec.json.Encoder().encode
_results = msgspec.json.Decoder(TrialResult)


class Journal:
    """An append-only file of results beside what the search is about; several processes may append to it.

    A line that a killed writer left half is not a result, and the next writer begins a line of its own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "journal.jsonl"
        self._file: int | None = None
        self._flushed = 0.0

    @classmethod
    def open(cls, folder: Path, about: Mapping[str, Any]) -> Self:
        """Return the journal in `folder`, made with what the search is `about` unless it is there.

        Raise ArtifactError where it can't be made.
        """
        with _writing(folder):
            if not (folder / "search.json").exists():
                atomic_write(folder / "search.json", json.dumps(about, indent=2, sort_keys=True).encode())
        return cls(folder)

    def results(self) -> list[TrialResult]:
        """Return every result in the order in which they were appended."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ArtifactError(f"The journal {self._path} can't be read: {error}. Give its folder back.") from error
        found = []
        for line in lines:
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
                found.append(_results.decode(line))
        return found

    def append(self, result: TrialResult) -> None:
        """Add a result, on disk at once if it took long; raise ArtifactError where it can't be written."""
        with _writing(self._path):
            self._append(_encode(result) + b"\n")
            if result.seconds >= FLUSH_S or time.monotonic() - self._flushed > FLUSH_S:
                self._flush()

    @contextlib.contextmanager
    def lock(self, *, shared: bool = False) -> Iterator[None]:
        """Keep other searches of the same away, unless all share it.

        Raise ConflictError when one is at work, and ArtifactError where that can't be found out.
        """
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            with _writing(self.folder):
                self._lock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
            self.close()

    def close(self) -> None:
        """Flush what was appended to disk; raise ArtifactError where that fails."""
        if self._file is None:
            return
        try:
            with _writing(self._path):
                self._flush()
        finally:
            os.close(self._file)
            self._file = None

    def _lock(self, descriptor: int, kind: int) -> None:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConflictError(
                f"Another process is at this same search, in {self.folder}. Wait for it, or stop it."
            ) from error

    def _append(self, line: bytes) -> None:
        if self._file is None:
            self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            size = os.fstat(self._file).st_size
            if size and os.pread(self._file, 1, size - 1) != b"\n":
                line = b"\n" + line
            written = os.write(self._file, line)
            if written < len(line):
                raise OSError(28, os.strerror(28))
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _flush(self) -> None:
        assert self._file is not None  # noqa: S101 - it was appended to
        os.fsync(self._file)
        self._flushed = time.monotonic()


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Raise ArtifactError where the block can't write to the journal at `path`."""
    try:
        yield
    except OSError as error:
        raise ArtifactError(
            f"The journal {path} can't be written: {error}. Make room, or let this user write there, and go on."
        ) from error
