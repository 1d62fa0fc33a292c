"""Where the files of a repository lie: a protocol, and a folder on this machine."""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from wine_assets.errors import ConflictError, RepositoryError
from wine_assets.files import TEMPORARY_PREFIX, atomic_write, flush

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_LOCK = ".lock"


class Store(Protocol):
    """Files under names such as `versions/3/model.onnx`; every change is seen whole or not at all.

    Names that lead anywhere else raise RepositoryError; what isn't there raises FileNotFoundError.
    """

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted; none for a folder that isn't there."""
        ...

    def create(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Make a folder of files; raise FileExistsError when it is there already."""
        ...

    def remove(self, folder: str, name: str, expected: bytes | None) -> None:
        """Remove a folder while the file `name` holds `expected`; raise ConflictError when it doesn't."""
        ...

    def replace(self, name: str, expected: bytes | None, content: bytes, needs: str = "") -> None:
        """Write a file that holds `expected`, or isn't there (None), while the folder `needs` is there.

        Raise ConflictError when the file holds something else, FileNotFoundError when the folder is gone.
        """
        ...


class LocalStore:
    """A folder on a local or shared POSIX file system; writers keep out of each other's way by locks."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return self._path(name).read_bytes()

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted, without those of files that are being written."""
        try:
            return sorted(path.name for path in self._path(folder).iterdir() if _PART.fullmatch(path.name))
        except FileNotFoundError:
            return []

    def create(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Write a hidden folder beside the one wanted, flush it to disk, and rename it into place."""
        target = self._path(folder)
        with _named(target):
            _make(target.parent)
            _sweep_folders(target.parent)
            with _claimed(target.parent) as temporary:
                for name, content in files.items():
                    _write(temporary / _checked(name), content)
                flush(temporary)
                _rename(temporary, target)
            flush(target.parent)

    def remove(self, folder: str, name: str, expected: bytes | None) -> None:
        """Compare, rename the folder out of sight under a lock of the whole store, then remove it.

        One that isn't there raises FileNotFoundError. Nothing is made for it, as a full disk may take nothing; its own
        lock keeps sweepers away.
        """
        target = self._path(folder)
        hidden = target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}")
        with _named(target), _held(target):
            with self._locked():
                _compare(self._path(name), expected)
                target.rename(hidden)
                flush(target.parent)
            shutil.rmtree(hidden)

    def replace(self, name: str, expected: bytes | None, content: bytes, needs: str = "") -> None:
        """Compare and write under a lock of the whole store."""
        target = self._path(name)
        with _named(target):
            _make(target.parent)
            with self._locked():
                for orphan in target.parent.glob(f"{TEMPORARY_PREFIX}*"):
                    orphan.unlink(missing_ok=True)  # its writer held the lock, and is gone
                _compare(target, expected)
                if needs:
                    self._path(needs).stat()
                atomic_write(target, content)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _path(self, name: str) -> Path:
        return self.root.joinpath(*(_checked(part) for part in name.split("/")))


def _compare(path: Path, expected: bytes | None) -> None:
    found = path.read_bytes() if path.exists() else None
    if found != expected:
        raise ConflictError(f"{path.name} was changed in between. Look at what is there now, and try again.")


def _checked(part: str) -> str:
    if not _PART.fullmatch(part):
        raise RepositoryError(
            f"{part[:60]!r} can't be a name in a model repository. Use up to 100 letters, digits, '.', '_' and '-', "
            "with a letter or digit first."
        )
    return part


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Have every error of the system name a file, which those of writing, flushing and locking don't by themselves."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Lock a folder, whatever its name becomes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, content: bytes) -> None:
    with _named(path):
        path.write_bytes(content)
        flush(path)


def _make(folder: Path) -> None:
    """Make a folder and those above it, each of which survives a loss of power."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        flush(folder.parent)


@contextlib.contextmanager
def _claimed(parent: Path) -> Iterator[Path]:
    """Make a hidden folder that is locked as long as its maker lives, and is gone after the block."""
    descriptor, temporary = _claim(parent)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(descriptor)


def _claim(parent: Path) -> tuple[int, Path]:
    while True:
        temporary = parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        temporary.mkdir()
        with contextlib.suppress(FileNotFoundError):  # a sweeper that came between making and locking took it
            descriptor = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if temporary.exists():
                return descriptor, temporary
            os.close(descriptor)


def _sweep_folders(parent: Path) -> None:
    """Remove the hidden folders whose makers are gone."""
    for path in parent.glob(f"{TEMPORARY_PREFIX}*"):
        with contextlib.suppress(OSError):  # it is gone, its maker lives, or it is nobody's folder
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)


def _rename(temporary: Path, target: Path) -> None:
    try:
        temporary.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise FileExistsError(errno.EEXIST, "It is there already", str(target)) from error
        raise
