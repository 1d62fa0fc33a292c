"""Writers that are killed in the middle, and many of them at once."""

import json
import multiprocessing
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from wine_assets.errors import ConflictError
from wine_assets.inference import ModelRepository, Promotion
from wine_assets_tests.inference.published import Publishable

ROOT = Path(__file__).parents[2]
KILLS = 500
PROMOTERS = 20


@pytest.mark.timeout(280)
def test_five_hundred_killed_writers_leave_whole_versions_alone(
    released: ModelRepository, first: Publishable, second: Publishable, tmp_path: Path
) -> None:
    """No reader sees a torn version or a pointer to nothing, no move is lost, and the next writer tidies up."""
    source = ModelRepository(tmp_path / "source")
    first.publish(source)
    second.publish(source)
    program = [sys.executable, "-m", "wine_assets_tests.inference.repository_killing"]
    done = subprocess.run(
        [*program, str(released.folder), str(source.folder), str(KILLS), "1"],
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=270,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["wrong"], found["read"]["wrong"], found["left"]) == ([], [], [])
    assert found["read"]["reads"] > KILLS / 10
    assert found["read"]["versions"] > 1
    assert found["orphans"] > KILLS / 20, "many were killed in the middle of writing"
    assert found["unlogged"] > 0, "some were killed between moving the pointer and logging it"
    assert found["promoted"] > KILLS / 20, "and many got to move it"


def _promote(folder: str, seen: Promotion | None, version: int) -> bool:
    try:
        ModelRepository(folder).promote(version, expected=seen, by=f"process {os.getpid()}")
    except ConflictError:
        return False
    return True


def _rounds(repository: ModelRepository, rounds: int) -> None:
    """Have many processes promote from the same view at once, again and again: each time one wins."""
    with multiprocessing.get_context("spawn").Pool(PROMOTERS) as pool:
        for _ in range(rounds):
            seen = repository.champion()
            assert seen is not None
            other = 3 - seen.version
            won = pool.starmap(_promote, [(str(repository.folder), seen, other)] * PROMOTERS, chunksize=1)
            assert Counter(won) == {True: 1, False: PROMOTERS - 1}
    history = repository.history()
    assert [move.serial for move in history] == list(range(1, rounds + 2))
    assert history[-1] == repository.champion()


@pytest.mark.timeout(280)
def test_of_twenty_promoters_at_once_one_wins_each_round(released: ModelRepository, second: Publishable) -> None:
    second.publish(released)
    _rounds(released, 30)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_of_twenty_promoters_at_once_one_wins_each_of_a_thousand_rounds(
    released: ModelRepository, second: Publishable
) -> None:
    second.publish(released)
    _rounds(released, 1_000)
