"""A publisher and promoter whose system calls fail, one of them at a time.

    python -m wine_assets_tests.support.repository_faults BEFORE SOURCE FOLDER ERRORS

BEFORE is copied into FOLDER for each call, which fails with up to ERRORS kinds of error. A process of its own with a
single thread, so that it can be forked; strace has the kernel answer the child's call. Prints what it found as JSON.
"""

import json
import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from wine_assets.errors import WineAssetsError
from wine_assets.files import TEMPORARY_PREFIX
from wine_assets.inference import ModelRepository, Predictor
from wine_assets.inference.repository_reader import StoredModel

READING = ("read", "getdents64", "newfstatat")
WRITING = ("mkdir", "write", "fsync", "flock", "rename", "unlink", "unlinkat", "rmdir")
CALLS = ",".join(["openat", *READING, *WRITING])
_LINE = re.compile(r"^(\w+)\((.*)\) += (.*)$")
_RANDOM = re.compile(r"-[0-9a-f]{16}")


class Call(NamedTuple):
    """The so-many-th call of a kind that a writer makes, and what it is about."""

    name: str
    number: int
    about: str


@dataclass
class Found:
    """What came of one call that failed."""

    call: str
    error: str
    was_injected: bool
    outcome: str
    """Empty where the writer did what it was to do, else the error that it raised."""
    is_sentence: bool
    """Whether the error is one of this project or of the system."""
    champion: int
    versions: list[int]
    wrong: list[str]
    afterwards: list[str]
    """What is wrong once the next writer has come and gone."""


def main(before: Path, source: Path, folder: Path, errors: int) -> list[Found]:
    """Let each call of a publish and a promotion fail, in some or all of the ways that fit it, which take turns."""
    model, place = ModelRepository(source).read(1), folder / "wine"
    _, trace = _attempt(before, place, model, [])
    found = []
    for call in _calls(trace, place):
        fitting = _errors(call)
        turns = [fitting[(call.number + turn) % len(fitting)] for turn in range(min(errors, len(fitting)))]
        found += [_tried(before, place, model, call, error) for error in turns]
    return found


def _errors(call: Call) -> tuple[str, ...]:
    """Return the errors that such a call can end with; a disk isn't full for a reader."""
    if call.name in READING:
        return ("EIO",)
    if call.name == "openat" and "O_CREAT" not in call.about:
        return ("EACCES", "EIO")
    return ("ENOSPC", "EACCES", "EIO")


def _calls(trace: str, place: Path) -> Iterator[Call]:
    """Yield the calls that are about the repository, each numbered among all of its kind."""
    counts: dict[str, int] = {}
    for match in filter(None, map(_LINE.match, trace.splitlines())):
        counts[match[1]] = counts.get(match[1], 0) + 1
        if str(place) in match[2] and "AT_EMPTY_PATH" not in match[2]:  # which asks only how much to read at once
            yield Call(match[1], counts[match[1]], match[2].replace(str(place), ""))


def _tried(before: Path, place: Path, model: StoredModel, call: Call, error: str) -> Found:
    inject = ["-e", f"inject={call.name}:error={error}:when={call.number}"]
    told, trace = _attempt(before, place, model, inject)
    injected = [line for line in trace.splitlines() if "INJECTED" in line]
    repository = ModelRepository(place)
    wrong, champion = _wrong(repository), repository.champion()
    found = Found(
        f"{call.name} {call.number}: {_RANDOM.sub('', call.about)}",
        error,
        len(injected) == 1 and str(place) in injected[0],
        told["error"].replace(str(place), "PLACE"),
        told["is_sentence"],
        champion.version if champion else 0,
        repository.versions(),
        wrong,
        [],
    )
    _write(repository, model)
    found.afterwards = _wrong(repository) + [f"{path} is left" for path in place.rglob(f"{TEMPORARY_PREFIX}*")]
    return found


def _attempt(before: Path, place: Path, model: StoredModel, inject: list[str]) -> tuple[dict[str, Any], str]:
    """Have a child write to a copy of `before` under strace; return what it told, and the trace."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(before, place)
    trace = place.with_name("trace")
    (to_go, go), (told, tell) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        select.select([to_go], [], [])  # no call of a kind that is counted, which may or may not have begun before
        _told(ModelRepository(place), model, tell)
    os.close(tell)
    command = ["strace", "-y", "-s", "0", "-e", f"trace={CALLS}", *inject, "-o", str(trace), "-p", str(child)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        attached = tracer.stderr.readline()
        os.write(go, b"g")
        answer = b"".join(iter(lambda: os.read(told, 1 << 16), b""))
        os.waitpid(child, 0)
        assert "attached" in attached, attached
    for descriptor in (to_go, go, told):
        os.close(descriptor)
    return json.loads(answer), trace.read_text()


def _told(repository: ModelRepository, model: StoredModel, tell: int) -> None:
    """Write, tell how that ended, and end."""
    error, is_sentence = "", True
    try:
        _write(repository, model)
    except BaseException as raised:  # noqa: BLE001 - whatever it is, it is looked at
        error, is_sentence = f"{type(raised).__name__}: {raised}", isinstance(raised, OSError | WineAssetsError)
    os.write(tell, json.dumps({"error": error, "is_sentence": is_sentence}).encode())
    os._exit(0)


def _write(repository: ModelRepository, model: StoredModel) -> None:
    content = model.manifest.content
    version = repository.publish(model.model, content, model.manifest.provenance, b"<!doctype html>")
    repository.promote(version, expected=repository.champion(), by="a writer")


def _wrong(repository: ModelRepository) -> list[str]:
    """Return what is wrong with any version, with the champion, or with how it came to be."""
    try:
        champion, history = repository.champion(), repository.history()
        Predictor.of(repository.read())
        for version in repository.versions():
            repository.verify(version)
    except WineAssetsError as error:
        return [str(error)]
    if [move.serial for move in history] != list(range(1, len(history) + 1)):
        return ["the history has a gap"]
    return [] if history[-1] == champion else ["the history doesn't end with the champion"]


if __name__ == "__main__":
    whole, other, empty, most = sys.argv[1:]
    json.dump([asdict(found) for found in main(Path(whole), Path(other), Path(empty), int(most))], sys.stdout)
