import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wine_assets.execution.trials import there
from wine_assets.execution.trials.there import release, run_there
from wine_assets_tests.execution.trials import acting
from wine_assets_tests.execution.trials.acting import pids, trial
from wine_assets_tests.execution.trials.processes import all_gone, descendants, eventually

WORKLOAD = acting.workload()


@pytest.fixture(scope="module", autouse=True)
def _nothing_left() -> Iterator[None]:
    before = {*descendants()}
    yield
    release()
    eventually(lambda: all_gone({*descendants()} - before))


def test_a_thread_keeps_its_worker_for_the_search(trace: Path) -> None:
    for number in range(3):
        assert run_there(trial(number, trace=str(trace)), WORKLOAD, "one").state == "finished"
    assert len({*pids(trace)}) == 1


def test_another_search_has_another_worker_and_the_first_one_s_is_gone(trace: Path) -> None:
    run_there(trial(0, trace=str(trace)), WORKLOAD, "one")
    run_there(trial(0, trace=str(trace)), WORKLOAD, "two")
    first, second = dict.fromkeys(pids(trace))
    assert first != second
    eventually(lambda: all_gone([first]))


def test_each_thread_has_a_worker_of_its_own(trace: Path) -> None:
    both = threading.Barrier(2)

    def run(number: int) -> str:
        both.wait()
        return run_there(trial(number, "wait", trace=str(trace)), WORKLOAD, "two").state

    with ThreadPoolExecutor(2) as threads:
        assert [*threads.map(run, range(2))] == ["finished"] * 2
    assert len({*pids(trace)}) == 2


def test_a_trial_whose_processes_are_all_killed_has_failed_and_the_next_one_has_new_ones(trace: Path) -> None:
    """As when a scheduler's worker runs out of memory, and the system picks the process that ours come from."""
    run_there(trial(0), WORKLOAD, "two")
    _, workers = there._mine.workers
    with ThreadPoolExecutor(1) as threads:

        def kill() -> None:
            eventually(lambda: pids(trace))
            os.kill(workers._template.pid, signal.SIGKILL)

        killed = threads.submit(kill)
        found = run_there(trial(1, "hang", trace=str(trace)), WORKLOAD, "two")
        killed.result()
    assert found.state == "failed"
    assert "workers come from ended, killed by SIGKILL" in found.reason
    assert run_there(trial(2), WORKLOAD, "two").state == "finished"


def test_releasing_ends_all_of_them_and_they_begin_anew_when_needed(trace: Path) -> None:
    run_there(trial(0, trace=str(trace)), WORKLOAD, "two")
    release()
    eventually(lambda: all_gone(pids(trace)))
    assert run_there(trial(1, trace=str(trace)), WORKLOAD, "two").state == "finished"


def test_workers_that_can_not_be_started_are_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    found = run_there(trial(0), WORKLOAD, "three")
    assert found.state == "failed"
    assert "ended, with status 1" in found.reason
