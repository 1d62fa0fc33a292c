import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from wine_assets.search.backends import pool
from wine_assets.search.backends.pool import PoolBackend
from wine_assets.search.objective import Direction
from wine_assets.search.space import Candidate
from wine_assets.search.study import Budget, Study
from wine_assets.search.trials import TrialResult
from wine_assets.search.workers import fork_server_client
from wine_assets_tests.support import fake_family
from wine_assets_tests.support.fake_family import FOLDS, Act, fits, pids
from wine_assets_tests.support.processes import all_gone, descendants, eventually

pytestmark = pytest.mark.process

FIT: Act = "fit"
WAIT: Act = "wait"


class Acts:
    """Candidates that do as they are told, one after the other."""

    prunes = learns = False

    def __init__(self, trace: Path, *acts: Act) -> None:
        self._trace, self._acts = str(trace), acts
        self.size: int | None = len(acts)

    def ask(self, number: int) -> Candidate | None:
        if number >= len(self._acts):
            return None
        return Candidate(fake_family.NAME, {"x": number / 1000, "act": self._acts[number], "trace": self._trace})

    def tell(self, outcome: TrialResult) -> None:
        pass


class WaitsUntilWorkersFit(Acts):
    """Trials of a search that ends once two workers have fitted, however long they take to start."""

    def __init__(self, trace: Path) -> None:
        super().__init__(trace)
        self.size = None

    def ask(self, number: int) -> Candidate | None:
        if len({*pids(Path(self._trace))} - {os.getpid()}) == 2:
            return None
        return Candidate(fake_family.NAME, {"x": 1 / (number + 1), "act": WAIT, "trace": self._trace})


def searched(strategy: Acts, workers: int, retries: int = 0, **limits: Any) -> list[TrialResult]:
    before = {*descendants()}
    study = Study(strategy, Budget(), retries, Direction.MINIMIZE)
    PoolBackend(workers=workers).run(study, fake_family.trial_context(**limits))
    eventually(lambda: all_gone({*descendants()} - before))
    return study.results()


def test_a_search_that_is_done_sooner_without_workers_has_none(trace: Path) -> None:
    found = searched(Acts(trace, *itertools.repeat(FIT, 50), "raise"), 2)
    assert [outcome.state for outcome in found] == [*["finished"] * 50, "failed"]
    assert {*pids(trace)} == {os.getpid()}


def test_one_worker_is_this_process(trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "STARTUP_S", 0.0)
    assert len(searched(Acts(trace, *itertools.repeat(WAIT, 4)), 1)) == 4
    assert {*pids(trace)} == {os.getpid()}


def test_a_longer_search_goes_on_in_workers_once_they_are_ready(trace: Path) -> None:
    """Until then this process computes; each trial is fitted once, wherever."""
    found = searched(WaitsUntilWorkersFit(trace), 2)
    assert [outcome.number for outcome in found] == [*range(len(found))]
    assert {*fits(trace).values()} == {FOLDS}
    assert {*pids(trace)[: 2 * FOLDS]} == {os.getpid()}
    assert os.getpid() not in pids(trace)[-FOLDS:]


def test_a_search_takes_workers_that_began_to_load_before(trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes them however little is left to do, and this process computes until they are ready."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(pool, "_pays", lambda *_: False)
    fork_server_client.preload()
    found = searched(WaitsUntilWorkersFit(trace), 2)
    assert [outcome.number for outcome in found] == [*range(len(found))]
    assert {*fits(trace).values()} == {FOLDS}
    assert not fork_server_client.is_preloaded()


@pytest.mark.parametrize(("acts", "workers"), [((WAIT, WAIT), 1), ((), 2)], ids=["one worker", "nothing to do"])
def test_workers_that_have_loaded_before_are_left_where_they_are_of_no_use(
    trace: Path, monkeypatch: pytest.MonkeyPatch, acts: tuple[Act, ...], workers: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    fork_server_client.preload()
    try:
        assert len(searched(Acts(trace, *acts), workers)) == len(acts)
        assert fork_server_client.is_preloaded()
    finally:
        fork_server_client.discard()


def test_with_limits_workers_run_every_trial_and_failures_are_values(trace: Path) -> None:
    found = searched(Acts(trace, "fit", "die", "hang", "fit", "allocate", "fit"), 2, 1, timeout_s=2.0, memory_mib=128)
    assert [outcome.state for outcome in found] == ["finished", "failed", "failed", "finished", "failed", "finished"]
    assert [outcome.attempt for outcome in found] == [1, 2, 2, 1, 2, 1]
    assert os.getpid() not in pids(trace)


@pytest.mark.parametrize(
    ("seconds", "waited", "left", "workers", "pays"),
    [
        (1.0, 0.0, 100, 2, True),
        (0.001, 0.0, 100, 2, False),
        (0.001, 0.0, 100_000, 2, True),
        (1.0, 0.0, 100, 1, False),
        (1.0, 9.0, 0, 2, False),
        (0.001, 0.0, None, 2, True),
        (0.001, 1.1, 3, 2, True),
        (1.0, 0.0, 4, 2, False),
    ],
)
def test_workers_pay_where_what_is_left_takes_longer_than_they_take_to_start(
    seconds: float,
    waited: float,
    left: int | None,
    workers: int,
    pays: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    assert pool._pays(seconds, waited, left, workers) == pays
