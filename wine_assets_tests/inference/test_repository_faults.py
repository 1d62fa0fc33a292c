"""Disks that are full, broken or forbidden: what a writer leaves, and what it says, when a system call fails."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from wine_assets.inference import ModelRepository
from wine_assets_tests.support.published_models import Publishable

ROOT = Path(__file__).parents[2]
EVERY_ERROR = 3


def _faults(released: ModelRepository, second: Publishable, folder: Path, errors: int) -> list[dict[str, Any]]:
    """Have every call of a publish and a promotion fail with so many errors; return what came of each."""
    if shutil.which("strace") is None:
        reason = "strace is not installed"
        if os.environ.get("REQUIRE_SYSTEM") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    second.publish(ModelRepository(folder / "source"))
    (folder / "writes").mkdir()
    done = subprocess.run(
        [
            *[sys.executable, "-m", "wine_assets_tests.support.repository_faults"],
            *[str(released.folder), str(folder / "source"), str(folder / "writes"), str(errors)],
        ],
        env=_unmeasured(os.environ) | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=270,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def _unmeasured(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave coverage out: it asks for the place of each file once, among the calls that are counted."""
    return {name: value for name, value in environment.items() if not name.startswith("COVERAGE_")}


def _is_after_the_move(fault: dict[str, Any]) -> bool:
    """Return whether the pointer's folder couldn't be flushed, so that nobody knows if the move outlasts a failure."""
    return bool(fault["outcome"]) and str(fault["call"]).startswith(("fsync", "openat")) and fault["champion"] == 2


def _check(faults: list[dict[str, Any]]) -> None:
    failed = [fault for fault in faults if fault["outcome"]]
    assert [fault for fault in faults if not fault["was_injected"]] == []
    assert [fault for fault in faults if fault["wrong"]] == [], "all is whole, and as it was or as it was to be"
    assert [fault for fault in faults if fault["afterwards"]] == [], "and the next writer goes on and tidies up"
    assert [fault for fault in failed if not fault["is_sentence"] or "PLACE" not in fault["outcome"]] == []
    assert [fault for fault in faults if not fault["outcome"] and fault["champion"] != 2] == []
    uncertain = [fault for fault in failed if fault["champion"] != 1]
    assert [fault for fault in uncertain if not _is_after_the_move(fault)] == [], "the old champion stays"
    assert len({fault["call"] for fault in uncertain}) == 2, "but where the move itself couldn't be flushed"
    assert len(failed) > len(faults) / 2


@pytest.mark.process
@pytest.mark.timeout(280)
def test_every_failing_system_call(released: ModelRepository, second: Publishable, tmp_path: Path) -> None:
    """Whichever system call fails, the champion stays whole and the error names a file.

    The kernel answers each call of a publish and a promotion with an error, one at a time.
    """
    faults = _faults(released, second, tmp_path, 1)
    assert {fault["error"] for fault in faults} == {"ENOSPC", "EACCES", "EIO"}
    _check(faults)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_every_failing_system_call_in_every_way(released: ModelRepository, second: Publishable, tmp_path: Path) -> None:
    """The long form of `test_every_failing_system_call`."""
    _check(_faults(released, second, tmp_path, EVERY_ERROR))


_ON_A_SMALL_DISK = """
import errno, sys
from pathlib import Path
from wine_assets.inference import ModelRepository, Predictor

repository, model = ModelRepository(Path(sys.argv[1]) / "wine"), ModelRepository(sys.argv[2]).read(1)

def write():
    version = repository.publish(model.model, model.manifest.content, model.manifest.provenance, b"x" * 4096)
    repository.promote(version, expected=repository.champion(), by="a test")

def write_until_it_is_full():
    try:
        while True:
            write()
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
        assert str(repository.folder) in str(error), error

def take_what_is_left():
    try:
        for number in range(1_000_000):
            (Path(sys.argv[1]) / str(number)).write_bytes(b"x" * 4096)
    except OSError as error:
        assert error.errno == errno.ENOSPC, error

for last in (False, False, True):
    write_until_it_is_full()
    if last:
        take_what_is_left()
    assert Predictor.of(repository.read()).version == repository.history()[-1].version
    for version in repository.versions():
        repository.verify(version)
    assert repository.prune(1), "a full disk lets go of what it holds"
    write()
serials = [move.serial for move in repository.history()]
assert serials == list(range(1, len(serials) + 1)), serials
print(len(serials))
"""


@pytest.mark.process
@pytest.mark.parametrize("limit", ["size=256k", "nr_inodes=60"])
def test_a_full_disk_leaves_the_champion_and_can_be_made_room_on(
    tmp_path: Path, first: Publishable, limit: str
) -> None:
    """The disk is a real one, out of blocks or out of names, in a mount namespace that ends with the process."""
    source, disk = tmp_path / "source", tmp_path / "disk"
    first.publish(ModelRepository(source))
    disk.mkdir()
    inside = ["unshare", "--map-root-user", "--mount"]
    mount = ["mount", "-t", "tmpfs", "-o", limit, "none", str(disk)]
    try:
        subprocess.run([*inside, *mount], check=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine lets nobody mount a small disk; the tests above have the kernel say that it is full")
    mounted = f'mount -t tmpfs -o {limit} none "{disk}" && exec "$@"'
    program = [sys.executable, "-c", _ON_A_SMALL_DISK, str(disk), str(source)]
    done = subprocess.run(
        [*inside, "sh", "-c", mounted, "sh", *program], check=False, timeout=120, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 9
