"""The journal of a search: every result, one line of JSON each, whoever computed it and whatever ends in between."""

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
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
KEPT_JOURNALS = 20
"""How many journals stay on disk: those of the searches that were run last."""
SPARED_S = 7 * 24 * 3600.0
"""The least age of a journal that is removed."""
LOCK = "lock"
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
        """Return the journal in `folder`, made with what the search is `about` unless it exists.

        Raise ArtifactError where it can't be made.
        """
        with _writing(folder):
            if (folder / "search.json").exists():
                os.utime(folder / "search.json")  # it is young again, and not pruned
            else:
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
    def lock(self) -> Iterator[None]:
        """Keep every other run of this search away.

        Raise ConflictError if one is at work, and ArtifactError if that can't be found out.
        """
        with self._lock(fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def claim(self, numbers: range, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Keep other runs of this search away from the trials with these numbers; the system ends a dead run's claim.

        Call `on_wait` and wait if another run has claimed some of them. Raise ConflictError if a run is at work that
        has locked the whole search, and ArtifactError if that can't be found out.
        """
        with self._lock(fcntl.LOCK_SH):
            with _writing(self.folder):
                descriptor = os.open(self.folder / "claims", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
            try:
                with _writing(self.folder):
                    try:
                        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, len(numbers), numbers.start)
                    except (BlockingIOError, PermissionError):
                        on_wait()
                        fcntl.lockf(descriptor, fcntl.LOCK_EX, len(numbers), numbers.start)
                yield
            finally:
                os.close(descriptor)

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

    @contextlib.contextmanager
    def _lock(self, kind: int) -> Iterator[None]:
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            with _writing(self.folder):
                _lock_or_refuse(descriptor, kind, self.folder)
            yield
        finally:
            os.close(descriptor)
            self.close()

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


def prune(searches: Path, kept: int = KEPT_JOURNALS) -> None:
    """Remove all but the newest journals of a folder, never a young one nor one that a search is at work on."""
    journals = [path.parent for path in searches.glob("*/search.json")]
    for folder in sorted(journals, key=_modified, reverse=True)[kept:]:
        if time.time() - _modified(folder) < SPARED_S:
            continue
        with contextlib.suppress(ConflictError, ArtifactError), Journal(folder).lock():
            shutil.rmtree(folder, ignore_errors=True)


def _modified(folder: Path) -> float:
    times = [path.stat().st_mtime for name in ("search.json", "journal.jsonl") if (path := folder / name).exists()]
    return max(times, default=0.0)


def _lock_or_refuse(descriptor: int, kind: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConflictError(f"Another process is at this same search, in {folder}. Wait for it, or stop it.") from error


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Raise ArtifactError where the block can't write to the journal at `path`."""
    try:
        yield
    except OSError as error:
        raise ArtifactError(
            f"The journal {path} can't be written: {error}. Make room, or let this user write there, and go on."
        ) from error
