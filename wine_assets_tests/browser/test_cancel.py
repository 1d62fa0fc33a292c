"""Searches that Dagster runs, terminated from the UI, or killed, in the middle of fits that take minutes."""

import time
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from sklearn.datasets import load_wine

from wine_assets_tests.support.dagster_server import Server
from wine_assets_tests.support.processes import PATIENCE_S, eventually

# One worker runs the whole group, so that there is one server to start.
pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(900)]

SHORT = 4
FITS = [*range(10, 10 + SHORT), *range(999_990, 1_000_000)]
"""Iterations of each trial: the first few take moments; a fold of the others is one call of native code that takes
longer than any test waits."""
COPIES = 20
"""How often each row stands in the data: enough for the fits to take that long."""
AT_WORK_S = 0.5
"""Processor time that a process takes within a fit, and not while it only waits."""
BACKENDS: dict[str, dict[str, Any]] = {
    "its own process": {"backend": {"pool": {"workers": 2}}},
    "pool": {"backend": {"pool": {"workers": 2}}, "failures": {"timeout_s": 3600.0}},
    "dask": {"backend": {"dask": {"workers": 2}}},
    "ray": {"backend": {"ray": {"workers": 2, "batch_trials": 1}}},
}
SEEDS = count()


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "wine.csv"
    pd.concat([load_wine(as_frame=True).frame] * COPIES).to_csv(path, index=False)
    return path


@pytest.fixture(params=[*BACKENDS.values()], ids=[*BACKENDS])
def search(request: pytest.FixtureRequest, rows: Path) -> dict[str, Any]:
    """A search that no other test makes; its first few trials are short, and it would take hours."""
    parameters = {"max_iter": {"kind": "categorical", "values": FITS}}
    fixed = {"solver": "saga", "tol": 1e-12, "scaler": "none"}
    return {
        "source": {"file": {"path": str(rows)}},
        "strategy": {"grid": {}},
        "space": {"logistic_regression": {"parameters": parameters, "fixed": fixed}},
        "objective": {"seed": next(SEEDS)},
        **request.param,
    }


def lines(server: Server) -> int:
    """Return how many trials are on record of all searches."""
    return sum(len(path.read_bytes().splitlines()) for path in server.home.glob("searches/*/journal.jsonl"))


def start_until_long_trials(server: Server, search: dict[str, Any]) -> tuple[str, set[psutil.Process]]:
    """Start a search, wait until it is at its long trials, and return the run with its processes."""
    trials, before = lines(server), server.processes()
    run = server.launch("search_job", search)
    eventually(lambda: lines(server) == trials + SHORT)
    since = {process: _seconds(process) for process in server.processes() - before}
    eventually(lambda: _is_at_work(server.processes() - before, since))
    return run, server.processes() - before


def _is_at_work(processes: Iterable[psutil.Process], since: Mapping[psutil.Process, float]) -> bool:
    """Tell whether a process has computed since it was looked at, or since it started if that was later."""
    return any(_seconds(process) > since.get(process, 0.0) + AT_WORK_S for process in processes)


def _seconds(process: psutil.Process) -> float:
    """Return the processor time that a process has taken, nothing when it has ended."""
    try:
        return float(process.cpu_times().user)
    except psutil.Error:
        return 0


def wait_until_gone(server: Server, before: Iterable[psutil.Process]) -> None:
    """Wait until no process is left but those of the servers."""
    until = time.monotonic() + PATIENCE_S
    while left := server.processes() - {*before}:
        assert time.monotonic() < until, left
        time.sleep(0.2)


def test_cancelled_run_leaves_no_process_and_keeps_its_trials(server: Server, search: dict[str, Any]) -> None:
    """The same search, made by any backend, goes on from the trials that had ended."""
    before = server.processes()
    run, processes = start_until_long_trials(server, search)
    assert processes
    server.terminate(run)
    wait_until_gone(server, before)
    server.wait_for_status(run, "CANCELED")
    trials = lines(server)
    rest = {"budget": {"trials": SHORT}, "backend": {"pool": {"workers": 1}}}
    again = server.launch("search_job", search | rest)
    server.wait_for_status(again, "SUCCESS")
    assert lines(server) == trials, "what had ended is not fitted again"


@pytest.mark.parametrize("search", [BACKENDS["dask"], BACKENDS["ray"]], ids=["dask", "ray"], indirect=True)
def test_killed_run_leaves_no_process(server: Server, search: dict[str, Any]) -> None:
    """The servers and workers that a backend started end by themselves, and the run is on record as failed."""
    before = server.processes()
    run, processes = start_until_long_trials(server, search)
    [top] = [process for process in processes if process.parent() not in processes]
    top.kill()
    wait_until_gone(server, before)
    server.wait_for_status(run, "FAILURE")
