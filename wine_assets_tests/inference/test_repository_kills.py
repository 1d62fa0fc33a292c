"""Writers that are killed in the middle, and many of them at once."""

import json
import multiprocessing
import os
import subprocess
import sys
from collections import Counter
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from wine_assets.errors import ConflictError
from wine_assets.inference import ModelRepository, Promotion
from wine_assets_tests.support.published_models import Publishable

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
KILLS, SOAK_KILLS = 100, 1_000
PROMOTERS = 20
ROUNDS, SOAK_ROUNDS = 20, 1_000
LONGEST_WAIT_S = 60
_together: dict[str, Barrier] = {}
"""A barrier can be inherited by a process, and not be sent to it."""


def _check_kills(repository: ModelRepository, source: ModelRepository, kills: int) -> None:
    program = [sys.executable, "-m", "wine_assets_tests.support.repository_killer"]
    done = subprocess.run(
        [*program, str(repository.folder), str(source.folder), str(kills), "1"],
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["kills"] == kills
    assert found["orphaned"] > found["rounds"] / 5, "many were killed in the middle of writing"
    assert found["unlogged"] > found["rounds"] / 50, "some were killed between moving the pointer and logging it"
    assert found["promoted"] > found["rounds"] / 10, "and many got to move it"
    assert found["versions_read"] > 1


@pytest.fixture
def source(tmp_path: Path, first: Publishable, second: Publishable) -> ModelRepository:
    """A repository of the two models that writers publish."""
    repository = ModelRepository(tmp_path / "source")
    first.publish(repository)
    second.publish(repository)
    return repository


def test_killed_writers_leave_whole_versions_alone(released: ModelRepository, source: ModelRepository) -> None:
    """No reader sees a torn version or a pointer to nothing, no move is lost, and the next writer tidies up."""
    _check_kills(released, source, KILLS)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_thousand_killed_writers_leave_whole_versions_alone(released: ModelRepository, source: ModelRepository) -> None:
    """The same holds for many more kills."""
    _check_kills(released, source, SOAK_KILLS)


def _light_processes() -> ForkServerContext:
    """Return what starts processes without imports: they are forked from one that has imported the repository."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["wine_assets.inference.repository", __name__])
    return context


def _gather(barrier: Barrier) -> None:
    _together["barrier"] = barrier


def _promote(folder: str, seen: Promotion, version: int) -> str:
    """Return who won: "I did", "another before me" or, where both looked before either wrote, "another by a hair"."""
    repository = ModelRepository(folder)
    _together["barrier"].wait(LONGEST_WAIT_S)
    try:
        repository.promote(version, expected=seen, by=f"process {os.getpid()}")
    except ConflictError as error:
        return "another by a hair" if "was changed in between" in str(error) else "another before me"
    return "I did"


def _rounds(repository: ModelRepository, rounds: int) -> None:
    """Have many processes promote from the same view at once, again and again: each time one wins."""
    processes = _light_processes()
    outcomes: Counter[str] = Counter()
    with processes.Pool(PROMOTERS, _gather, [processes.Barrier(PROMOTERS)]) as pool:
        for _ in range(rounds):
            seen = repository.champion()
            assert seen is not None
            attempt = (str(repository.folder), seen, 3 - seen.version)
            told = Counter(pool.starmap(_promote, [attempt] * PROMOTERS, chunksize=1))
            assert told["I did"] == 1, told
            outcomes += told
    history = repository.history()
    assert [move.serial for move in history] == list(range(1, rounds + 2))
    assert [move.version for move in history] == [1 + number % 2 for number in range(rounds + 1)]
    assert history[-1] == repository.champion()
    assert outcomes["another by a hair"] > 0, "some had looked before another wrote"


def _publish(folder: str, source: str, count: int) -> list[int]:
    model = ModelRepository(source).read(1)
    content, provenance = model.manifest.content, model.manifest.provenance
    _together["barrier"].wait(LONGEST_WAIT_S)
    return [ModelRepository(folder).publish(model.model, content, provenance) for _ in range(count)]


def test_publishers_at_once_get_numbers_of_their_own(released: ModelRepository, tmp_path: Path) -> None:
    """Each version has one publisher, and the repository holds all of them, whole."""
    processes = _light_processes()
    with processes.Pool(4, _gather, [processes.Barrier(4)]) as pool:
        published = pool.starmap(_publish, [(str(tmp_path / "new"), str(released.folder), 25)] * 4, chunksize=1)
    repository = ModelRepository(tmp_path / "new")
    assert sorted(number for numbers in published for number in numbers) == list(range(1, 101))
    assert repository.versions() == list(range(1, 101))
    assert all(repository.read(number).model == released.read(1).model for number in range(1, 101, 10))
    assert sorted(path.name for path in repository.folder.iterdir()) == [".lock", "config.json", "versions"]


@pytest.mark.timeout(280)
def test_one_of_twenty_promoters_at_once_wins_each_round(released: ModelRepository, second: Publishable) -> None:
    """The others are refused, and the history holds each winner's move."""
    second.publish(released)
    _rounds(released, ROUNDS)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_one_of_twenty_promoters_wins_each_of_a_thousand_rounds(released: ModelRepository, second: Publishable) -> None:
    """The history holds each of a thousand moves."""
    second.publish(released)
    _rounds(released, SOAK_ROUNDS)
