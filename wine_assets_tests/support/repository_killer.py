"""Publishers and promoters that are killed at random points of their work, while somebody reads.

    python -m wine_assets_tests.support.repository_killer REPOSITORY SOURCE KILLS SEED

A process of its own with a single thread, so that it can be forked. Prints what it found as JSON.
"""

import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NoReturn

from wine_assets.errors import ConflictError, WineAssetsError
from wine_assets.files import TEMPORARY_PREFIX
from wine_assets.inference import ModelRepository, Predictor, Promotion
from wine_assets.inference.repository_reader import LOG, VERSIONS, StoredModel

WRITERS = 2
"""That are at work, and killed, at the same time."""
CYCLES = 1.5
"""A writer is killed at a random one of the events in so many times a publish and a promotion."""
_EVENTS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "fcntl.flock"}
"""Python's audit events that count: what opens, moves or locks a file."""
KEPT = 5
EVERY = 5


@dataclass
class Found:
    """What was found, in rounds: in each of them all writers are killed."""

    rounds: int = 0
    kills: int = 0
    orphaned: int = 0
    """Rounds that left a hidden file or folder."""
    unlogged: int = 0
    """Rounds that left a pointer which had moved and wasn't logged yet."""
    promoted: int = 0
    """Rounds in which the champion changed."""
    acknowledged: int = 0
    """Promotions that returned to a writer before it was killed."""
    published: int = 0
    """Versions altogether."""
    wrong: list[str] = field(default_factory=list)
    reads: int = 0
    versions_read: int = 0


class Progress:
    """How many events there were in this process, and at which of them it kills itself."""

    count = 0
    last: int | None = None

    @classmethod
    def on_event(cls, name: str, _: object) -> None:
        """Count an event just before it happens; Python calls this for each."""
        if name in _EVENTS:
            if cls.count == cls.last:
                os.kill(os.getpid(), signal.SIGKILL)
            cls.count += 1


@dataclass(frozen=True)
class Writer:
    """A process that publishes and promotes, on and on, until it kills itself, and tells each move that it made."""

    process: int
    told: int

    def wait(self) -> list[str]:
        """Wait until it has killed itself; return what it told, or raise when it ended otherwise."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        if status != -signal.SIGKILL:
            raise AssertionError(f"a writer ended with {status}")
        told = _all(self.told).decode()
        os.close(self.told)
        return told.split("\n")[1:-1]  # what comes first is that it began


def main(folder: str, source: str, kills: int, seed: int) -> Found:
    """Kill so many writers of a repository, look at it after each round, and tell what was found."""
    repository, models = ModelRepository(folder), [ModelRepository(source).read(number) for number in (1, 2)]
    found = Found()
    stop, told = _reading(repository)
    points = random.Random(seed)  # noqa: S311 - when to kill is no secret
    sys.addaudithook(Progress.on_event)
    cycle = _tidied(repository, models[0], found)
    while found.kills < kills:
        _round(repository, models, [points.randrange(round(CYCLES * cycle)) for _ in range(WRITERS)], found)
        if found.rounds % EVERY == 0:
            found.wrong += _wrong_versions(repository)
            cycle = _tidied(repository, models[0], found)
            repository.prune(KEPT)
    _tidied(repository, models[0], found)
    found.published = max(repository.versions())
    os.write(stop, b"s")
    found.reads, found.versions_read, wrong = json.loads(_all(told))
    found.wrong += wrong
    return found


def _round(repository: ModelRepository, models: list[StoredModel], points: list[int], found: Found) -> None:
    """Start writers, each of which kills itself at its event, and look at what they left."""
    before, there = repository.champion(), {*repository.versions()}
    writers = [_writing(repository, models, point) for point in points]
    told = [line for writer in writers for line in writer.wait()]
    found.rounds += 1
    found.kills += len(writers)
    found.acknowledged += len(told)
    found.orphaned += bool(_hidden(repository))
    champion = repository.champion()
    found.unlogged += champion is not None and _logged(repository) < champion.serial
    found.promoted += champion != before
    found.wrong += [
        *_wrong(repository, told),
        *(f"version {gone} is gone" for gone in there - {*repository.versions()}),
    ]


def _writing(repository: ModelRepository, models: list[StoredModel], point: int) -> Writer:
    """Start a writer; return it once it is at work."""
    assert len([*Path("/proc/self/task").iterdir()]) == 1, "a process with threads can't be forked"
    parent, (told, tell) = os.getpid(), os.pipe()
    process = os.fork()
    if process == 0:
        Progress.count, Progress.last = 0, point
        _write_on_and_on(repository, models, parent, tell)
    os.close(tell)
    assert os.read(told, 1) == b"\n"
    return Writer(process, told)


def _write_on_and_on(repository: ModelRepository, models: list[StoredModel], parent: int, tell: int) -> NoReturn:
    os.write(tell, b"\n")
    try:
        while os.getppid() == parent:
            for model in models:
                move = _written(repository, model)
                os.write(tell, f"{_told(move)}\n".encode() if move else b"")
    except BaseException:  # noqa: BLE001 - whatever it is, this process must not go on as its parent
        traceback.print_exc()
    os._exit(1)


def _written(repository: ModelRepository, model: StoredModel) -> Promotion | None:
    """Publish and promote a model; return the move, None when another writer was faster."""
    content = model.manifest.content
    version = repository.publish(model.model, content, model.manifest.provenance, b"<!doctype html>")
    try:
        return repository.promote(version, expected=repository.champion(), by=f"process {os.getpid()}")
    except ConflictError:
        return None


def _told(move: Promotion) -> str:
    return f"{move.serial} {move.version} {move.by}"


def _tidied(repository: ModelRepository, model: StoredModel, found: Found) -> int:
    """Publish and promote without being killed, which leaves nothing hidden; return how many events there were."""
    before = Progress.count
    move = _written(repository, model)
    events = Progress.count - before
    left = [f"{path} is left" for path in _hidden(repository)]
    found.wrong += [*left, *_wrong(repository, [_told(move)] if move else ["no move"])]
    return events


def _reading(repository: ModelRepository) -> tuple[int, int]:
    """Start a reader; return where to tell it to stop, and where it tells what it saw."""
    (told_to_stop, stop), (told, tell) = os.pipe(), os.pipe()
    if os.fork():
        os.close(told_to_stop)
        os.close(tell)
        return stop, told
    os.close(stop)
    os.set_blocking(told_to_stop, False)
    reads, serial, versions, wrong = 0, 0, set(), []
    while not _came(told_to_stop):
        try:
            versions.add(Predictor.of(repository.read()).version)
            history = repository.history()
            serial, seen_before = history[-1].serial, serial
            if not seen_before <= serial == len(history):
                wrong.append(f"read: {len(history)} moves up to {serial}, after {seen_before} were seen")
        except WineAssetsError as error:
            wrong.append(f"read: {error}")
        reads += 1
    os.write(tell, json.dumps([reads, len(versions), wrong[:5]]).encode())
    os._exit(0)


def _came(descriptor: int) -> bool:
    """Return whether something came, be it the end of who would have sent it."""
    try:
        os.read(descriptor, 1)
    except BlockingIOError:
        return False
    return True


def _all(descriptor: int) -> bytes:
    return b"".join(iter(lambda: os.read(descriptor, 1 << 16), b""))


def _wrong(repository: ModelRepository, told: list[str]) -> Iterator[str]:
    """Yield what is wrong with the champion and with how it came to be, given what writers were told."""
    try:
        champion, history = repository.champion(), repository.history()
        Predictor.of(repository.read())
    except WineAssetsError as error:
        yield str(error)
        return
    if [move.serial for move in history] != list(range(1, len(history) + 1)):
        yield "the history has a gap"
    if history[-1] != champion:
        yield "the history doesn't end with the champion"
    yield from (f"{move} was told and isn't in the history" for move in {*told} - {_told(move) for move in history})


def _wrong_versions(repository: ModelRepository) -> list[str]:
    wrong = []
    for version in repository.versions():
        try:
            repository.verify(version)
        except WineAssetsError as error:
            wrong.append(str(error))
    return wrong


def _logged(repository: ModelRepository) -> int:
    return len((repository.folder / LOG).read_bytes().splitlines())


def _hidden(repository: ModelRepository) -> list[Path]:
    folders = (repository.folder, repository.folder / VERSIONS)
    return [path for folder in folders for path in folder.glob(f"{TEMPORARY_PREFIX}*")]


if __name__ == "__main__":
    repository_folder, source_folder, count, chosen = sys.argv[1:]
    json.dump(asdict(main(repository_folder, source_folder, int(count), int(chosen))), sys.stdout)
