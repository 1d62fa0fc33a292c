import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from wine_assets.errors import FailedSearchError
from wine_assets.search.trial_context import TrialContext
from wine_assets.search.trials import Trial, TrialResult
from wine_assets.search.workers.processes import Workers
from wine_assets_tests.support import fake_family
from wine_assets_tests.support.fake_family import ALLOCATED_MIB, pids, trial
from wine_assets_tests.support.processes import all_gone, descendants, eventually, is_running

pytestmark = pytest.mark.process

TIMEOUT_S, MEMORY_MIB = 2.0, 128


@contextlib.contextmanager
def started(context: TrialContext, count: int) -> Iterator[Workers]:
    """Workers that are ready; closing them leaves no process, though one of them is in the middle of a trial."""
    before = {*descendants()}
    with Workers(context, count) as workers:
        assert workers.ready(None)
        own = {*descendants()} - before
        yield workers
        if is_running(workers._fork_server.pid):
            workers.begin(trial(0, "hang"))
    eventually(lambda: all_gone(own))


@pytest.fixture(scope="module")
def free() -> Iterator[Workers]:
    """Two workers without limits, which all tests of the module share."""
    with started(fake_family.trial_context(), 2) as workers:
        yield workers


@pytest.fixture(scope="module")
def limited() -> Iterator[Workers]:
    """Two workers with limits of time and memory."""
    with started(fake_family.trial_context(timeout_s=TIMEOUT_S, memory_mib=MEMORY_MIB), 2) as workers:
        yield workers


@pytest.fixture
def workers(free: Workers) -> Iterator[Workers]:
    yield free
    assert (free.running, free.free) == ([], 2)


def outcomes(workers: Workers, *trials: Trial) -> list[TrialResult]:
    """Return what comes of trials, by number."""
    waiting, found = [*trials], list[TrialResult]()
    while waiting or workers.running:
        while waiting and workers.free:
            workers.begin(waiting.pop(0))
        found += workers.wait()
    return sorted(found, key=lambda outcome: outcome.number)


# --- trials ------------------------------------------------------------------


def test_a_trial_comes_to_what_it_comes_to_in_this_process(workers: Workers) -> None:
    expected = fake_family.trial_context().objective().score(trial(3, x=0.25))
    [found] = outcomes(workers, trial(3, x=0.25))
    assert (found.state, found.scores) == ("finished", expected.scores)
    assert found.seconds > 0


def test_workers_run_trials_beside_each_other_and_are_kept(workers: Workers, trace: Path) -> None:
    found = outcomes(workers, *(trial(number, "wait", trace=str(trace)) for number in range(6)))
    assert [outcome.number for outcome in found] == [*range(6)]
    assert len({*pids(trace)}) == 2
    assert os.getpid() not in pids(trace)


def test_a_trial_that_is_begun_is_running_until_it_has_come_to_something(workers: Workers) -> None:
    asked = trial(1, "wait")
    workers.begin(asked)
    assert (workers.running, workers.free) == ([asked], 1)
    assert workers.wait(0.0) == []
    assert [outcome.number for outcome in eventually(workers.wait)] == [1]


# --- failures ----------------------------------------------------------------


def test_a_trial_that_raises_fails_and_its_worker_goes_on(workers: Workers, trace: Path) -> None:
    found = outcomes(workers, *(trial(number, "raise", trace=str(trace)) for number in range(4)))
    assert {outcome.reason for outcome in found} == {"LookupError: It was told to."}
    assert len({*pids(trace)}) <= 2


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("die", "Its process ended in the middle, killed by SIGKILL, as the system does when memory runs out."),
        ("exit", "Its process ended in the middle, with status 7."),
        ("overflow", "A fold's predictions aren't all finite. Narrow the space."),
    ],
)
def test_what_a_process_dies_of_is_the_outcome_of_its_trial_and_no_other_one_s(
    workers: Workers, act: fake_family.Act, reason: str
) -> None:
    found = outcomes(workers, trial(0), trial(1, act), trial(2), trial(3, act), trial(4))
    assert [outcome.state for outcome in found] == ["finished", "failed", "finished", "failed", "finished"]
    assert found[1].reason.startswith(reason)


def test_a_worker_that_somebody_kills_during_a_trial_is_replaced(workers: Workers, trace: Path) -> None:
    workers.begin(trial(7, "hang", trace=str(trace)))
    [victim] = eventually(lambda: pids(trace))
    os.kill(victim, signal.SIGTERM)
    [found] = eventually(workers.wait)
    assert (found.number, found.state) == (7, "failed")
    assert found.reason == "Its process ended in the middle, killed by SIGTERM."
    assert outcomes(workers, trial(8))[0].state == "finished"


def test_a_worker_that_dies_while_it_has_nothing_to_do_costs_no_trial(workers: Workers, trace: Path) -> None:
    outcomes(workers, *(trial(number, "wait", trace=str(trace)) for number in range(2)))
    idle = {*pids(trace)}
    for pid in idle:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: all_gone(idle))
    found = outcomes(workers, *(trial(number) for number in range(4)))
    assert [outcome.state for outcome in found] == ["finished"] * 4


# --- limits ------------------------------------------------------------------


def test_a_trial_that_hangs_is_stopped_and_those_beside_it_go_on(limited: Workers, trace: Path) -> None:
    began = time.monotonic()
    found = outcomes(limited, trial(0, "hang", trace=str(trace)), *(trial(number) for number in range(1, 5)))
    assert [outcome.state for outcome in found] == ["failed", *["finished"] * 4]
    assert found[0].reason == f"It took longer than {TIMEOUT_S:g} s (`failures.timeout_s`)."
    assert TIMEOUT_S <= found[0].seconds <= time.monotonic() - began
    eventually(lambda: all_gone(pids(trace)))


def test_what_a_trial_took_before_counts_as_its_time(limited: Workers) -> None:
    [found] = outcomes(limited, msgspec.structs.replace(trial(0, "hang"), spent_s=TIMEOUT_S - 0.1))
    assert "took longer" in found.reason
    assert found.seconds < TIMEOUT_S


def test_a_trial_that_ends_as_its_time_does_spoils_no_other(limited: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its outcome comes when its process is being killed already: the next trial has another process."""
    limited.begin(trial(0))
    worker = next(worker for worker in limited._workers if worker.trial is not None)
    eventually(worker.connection.poll)
    worker.began -= TIMEOUT_S
    limited._stop_late([worker])
    found = [*eventually(limited.wait), *outcomes(limited, trial(1), trial(2), trial(3))]
    assert [outcome.state for outcome in found] == ["failed", "finished", "finished", "finished"]
    assert "took longer" in found[0].reason


def test_a_trial_that_takes_more_memory_than_it_may_fails(limited: Workers) -> None:
    [found] = outcomes(limited, trial(0, "allocate"))
    assert found.state == "failed"
    assert f"more than `failures.memory_mib` ({MEMORY_MIB}) allows" in found.reason
    assert found.memory_mib > ALLOCATED_MIB * 0.9


def test_a_trial_that_takes_memory_without_a_limit_is_measured(workers: Workers) -> None:
    [found] = outcomes(workers, trial(0, "allocate"))
    assert found.state == "finished"
    assert found.memory_mib > ALLOCATED_MIB * 0.9


# --- beginning and end -------------------------------------------------------


def test_a_template_that_is_killed_ends_the_search_with_a_sentence_and_its_workers_with_it(trace: Path) -> None:
    with started(fake_family.trial_context(), 2) as workers:
        workers.begin(trial(0, "hang", trace=str(trace)))
        eventually(lambda: pids(trace))
        os.kill(workers._fork_server.pid, signal.SIGKILL)
        with pytest.raises(FailedSearchError, match="workers come from ended, killed by SIGKILL, as the system does"):
            workers.wait()
        eventually(lambda: all_gone(pids(trace)))
        with pytest.raises(FailedSearchError, match="workers come from ended"):
            workers._started()


def test_a_template_that_can_not_load_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with (
        Workers(fake_family.trial_context(), 1) as workers,
        pytest.raises(FailedSearchError, match=r"ended, with status 1\. Look at what it wrote to standard error"),
    ):
        workers.ready(None)


def test_starting_does_not_wait() -> None:
    """This process has something to do while workers load what they need."""
    with Workers(fake_family.trial_context(), 1) as workers:
        assert not workers.ready()
        assert not workers.ready(0.01)
        assert workers.free == 0


def test_workers_compute_with_one_thread_each(workers: Workers, trace: Path) -> None:
    outcomes(workers, trial(0, trace=str(trace)))
    environment = psutil.Process(pids(trace)[0]).environ()
    assert {environment[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {"1"}


def test_an_interruption_by_the_keyboard_is_left_to_the_parent(workers: Workers, trace: Path) -> None:
    """Ctrl-C goes to all processes of a terminal."""
    workers.begin(trial(0, "wait", trace=str(trace)))
    [pid] = eventually(lambda: pids(trace)[:1])
    os.kill(pid, signal.SIGINT)
    os.kill(workers._fork_server.pid, signal.SIGINT)
    assert eventually(workers.wait)[0].state == "finished"
    assert is_running(workers._fork_server.pid)
