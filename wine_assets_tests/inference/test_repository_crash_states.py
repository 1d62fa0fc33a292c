"""What a power failure leaves of a publish and a promotion, at every moment of both.

SIGKILL doesn't test fsync, because what a killed process wrote is still in the system's memory. So the system calls of
a real publish and promotion are recorded, and each prefix is replayed on a disk that loses what wasn't flushed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wine_assets.errors import WineAssetsError
from wine_assets.inference import ModelRepository
from wine_assets_tests.inference.crash_disk import Call, Disk, recorded, without
from wine_assets_tests.inference.published import Publishable

WRITER = """
import os, sys
from pathlib import Path
from wine_assets.inference import ModelRepository
from wine_assets.inference.manifest import decode

repository, source = ModelRepository(sys.argv[1]), ModelRepository(sys.argv[2])
stored = source.read(1)
version = repository.publish(stored.model, stored.manifest.content, stored.manifest.provenance, b"<!doctype html>")
repository.promote(version, expected=repository.champion(), by="the writer")
"""
CALLS = "mkdir,openat,write,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir"


class Recording:
    """A repository before and after a publish and a promotion, and the calls that lie between."""

    def __init__(self, folder: Path, first: Publishable, second: Publishable) -> None:
        self.before, self.after = folder / "before", folder / "after"
        first.release(ModelRepository(self.before))
        second.publish(ModelRepository(folder / "source"))
        shutil.copytree(self.before, self.after)
        trace = folder / "trace"
        command = [_strace(), "-f", "-y", "-s", "0", "-e", f"trace={CALLS}", "-o", str(trace)]
        writer = [sys.executable, "-c", WRITER, str(self.after), str(folder / "source")]
        subprocess.run([*command, *writer], check=True, timeout=120)
        self.calls = recorded(trace.read_text(), self.after)
        self.old, self.new = (ModelRepository(place).read() for place in (self.before, self.after))


def _strace() -> str:
    found = shutil.which("strace")
    if found is None:
        reason = "strace is not installed"
        if os.environ.get("REQUIRE_SYSTEM") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory, first: Publishable, second: Publishable) -> Recording:
    return Recording(tmp_path_factory.mktemp("recorded"), first, second)


def _bad_states(recording: Recording, calls: list[Call], folder: Path) -> list[str]:
    """Return what is wrong with the states that the calls can leave, none if each reads as old or as new."""
    found = []
    for end in range(len(calls) + 1):
        disk = Disk()
        disk.has_folder("versions")
        for call in calls[:end]:
            disk.apply(call)
        for number, state in enumerate(disk.states(end)):
            place = folder / f"{end}-{number}"
            shutil.copytree(recording.before, place)
            state.write(place, _contents(recording, disk))
            wrong = _wrong(recording, place, is_done=end == len(calls))
            found += [f"after {end} calls: {wrong}"] if wrong else []
            shutil.rmtree(place)
    return found


def _contents(recording: Recording, disk: Disk) -> dict[int, bytes]:
    """Return what each file that was made holds in the end, found by the last name that it had."""
    contents = {}
    for change in disk.changes:
        if change.node is not None and not change.node.is_folder:
            contents[id(change.node)] = bytes(change.node.written)
    for change in disk.changes:
        if change.node is None or change.node.is_folder:
            continue
        inside = change.folder is not disk.root
        place = recording.after / "versions" / "2" / change.name if inside else recording.after / _final(disk, change)
        if place.is_file():
            contents[id(change.node)] = place.read_bytes()
    return contents


def _final(disk: Disk, change: object) -> str:
    """Return the name that a file in the repository's folder has in the end."""
    node = getattr(change, "node", None)
    names = [other.name for other in disk.changes if other.node is node and other.moved_from]
    if names:
        return names[-1]
    written = getattr(node, "written", 0)
    return "champion" if written and written < 200 else "champion.log"


def _wrong(recording: Recording, place: Path, *, is_done: bool) -> str:
    repository = ModelRepository(place)
    try:
        stored, versions = repository.read(), repository.versions()
        whole = [repository.verify(version) for version in versions]
        history = repository.history()
    except WineAssetsError as error:
        return str(error)
    if stored not in (recording.old, recording.new):
        return f"the champion is neither the old one nor the new one: {stored.version}"
    if is_done and (stored != recording.new or history[-1].version != stored.version):
        return "what was promoted is not the champion"
    if [move.serial for move in history] != list(range(1, len(history) + 1)):
        return "the history has a gap"
    return "" if whole[-1] in (recording.old, _unvouched(recording), recording.new) else "a version is torn"


def _unvouched(recording: Recording) -> object:
    """Return the new version as it is read before it was promoted."""
    import msgspec

    return msgspec.structs.replace(recording.new, authenticated=False)


def test_the_recording_is_of_a_whole_publish_and_promotion(recording: Recording) -> None:
    assert [(call.kind, call.is_folder) for call in recording.calls[:2]] == [("make", True), ("make", False)]
    moved = [call.target for call in recording.calls if call.kind == "move"]
    assert moved == ["versions/2", "champion", "champion.log"]
    assert sum(call.kind == "flush" for call in recording.calls) == 9
    assert recording.old.version == 1
    assert recording.new.version == 2


def test_every_state_that_a_power_failure_leaves_reads_as_old_or_as_new(recording: Recording, tmp_path: Path) -> None:
    """And once the promotion has returned, it is there in every one of them."""
    assert _bad_states(recording, recording.calls, tmp_path) == []


@pytest.mark.parametrize(
    ("flushed", "consequence"),
    [
        (r"versions/\.tmp-[^/]+/model\.onnx", "has .* bytes and the SHA-256"),
        (r"versions/\.tmp-[^/]+/manifest\.json", "The manifest can't be read|isn't what was promoted"),
        (r"versions/\.tmp-[^/]+", "is missing|has no version 2"),
        ("versions", "has no version 2"),
        (r"\.tmp-[0-9a-f]+", "champion can't be read"),
        (r"\.tmp-[0-9a-f]+\.log", "champion.log can't be read|what was promoted"),
        ("", "what was promoted is not the champion"),
    ],
)
def test_every_fsync_is_needed(recording: Recording, tmp_path: Path, flushed: str, consequence: str) -> None:
    """Without any one of them there are states that read as neither, or lose what was promised."""
    import re

    calls = without(recording.calls, "flush", flushed)
    assert len(calls) < len(recording.calls)
    bad = _bad_states(recording, calls, tmp_path)
    assert any(re.search(consequence, wrong) for wrong in bad), bad[:3]
