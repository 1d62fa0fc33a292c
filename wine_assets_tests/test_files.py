import errno
import hashlib
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wine_assets import files
from wine_assets.files import TEMPORARY_PREFIX, atomic_path, atomic_write

OLD, NEW = b"old" * 1000, b"new" * 100_000


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Return a file with old content, alone in its folder."""
    path = tmp_path / "model.onnx"
    path.write_bytes(OLD)
    return path


def assert_untouched(path: Path) -> None:
    assert path.read_bytes() == OLD
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_replaced_and_nothing_else_is_left(written: Path) -> None:
    atomic_write(written, NEW)
    assert written.read_bytes() == NEW
    assert list(written.parent.iterdir()) == [written]


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    path = tmp_path / "data" / "wine_model" / "1.skops"
    atomic_write(path, NEW)
    assert path.read_bytes() == NEW


def test_an_empty_file_can_be_written(written: Path) -> None:
    atomic_write(written, b"")
    assert written.read_bytes() == b""


def test_the_temporary_file_has_the_suffix_that_writers_look_at(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "frame.parquet") as temporary:
        assert temporary.suffix == ".parquet"
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(TEMPORARY_PREFIX)


def test_two_writers_of_one_file_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with atomic_path(path) as outer:
        outer.write_bytes(b"outer")
        atomic_write(path, b"inner")
        assert path.read_bytes() == b"inner"
    assert path.read_bytes() == b"outer"


def test_the_file_has_the_mode_that_the_umask_gives(written: Path) -> None:
    """A service that runs under another user has to be able to read a model."""
    mask = os.umask(0o022)
    try:
        atomic_write(written, NEW)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(written.stat().st_mode) == 0o644


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_writer_leaves_the_old_content(written: Path, interruption: type[BaseException]) -> None:
    def write_half_of_it() -> None:
        with atomic_path(written) as temporary:
            temporary.write_bytes(NEW[:10])
            raise interruption

    with pytest.raises(interruption):
        write_half_of_it()
    assert_untouched(written)


def test_a_writer_that_makes_no_file_is_noticed(written: Path) -> None:
    def write_nothing() -> None:
        with atomic_path(written) as temporary:
            temporary.unlink()

    with pytest.raises(FileNotFoundError):
        write_nothing()
    assert_untouched(written)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_the_system_cuts_short_leaves_the_old_content(written: Path) -> None:
    """The kernel itself refuses to let the file grow."""
    with largest_file(50_000), pytest.raises(OSError, match="File too large") as failure:
        atomic_write(written, NEW)
    assert failure.value.errno == errno.EFBIG
    assert_untouched(written)


_ON_A_SMALL_DISK = """
import errno, sys
from pathlib import Path
from wine_assets.files import atomic_write
path = Path(sys.argv[1]) / "model.onnx"
atomic_write(path, b"old" * 1000)
try:
    atomic_write(path, b"new" * 1_000_000)
except OSError as error:
    assert error.errno == errno.ENOSPC, error
else:
    raise SystemExit("the disk was not full")
assert path.read_bytes() == b"old" * 1000
assert list(path.parent.iterdir()) == [path]
"""


@pytest.mark.process
def test_a_full_disk_leaves_the_old_content(tmp_path: Path) -> None:
    """The disk is a real one of 64 KiB, in a mount namespace that ends with the process."""
    inside = ["unshare", "--map-root-user", "--mount"]
    try:
        subprocess.run([*inside, "mount", "-t", "tmpfs", "-o", "size=64k", "none", tmp_path], check=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine lets nobody mount a small disk; the test above fills a file instead")
    mounted = f'mount -t tmpfs -o size=64k none "{tmp_path}" && exec "$@"'
    program = [sys.executable, "-c", _ON_A_SMALL_DISK, str(tmp_path)]
    subprocess.run([*inside, "sh", "-c", mounted, "sh", *program], check=True, timeout=60)


def test_a_flush_that_fails_leaves_the_old_content(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk may say only when it is asked to flush that it lost what was written (no disk here can be made to)."""

    def lose(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", lose)
    with pytest.raises(OSError, match="Input/output error"):
        atomic_write(written, NEW)
    assert_untouched(written)


def test_a_folder_that_takes_no_files_is_reported() -> None:
    with pytest.raises(OSError, match="/proc/self"):
        atomic_write(Path("/proc/self/model.onnx"), NEW)


def test_a_folder_cannot_be_overwritten_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "model.onnx" / "inside").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        atomic_write(tmp_path / "model.onnx", NEW)
    assert list(tmp_path.iterdir()) == [tmp_path / "model.onnx"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """Record what is flushed and what is renamed, in order, with the size it has at that moment."""
    seen: list[tuple[str, str, int]] = []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(descriptor: int) -> None:
        fsync(descriptor)
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        seen.append(("flush", name, os.fstat(descriptor).st_size))

    def recorded_replace(source: Path, target: Path) -> None:
        seen.append(("rename", f"{Path(source).name} -> {Path(target).name}", Path(source).stat().st_size))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    return seen


def test_the_content_is_flushed_before_the_rename_and_the_name_after_it(
    written: Path, calls: list[tuple[str, str, int]]
) -> None:
    """In any other order, a loss of power could leave an empty file under the final name, or the old name's content."""
    atomic_write(written, NEW)
    (first, temporary, flushed), (second, names, _), (third, folder, _) = calls
    assert (first, second, third) == ("flush", "rename", "flush")
    assert temporary.startswith(TEMPORARY_PREFIX)
    assert flushed == len(NEW)
    assert names == f"{temporary} -> {written.name}"
    assert folder == written.parent.name


def test_a_reader_sees_one_content_or_the_other_and_nothing_between(written: Path) -> None:
    contents = [OLD, NEW]
    stop = threading.Event()

    def write_in_turns() -> None:
        turn = 0
        while not stop.is_set():
            atomic_write(written, contents[turn % 2])
            turn += 1

    writer = threading.Thread(target=write_in_turns)
    writer.start()
    try:
        seen = {written.read_bytes() for _ in range(300)}
    finally:
        stop.set()
        writer.join()
    assert seen <= set(contents)


_HANGS_HALFWAY = """
import sys, time
from pathlib import Path
from wine_assets.files import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    print("halfway", flush=True)
    time.sleep(60)
"""


@pytest.mark.process
def test_a_killed_writer_leaves_the_old_content_and_a_temporary_file_that_is_swept(written: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _HANGS_HALFWAY, written], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"halfway\n"
        writer.send_signal(signal.SIGKILL)
    assert written.read_bytes() == OLD
    assert len(list(written.parent.iterdir())) == 2
    assert files.sweep_temporaries(written.parent, older_than_s=0) == 1
    assert_untouched(written)


def test_what_a_living_writer_may_still_be_writing_is_not_swept(tmp_path: Path) -> None:
    fresh, old = tmp_path / f"{TEMPORARY_PREFIX}fresh.onnx", tmp_path / f"{TEMPORARY_PREFIX}old.onnx"
    fresh.touch()
    old.touch()
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    assert files.sweep_temporaries(tmp_path, older_than_s=3600) == 1
    assert list(tmp_path.iterdir()) == [fresh]


def test_only_temporary_files_are_swept(written: Path) -> None:
    (written.parent / ".hidden").touch()
    assert files.sweep_temporaries(written.parent, older_than_s=0) == 0
    assert {path.name for path in written.parent.iterdir()} == {"model.onnx", ".hidden"}


def test_a_temporary_file_that_vanishes_while_it_is_swept_is_not_counted(tmp_path: Path) -> None:
    """A link to nothing is listed and can't be looked at, as a file that its writer just renamed."""
    (tmp_path / f"{TEMPORARY_PREFIX}gone").symlink_to(tmp_path / "nothing")
    assert files.sweep_temporaries(tmp_path, older_than_s=0) == 0


def test_a_folder_that_does_not_exist_needs_no_sweeping(tmp_path: Path) -> None:
    assert files.sweep_temporaries(tmp_path / "absent", older_than_s=0) == 0


@pytest.mark.parametrize("size", [0, 1, files._CHUNK_BYTES, files._CHUNK_BYTES + 1])
def test_a_file_has_the_hash_of_its_bytes(size: int, tmp_path: Path) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    path = tmp_path / "content"
    path.write_bytes(content)
    assert files.sha256_of_file(path) == files.sha256_of_bytes(content) == hashlib.sha256(content).hexdigest()
