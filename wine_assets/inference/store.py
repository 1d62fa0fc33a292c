"""Storage of a repository's files: the Store protocol, and its implementation on a local folder."""

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
    """Files under names such as `versions/3/model.onnx`, with atomic changes.

    An invalid name raises RepositoryError, a missing file FileNotFoundError.
    """

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted; none if there is no such folder."""
        ...

    def create(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Create a folder of files; raise FileExistsError if it exists."""
        ...

    def remove(self, folder: str, name: str, expected: bytes | None) -> None:
        """Remove a folder if the file `name` holds `expected`; raise ConflictError if it doesn't."""
        ...

    def replace(self, name: str, expected: bytes | None, content: bytes, needs: str = "") -> None:
        """Write a file that holds `expected` (None: that doesn't exist), if the folder `needs` exists.

        Raise ConflictError if the file holds something else, FileNotFoundError if the folder doesn't exist.
        """
        ...


class LocalStore:
    """A folder on a local or shared POSIX file system; locks keep writers apart."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return self._path(name).read_bytes()

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted, without temporary files."""
        try:
            return sorted(path.name for path in self._path(folder).iterdir() if _PART.fullmatch(path.name))
        except FileNotFoundError:
            return []

    def create(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Write a temporary folder beside the target, flush it to disk, and rename it."""
        target = self._path(folder)
        with _with_filename(target):
            _make_folder(target.parent)
            _sweep_folders(target.parent)
            with _temporary_folder(target.parent) as temporary:
                for name, content in files.items():
                    _write(temporary / _check_name(name), content)
                flush(temporary)
                _rename(temporary, target)
            flush(target.parent)

    def remove(self, folder: str, name: str, expected: bytes | None) -> None:
        """Compare `name` and rename the folder under the lock of the store, then remove it.

        A missing folder raises FileNotFoundError. Nothing is written, so that this works on a full disk. The folder's
        own lock keeps the sweep of temporary folders away.
        """
        target = self._path(folder)
        hidden = target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}")
        with _with_filename(target), _locked_folder(target):
            with self._locked():
                _compare(self._path(name), expected)
                target.rename(hidden)
                flush(target.parent)
            shutil.rmtree(hidden)

    def replace(self, name: str, expected: bytes | None, content: bytes, needs: str = "") -> None:
        """Compare and write under the lock of the store."""
        target = self._path(name)
        with _with_filename(target):
            _make_folder(target.parent)
            with self._locked():
                for orphan in target.parent.glob(f"{TEMPORARY_PREFIX}*"):
                    orphan.unlink(missing_ok=True)  # its writer died: a live one would hold the lock
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
        return self.root.joinpath(*(_check_name(part) for part in name.split("/")))


def _compare(path: Path, expected: bytes | None) -> None:
    content = path.read_bytes() if path.exists() else None
    if content != expected:
        raise ConflictError(f"{path.name} was changed in between. Look at what is there now, and try again.")


def _check_name(part: str) -> str:
    if not _PART.fullmatch(part):
        raise RepositoryError(
            f"{part[:60]!r} can't be a name in a model repository. Use up to 100 letters, digits, '.', '_' and '-', "
            "with a letter or digit first."
        )
    return part


@contextlib.contextmanager
def _with_filename(path: Path) -> Iterator[None]:
    """Add a file name to the errors of writing, flushing and locking, which have none."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextlib.contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """Lock a folder; the lock survives a rename."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, content: bytes) -> None:
    with _with_filename(path):
        path.write_bytes(content)
        flush(path)


def _make_folder(folder: Path) -> None:
    """Create a folder and its parents, and flush each to disk."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        flush(folder.parent)


@contextlib.contextmanager
def _temporary_folder(parent: Path) -> Iterator[Path]:
    """Create a temporary folder, locked while its process lives, and remove it after the block."""
    descriptor, temporary = _make_locked_folder(parent)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(descriptor)


def _make_locked_folder(parent: Path) -> tuple[int, Path]:
    while True:
        temporary = parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        temporary.mkdir()
        with contextlib.suppress(FileNotFoundError):  # another process removed it before it was locked
            descriptor = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if temporary.exists():
                return descriptor, temporary
            os.close(descriptor)


def _sweep_folders(parent: Path) -> None:
    """Remove the temporary folders of processes that died."""
    for path in parent.glob(f"{TEMPORARY_PREFIX}*"):
        with contextlib.suppress(OSError):  # it was removed, its process lives, or it belongs to another user
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
