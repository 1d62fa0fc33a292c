"""Searches that Dagster runs, cancelled as the button of a run's page does, or killed, in the middle of long fits."""

import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from wine_assets_tests.support.dagster_server import Server, running_server
from wine_assets_tests.support.processes import eventually

# One worker runs all of them when tests are distributed by groups, so that there is one server to start.
pytestmark = [pytest.mark.xdist_group("cancel"), pytest.mark.timeout(600)]

SECONDS = 15.0
"""How long what a run has started may stay."""
SHORT = 4
FITS = [*range(1000, 1000 + SHORT), *range(999_990, 1_000_000)]
"""Iterations of each trial: the first few take moments, a fold of the others 20 s of native code."""
BACKENDS: dict[str, dict[str, Any]] = {
    "its own process": {"backend": {"pool": {"workers": 2}}},
    "pool": {"backend": {"pool": {"workers": 2}}, "failures": {"timeout_s": 3600.0}},
    "dask": {"backend": {"dask": {"workers": 2}}},
    "ray": {"backend": {"ray": {"workers": 2, "batch_trials": 1}}},
}
SEEDS = iter(range(100))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("cancel")) as running:
        yield running


@pytest.fixture(params=[*BACKENDS.values()], ids=[*BACKENDS])
def search(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A search that no other test makes; its first few trials are short, and it would take many minutes."""
    parameters = {"max_iter": {"kind": "categorical", "values": FITS}}
    fixed = {"solver": "saga", "tol": 1e-12, "scaler": "none"}
    return {
        "strategy": {"grid": {}},
        "space": {"logistic_regression": {"parameters": parameters, "fixed": fixed}},
        "objective": {"seed": next(SEEDS)},
        **request.param,
    }


def lines(server: Server) -> int:
    """Return how many trials are on record of all searches."""
    return sum(len(path.read_bytes().splitlines()) for path in server.home.glob("searches/*/journal.jsonl"))


def in_the_middle(server: Server, search: dict[str, Any]) -> tuple[str, list[psutil.Process]]:
    """Start a search, wait until it is at its long trials, and return the run with its processes."""
    trials, before = lines(server), {*server.processes()}
    run = server.launch("search_job", search)
    eventually(lambda: lines(server) == trials + SHORT)
    eventually(lambda: any(_computes(process) for process in {*server.processes()} - before))
    return run, [*{*server.processes()} - before]


def _computes(process: psutil.Process) -> bool:
    try:
        return bool(process.cpu_percent(0.1) > 40)
    except psutil.Error:
        return False


def assert_all_gone(server: Server, before: set[psutil.Process]) -> None:
    """No process is left but those of the servers, within seconds."""
    until = time.monotonic() + SECONDS
    while left := {*server.processes()} - before:
        assert time.monotonic() < until, [process.cmdline() for process in left]
        time.sleep(0.05)


def test_a_cancelled_run_leaves_no_process_and_every_trial_that_had_ended(
    server: Server, search: dict[str, Any]
) -> None:
    """The same search goes on from those."""
    before = {*server.processes()}
    run, processes = in_the_middle(server, search)
    assert processes
    server.terminate(run)
    assert_all_gone(server, before)
    assert server.runs()[run][0] == "CANCELED"
    trials = lines(server)
    again = server.launch("search_job", search | {"budget": {"trials": SHORT}})
    eventually(lambda: server.runs()[again][0] == "SUCCESS")
    assert lines(server) == trials, "what had ended is not fitted again"


@pytest.mark.parametrize("search", [BACKENDS["dask"], BACKENDS["ray"]], ids=["dask", "ray"], indirect=True)
def test_a_run_whose_process_is_killed_leaves_no_other(server: Server, search: dict[str, Any]) -> None:
    before = {*server.processes()}
    run, processes = in_the_middle(server, search)
    [top] = [process for process in processes if process.parent() not in processes]
    top.kill()
    assert_all_gone(server, before)
    eventually(lambda: server.runs()[run][0] == "FAILURE")
