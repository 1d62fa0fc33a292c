"""A small disk that can be full: a real one, in a mount namespace that ends with the process that holds it."""

import contextlib
import errno
import itertools
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_MOUNT = 'mount -t tmpfs -o "$1" none "$0" && echo mounted && read -r _'


@contextlib.contextmanager
def small_disk(place: Path, limits: str) -> Iterator[Path]:
    """Mount a disk of so many bytes and names for the block; skip the test where nobody may."""
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", _MOUNT, str(place), limits]
    pipe = subprocess.PIPE
    try:
        holder = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
    except FileNotFoundError:
        pytest.skip("this machine has no unshare to mount a small disk with")
    with holder:
        assert holder.stdout is not None
        if holder.stdout.readline() != b"mounted\n":
            pytest.skip("this machine lets nobody mount a small disk")
        yield Path(f"/proc/{holder.pid}/root{place}")  # as that process sees it: other processes see no disk there


def fill(disk: Path) -> None:
    """Take every byte that is left, and then every name, until the disk refuses both."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        for size in (1 << 16, 1):
            _until_full(lambda size=size: filler.write(bytes(size)))  # type: ignore[misc]
    empty = (disk / f"filler-{number}" for number in itertools.count())
    _until_full(lambda: next(empty).touch())


def _until_full(take: Callable[[], object]) -> None:
    try:
        while True:
            take()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def make_room(disk: Path) -> None:
    """Give back what `fill` took."""
    for filler in disk.glob("filler*"):
        filler.unlink()
