import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from wine_assets.errors import ConflictError, RepositoryError
from wine_assets.files import TEMPORARY_PREFIX
from wine_assets.inference.store import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def test_a_folder_is_there_whole(store: LocalStore) -> None:
    store.create("versions/1", {"a": b"1", "b": b"2"})
    assert (store.names("versions"), store.names("versions/1")) == (["1"], ["a", "b"])
    assert store.read("versions/1/b") == b"2"


def test_a_folder_that_is_there_is_never_changed(store: LocalStore) -> None:
    store.create("versions/1", {"a": b"1"})
    with pytest.raises(FileExistsError):
        store.create("versions/1", {"a": b"2"})
    assert store.read("versions/1/a") == b"1"
    assert _hidden(store.root / "versions") == []


def test_a_folder_whose_writing_fails_leaves_nothing(store: LocalStore) -> None:
    with pytest.raises(RepositoryError, match=r"'\.\./b' can't be a name"):
        store.create("versions/1", {"a": b"1", "../b": b"2"})
    assert store.names("versions") == []
    assert _hidden(store.root / "versions") == []


def test_a_folder_is_removed_with_all_that_is_in_it(store: LocalStore) -> None:
    store.create("versions/1", {"a": b"1"})
    store.remove("versions/1", "champion", None)
    assert store.names("versions") == _hidden(store.root / "versions") == []
    with pytest.raises(FileNotFoundError):
        store.remove("versions/1", "champion", None)


def test_a_folder_is_removed_without_making_anything(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk takes no new name, and removing is what makes room on it."""
    store.create("versions/1", {"a": b"1"})

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "mkdir", full)
    store.remove("versions/1", "champion", None)
    assert store.names("versions") == _hidden(store.root / "versions") == []


def test_an_error_of_the_system_names_the_file(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of writing, flushing and locking don't by themselves."""

    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    store.create("versions/1", {"a": b"1"})
    monkeypatch.setattr(os, "fsync", broken)
    writes: dict[str, Callable[[], None]] = {
        "a": lambda: store.create("versions/2", {"a": b"1"}),
        "versions/1": lambda: store.remove("versions/1", "champion", None),
        "champion": lambda: store.replace("champion", None, b"1"),
    }
    for name, write in writes.items():
        with pytest.raises(OSError, match="Input/output error") as failure:
            write()
        assert Path(failure.value.filename).is_relative_to(store.root)
        assert str(failure.value.filename).endswith(name)


def test_a_file_is_replaced_when_it_holds_what_was_expected(store: LocalStore) -> None:
    store.replace("champion", None, b"1")
    store.replace("champion", b"1", b"2")
    for expected in (None, b"1", b""):
        with pytest.raises(ConflictError, match="champion was changed in between"):
            store.replace("champion", expected, b"3")
    assert store.read("champion") == b"2"
    with pytest.raises(ConflictError):
        store.replace("config.json", b"1", b"2")


@pytest.mark.process
def test_next_writer_removes_abandoned_files(
    store: LocalStore,
) -> None:
    """The next writer removes the temporary files of killed writers, but not those of running ones."""
    store.create("versions/1", {"a": b"1"})
    dead, alive = (store.root / "versions" / f"{TEMPORARY_PREFIX}{name}" for name in ("dead", "alive"))
    pointer = store.root / f"{TEMPORARY_PREFIX}pointer"
    for folder in (dead, alive):
        folder.mkdir()
        (folder / "a").write_bytes(b"half")
    pointer.write_bytes(b"half")
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        _hold(alive, ready[1], done[0])
    assert os.read(ready[0], 1) == b"r"
    store.create("versions/2", {"a": b"2"})
    store.replace("champion", None, b"2")
    assert (dead.exists(), alive.exists(), pointer.exists()) == (False, True, False)
    os.write(done[1], b"d")
    os.waitpid(child, 0)
    store.create("versions/3", {"a": b"3"})
    assert not alive.exists()


def _hold(folder: Path, ready: int, done: int) -> None:
    """Hold a folder's lock, as its writer does, until told to end."""
    import fcntl

    fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX)
    os.write(ready, b"r")
    os.read(done, 1)
    os._exit(0)


def test_temporary_folder_removed_before_its_lock(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """If another process removes a temporary folder before it is locked, the writer creates another one."""
    opened: list[object] = []
    real = os.open

    def open_late(path: object, flags: int, *rest: int) -> int:
        if TEMPORARY_PREFIX in str(path) and flags & os.O_DIRECTORY and not opened:
            opened.append(path)
            Path(str(path)).rmdir()
        return real(str(path), flags, *rest)

    monkeypatch.setattr(os, "open", open_late)
    store.create("versions/1", {"a": b"1"})
    assert opened
    assert store.read("versions/1/a") == b"1"


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/../b", "/etc/passwd", "a\0b", "ä", "-a", "a" * 101, "a//b"])
def test_a_name_that_leads_elsewhere_is_refused(store: LocalStore, name: str) -> None:
    for use in (store.read, store.names, lambda name: store.remove(name, "champion", None)):
        with pytest.raises(RepositoryError, match="can't be a name in a model repository"):
            use(name)


def _hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")] if folder.exists() else []
