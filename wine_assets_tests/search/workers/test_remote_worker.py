import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wine_assets.search.workers import remote_worker
from wine_assets.search.workers.remote_worker import release, run_trial
from wine_assets_tests.support import fake_family
from wine_assets_tests.support.fake_family import pids, trial
from wine_assets_tests.support.processes import all_gone, descendants, eventually

pytestmark = pytest.mark.process
CONTEXT = fake_family.trial_context()


@pytest.fixture(scope="module", autouse=True)
def _nothing_left() -> Iterator[None]:
    before = {*descendants()}
    yield
    release()
    eventually(lambda: all_gone({*descendants()} - before))


def test_a_thread_keeps_its_worker_for_the_search_and_has_another_one_for_another_search(trace: Path) -> None:
    for search in ("one", "one", "two"):
        assert run_trial(trial(0, trace=str(trace)), CONTEXT, search).state == "finished"
    first, second = dict.fromkeys(pids(trace))
    assert pids(trace) == [first] * 2 * fake_family.FOLDS + [second] * fake_family.FOLDS
    eventually(lambda: all_gone([first]))


def test_each_thread_has_a_worker_of_its_own(trace: Path) -> None:
    run_trial(trial(0, trace=str(trace)), CONTEXT, "two")
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(run_trial, trial(1, trace=str(trace)), CONTEXT, "two").result().state == "finished"
    run_trial(trial(2, trace=str(trace)), CONTEXT, "two")
    one, other = dict.fromkeys(pids(trace))
    assert pids(trace) == [*[one] * fake_family.FOLDS, *[other] * fake_family.FOLDS, *[one] * fake_family.FOLDS]


def test_a_trial_whose_processes_are_all_killed_has_failed_and_the_next_one_has_new_ones(trace: Path) -> None:
    """As when a scheduler's worker runs out of memory, and the system picks the process that ours come from."""
    run_trial(trial(0), CONTEXT, "two")
    _, workers = remote_worker._mine.workers

    def kill() -> None:
        eventually(lambda: pids(trace))
        os.kill(workers._fork_server.pid, signal.SIGKILL)

    with ThreadPoolExecutor(1) as threads:
        killed = threads.submit(kill)
        found = run_trial(trial(1, "hang", trace=str(trace)), CONTEXT, "two")
        killed.result()
    assert found.state == "failed"
    assert "workers come from ended, killed by SIGKILL" in found.reason
    trace.unlink()
    assert run_trial(trial(2, trace=str(trace)), CONTEXT, "two").state == "finished"
    release()
    eventually(lambda: all_gone(pids(trace)))


def test_workers_that_can_not_be_started_are_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    found = run_trial(trial(0), CONTEXT, "three")
    assert found.state == "failed"
    assert "ended, with status 1" in found.reason
