"""Publishers and promoters that are killed at random moments, while somebody reads.

    python -m wine_assets_tests.inference.repository_killing REPOSITORY SOURCE KILLS SEED

A process of its own with a single thread, so that it can be forked. Prints what it found as JSON.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from wine_assets.errors import WineAssetsError
from wine_assets.files import TEMPORARY_PREFIX
from wine_assets.inference import ModelRepository, Predictor

LONGEST_S = 0.02
KEPT = 5
EVERY = 10


def main(folder: str, source: str, kills: int, seed: int) -> dict[str, Any]:
    """Kill so many writers of a repository, look at it after each, and tell what was found."""
    repository, models = ModelRepository(folder), [ModelRepository(source).read(number) for number in (1, 2)]
    moments = random.Random(seed)  # noqa: S311 - when to kill is no secret
    stop, told = _reading(repository)
    found: dict[str, Any] = {"orphans": 0, "unlogged": 0, "published": 0, "promoted": 0, "wrong": []}
    before = repository.champion()
    for number in range(kills):
        _killed(repository, models, moments.uniform(0, LONGEST_S))
        found["wrong"] += _wrong(repository)
        found["orphans"] += bool(_hidden(repository))
        found["unlogged"] += _logged(repository) < (champion := repository.champion()).serial  # type: ignore[union-attr]
        found["promoted"] += champion != before
        before = champion
        if number % EVERY == 0:
            found["published"] = max(repository.versions())
            found["wrong"] += _wrong_versions(repository)
            repository.prune(KEPT)
    _written(repository, models[0])
    os.write(stop, b"s")
    found["left"] = _hidden(repository)
    found["read"] = json.loads(_all(told))
    return found


def _killed(repository: ModelRepository, models: list[Any], after_s: float) -> None:
    """Start a writer that goes on and on, and kill it."""
    ready, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, b"r")
        while True:
            for model in models:
                _written(repository, model)
    os.read(ready, 1)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ready)
    os.close(writer)


def _written(repository: ModelRepository, model: Any) -> None:
    content = model.manifest.content
    version = repository.publish(model.model, content, model.manifest.provenance, b"<!doctype html>")
    repository.promote(version, expected=repository.champion(), by="a writer")


def _reading(repository: ModelRepository) -> tuple[int, int]:
    """Start a reader; return where to tell it to stop, and where it tells what it saw."""
    told_to_stop, stop = os.pipe()
    told, tell = os.pipe()
    if os.fork():
        os.close(tell)
        return stop, told
    os.set_blocking(told_to_stop, False)
    reads, versions, wrong = 0, set(), []
    while not _came(told_to_stop):
        try:
            versions.add(Predictor.of(repository.read()).version)
        except WineAssetsError as error:
            wrong.append(str(error))
        reads += 1
    os.write(tell, json.dumps({"reads": reads, "versions": len(versions), "wrong": wrong[:5]}).encode())
    os._exit(0)


def _came(descriptor: int) -> bool:
    try:
        return bool(os.read(descriptor, 1))
    except BlockingIOError:
        return False


def _all(descriptor: int) -> bytes:
    return b"".join(iter(lambda: os.read(descriptor, 1 << 16), b""))


def _wrong(repository: ModelRepository) -> list[str]:
    """Return what is wrong with the champion and with how it came to be."""
    try:
        champion, history = repository.champion(), repository.history()
        Predictor.of(repository.read())
    except WineAssetsError as error:
        return [str(error)]
    if [move.serial for move in history] != list(range(1, len(history) + 1)):
        return ["the history has a gap"]
    return [] if history[-1] == champion else ["the history doesn't end with the champion"]


def _wrong_versions(repository: ModelRepository) -> list[str]:
    wrong = []
    for version in repository.versions():
        try:
            repository.verify(version)
        except WineAssetsError as error:
            wrong.append(str(error))
    return wrong


def _logged(repository: ModelRepository) -> int:
    return len((repository.folder / "champion.log").read_bytes().splitlines())


def _hidden(repository: ModelRepository) -> list[str]:
    folders = (repository.folder, repository.folder / "versions")
    return [str(path) for folder in folders for path in Path(folder).glob(f"{TEMPORARY_PREFIX}*")]


if __name__ == "__main__":
    repository_folder, source_folder, count, chosen = sys.argv[1:]
    print(json.dumps(main(repository_folder, source_folder, int(count), int(chosen))))  # noqa: T201 - its answer
