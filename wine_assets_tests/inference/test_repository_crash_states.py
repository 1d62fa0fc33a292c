"""What a power failure leaves of a publish, a promotion, a rollback and a pruning, at every moment of each.

SIGKILL doesn't test fsync, because what a killed process wrote is still in the system's memory. So the system calls of
real writers are recorded, and each prefix is replayed on a disk that loses what wasn't flushed.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from wine_assets.errors import WineAssetsError
from wine_assets.files import TEMPORARY_PREFIX
from wine_assets.inference import ModelRepository, Predictor
from wine_assets_tests.support.crash_disk import CALLS, Call, Disk, Tree, made, recorded
from wine_assets_tests.support.published_models import Publishable, publishable

pytestmark = pytest.mark.process

REPORT = b"<!doctype html>"
PUBLISH = """
stored = ModelRepository(sys.argv[2]).read(1)
repository.publish(stored.model, stored.manifest.content, stored.manifest.provenance, b"<!doctype html>")
say("published")
repository.promote(repository.versions()[-1], expected=repository.champion(), by="the writer")
say("promoted")
"""
PRUNE = """
repository.prune(1)
say("pruned")
repository.rollback(by="the writer")
say("rolled back")
"""
PREAMBLE = """
import os, sys
from wine_assets.inference import ModelRepository

repository = ModelRepository(sys.argv[1])

def say(what):
    os.write(1, what.encode())
"""


class Seen(NamedTuple):
    """What a reader sees of a repository."""

    champion: int
    versions: tuple[int, ...]


@dataclass
class Scene:
    """A repository as it was, what a writer does to it, and what may be seen of that."""

    releases: Sequence[float]
    """The C of each version that was champion before."""
    program: str
    allowed: set[Seen]
    promised: dict[str, set[Seen]]
    """What may be seen from the moment on at which the writer has said so."""


PUBLISHING = Scene(
    [1.0],
    PUBLISH,
    {Seen(1, (1,)), Seen(1, (1, 2)), Seen(2, (1, 2))},
    {"published": {Seen(1, (1, 2)), Seen(2, (1, 2))}, "promoted": {Seen(2, (1, 2))}},
)
BEGINNING = Scene(
    [],
    PUBLISH,
    {Seen(0, ()), Seen(0, (1,)), Seen(1, (1,))},
    {"published": {Seen(0, (1,)), Seen(1, (1,))}, "promoted": {Seen(1, (1,))}},
)
PRUNING = Scene(
    [1.0, 0.01, 1.0, 0.01],
    PRUNE,
    {Seen(4, (1, 2, 3, 4)), Seen(4, (2, 3, 4)), Seen(4, (3, 4)), Seen(3, (3, 4))},
    {"pruned": {Seen(4, (3, 4)), Seen(3, (3, 4))}, "rolled back": {Seen(3, (3, 4))}},
)
SCENES = {"publish and promote": PUBLISHING, "the very first": BEGINNING, "prune and roll back": PRUNING}


@dataclass
class Recording:
    """A scene, the folder in which it began, and the system calls that were made in it."""

    scene: Scene
    before: Path
    calls: list[Call]
    looks: dict[Tree, Seen | str] = field(default_factory=dict)

    def flushes(self) -> list[int]:
        """Return where in the recording something is flushed."""
        return [number for number, call in enumerate(self.calls) if call.kind == "flush"]

    def without(self, number: int) -> list[Call]:
        """Return the calls but one."""
        return self.calls[:number] + self.calls[number + 1 :]


def _strace() -> str:
    found = shutil.which("strace")
    if found is None:
        reason = "strace is not installed"
        if os.environ.get("REQUIRE_SYSTEM") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def _recording(scene: Scene, folder: Path) -> Recording:
    """Have a process of its own do what the scene tells, and record it."""
    before, after, trace = folder / "before", folder / "after", folder / "trace"
    before.mkdir()
    for C in scene.releases:
        publishable(C).release(ModelRepository(before / "models" / "wine"))
    publishable(0.01).publish(ModelRepository(folder / "source"))
    shutil.copytree(before, after)
    command = [_strace(), "-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-o", str(trace)]
    writer = [sys.executable, "-c", PREAMBLE + scene.program, str(after / "models" / "wine"), str(folder / "source")]
    subprocess.run([*command, *writer], check=True, timeout=120, stdout=subprocess.DEVNULL)
    return Recording(scene, before, recorded(trace.read_text(), after))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Scene], Recording]:
    """Return the recording of a scene, made once."""
    kept: dict[int, Recording] = {}

    def recording(scene: Scene) -> Recording:
        if id(scene) not in kept:
            kept[id(scene)] = _recording(scene, tmp_path_factory.mktemp("recorded"))
        return kept[id(scene)]

    return recording


def _moments(recording: Recording, calls: Sequence[Call]) -> Iterator[tuple[int, set[Seen], Tree]]:
    """Yield each state that the calls can leave: after how many of them, and what may be seen then."""
    disk, allowed = Disk.holding(recording.before), recording.scene.allowed
    yield from ((0, allowed, tree) for tree in disk.trees())
    for number, call in enumerate(calls, 1):
        disk.apply(call)
        allowed = recording.scene.promised[call.path] if call.kind == "say" else allowed
        yield from ((number, allowed, tree) for tree in disk.trees())


def _states(recording: Recording, calls: Sequence[Call], folder: Path) -> Iterator[tuple[int, set[Seen], Seen | str]]:
    """Yield what is seen of each state that the calls can leave."""
    for number, allowed, tree in _moments(recording, calls):
        if tree not in recording.looks:
            place = folder / str(len(recording.looks))
            made(tree, place)
            recording.looks[tree] = _look(ModelRepository(place / "models" / "wine"))
            shutil.rmtree(place)
        yield number, allowed, recording.looks[tree]


def _is_harmless(recording: Recording, calls: Sequence[Call], folder: Path) -> bool:
    """Return whether each state reads as old or as new, and as new where that was promised."""
    return all(seen in allowed for _, allowed, seen in _states(recording, calls, folder))


def _look(repository: ModelRepository) -> Seen | str:
    """Return what is there, or what is wrong with it."""
    try:
        champion, history, versions = repository.champion(), repository.history(), tuple(repository.versions())
        known = {publishable(C).model for C in (1.0, 0.01)}
        if not all(repository.read(number).model in known for number in versions) or repository.name != "wine":
            return "something else is read than was written"
        if champion is not None:
            Predictor.of(repository.read())
        torn = [number for number in versions if repository.report(number) != REPORT]
    except WineAssetsError as error:
        return str(error)
    if torn:
        return f"the report of {torn} is torn"
    if history != ([] if champion is None else [*history[:-1], champion]):
        return "the history doesn't end with the champion"
    if [move.serial for move in history] != list(range(1, len(history) + 1)):
        return "the history has a gap"
    return Seen(0 if champion is None else champion.version, versions)


def test_the_recordings_are_of_all_that_was_done(recordings: Callable[[Scene], Recording]) -> None:
    for scene, moves in (
        (PUBLISHING, ["versions/2", "champion", "champion.log"]),
        (BEGINNING, ["versions/1", "config.json", "champion", "champion.log"]),
        (PRUNING, ["champion", "champion.log"]),
    ):
        calls = recordings(scene).calls
        made_names = [call.target for call in calls if call.kind == "move" and TEMPORARY_PREFIX not in call.target]
        assert made_names == [f"models/wine/{name}" for name in moves]
        assert [call.path for call in calls if call.kind == "say"] == list(scene.promised)


@pytest.mark.parametrize("name", SCENES)
def test_power_failure_leaves_old_or_new(recordings: Callable[[Scene], Recording], tmp_path: Path, name: str) -> None:
    """Every state after a power failure reads as the old one or as the new one.

    And once the writer was told that it is done, it is done in every one of them.
    """
    recording = recordings(SCENES[name])
    states = list(_states(recording, recording.calls, tmp_path))
    assert [(number, seen) for number, allowed, seen in states if seen not in allowed] == []
    assert {seen for _, _, seen in states} == recording.scene.allowed, "all that may be seen is seen"


@pytest.mark.parametrize("name", SCENES)
def test_the_next_writer_goes_on_from_every_state_and_tidies_up(
    recordings: Callable[[Scene], Recording], tmp_path: Path, first: Publishable, name: str
) -> None:
    recording = recordings(SCENES[name])
    trees = {tree for _, _, tree in _moments(recording, recording.calls)}
    assert len(trees) > len(recording.scene.allowed)
    for number, tree in enumerate(trees):
        place = tmp_path / str(number)
        made(tree, place)
        repository = ModelRepository(place / "models" / "wine")
        version = first.release(repository)
        seen = _look(repository)
        assert isinstance(seen, Seen), seen
        assert seen.champion == version == seen.versions[-1]
        assert list(place.rglob(f"{TEMPORARY_PREFIX}*")) == []
        shutil.rmtree(place)


LAST_OF_ALL = "models/wine"
HARMLESS = {
    "publish and promote": [LAST_OF_ALL],
    "the very first": ["models/wine", "models/wine", LAST_OF_ALL],
    "prune and roll back": [LAST_OF_ALL],
}
"""The folders whose flush can be left out alone.

The last one of all makes the log's new name certain: without it the move is known from the pointer, and is logged by
the next mover. In a new repository the names of `versions` and `config.json` are certain by either's flush.
"""


@pytest.mark.parametrize("name", SCENES)
def test_every_fsync_is_needed(recordings: Callable[[Scene], Recording], tmp_path: Path, name: str) -> None:
    """Without any one of them, but for those explained, a state reads as neither or lacks what was promised."""
    recording = recordings(SCENES[name])
    harmless = [n for n in recording.flushes() if _is_harmless(recording, recording.without(n), tmp_path)]
    assert [recording.calls[number].path for number in harmless] == HARMLESS[name]
    assert harmless[-1] == recording.flushes()[-1]


def _logged_moves(recording: Recording, calls: Sequence[Call]) -> set[int]:
    """Return how many lines the log may have when all calls have returned."""
    disk = Disk.holding(recording.before)
    for call in calls:
        disk.apply(call)
    return {len((dict(tree)["models/wine/champion.log"] or b"").splitlines()) for tree in disk.trees()}


def test_the_last_flush_of_all_keeps_the_line_in_the_log(recordings: Callable[[Scene], Recording]) -> None:
    """Without it the line may be gone, and none but the pointer knows of the move, until the next mover logs it."""
    recording = recordings(PUBLISHING)
    assert _logged_moves(recording, recording.calls) == {2}
    assert _logged_moves(recording, recording.without(recording.flushes()[-1])) == {1, 2}


def test_one_of_two_equivalent_flushes_is_needed(recordings: Callable[[Scene], Recording], tmp_path: Path) -> None:
    """Of two flushes that replace each other, one is needed."""
    recording = recordings(BEGINNING)
    one, other = [n for n in recording.flushes() if recording.calls[n].path == "models/wine"][:2]
    calls = [call for number, call in enumerate(recording.calls) if number not in (one, other)]
    assert not _is_harmless(recording, calls, tmp_path)


def test_a_writer_that_moves_before_it_flushes_is_found_out(
    recordings: Callable[[Scene], Recording], tmp_path: Path
) -> None:
    """Each flush of a file or a folder that is moved comes before its move, and would be of no use after it."""
    recording = recordings(PUBLISHING)
    for number, call in enumerate(recording.calls):
        if call.kind == "move":
            calls = [*recording.calls]
            calls[number - 1 : number + 1] = [call, Call("flush", call.target)]  # these two, exchanged
            assert recording.calls[number - 1].kind == "flush"
            assert not _is_harmless(recording, calls, tmp_path)
