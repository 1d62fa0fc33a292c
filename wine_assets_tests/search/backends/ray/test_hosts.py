"""A Ray cluster over several hosts, of which one is cut off in the middle of a search."""

import collections
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wine_assets.search.backends.pool import PoolBackend
from wine_assets.search.backends.ray.backend import RayBackend
from wine_assets.search.objective import ObjectiveParams
from wine_assets.search.params import SearchParams
from wine_assets.search.search import Search
from wine_assets.search.space import Distribution, FamilySpace
from wine_assets.search.study import Budget, Failures
from wine_assets_tests.support import fake_family, searches
from wine_assets_tests.support.fake_family import FOLDS, NAME
from wine_assets_tests.support.network_hosts import Host, network
from wine_assets_tests.support.processes import eventually

pytestmark = pytest.mark.process

TRIALS = 60
PORT = 6379
MEMORY = ("--memory=500000000", "--object-store-memory=100000000")
WATCHFUL = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_worker_niceness": "0",
}
"""Seconds instead of half a minute until a node that doesn't answer counts as lost, and no token in the user's home.

Workers have the niceness of the tests beside them, which leave them next to nothing of a core at Ray's 15.
"""


def start(host: Host, folder: Path, *arguments: str) -> None:
    """Start a node of Ray on a host, and wait until it is up."""
    log = folder / host.name
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--node-ip-address={host.address}"]
    with log.open("wb") as file:
        host.start(host.command(*command, *MEMORY, *arguments), env=os.environ | WATCHFUL, stdout=file, stderr=file)
    eventually(lambda: "Ray runtime started" in log.read_text() or "Error" in log.read_text())
    assert "Ray runtime started" in log.read_text(), log.read_text()


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[Host]]:
    """Hosts with a node of Ray each: a head without cores, and two with one."""
    with network(3) as made:
        head, *workers = made
        start(head, tmp_path, "--head", f"--port={PORT}", "--num-cpus=0", "--include-dashboard=false")
        for worker in workers:
            start(worker, tmp_path, f"--address={head.address}:{PORT}", "--num-cpus=1")
        yield made


def test_a_host_that_is_cut_off_costs_a_search_nothing_but_time(hosts: list[Host], tmp_path: Path, trace: Path) -> None:
    """Every trial is scored as the pool scores it, and none that had come in is run again."""
    head, lost, _ = hosts
    over = {"x": Distribution(kind="float", low=0.0, high=1.0)}
    asked = SearchParams(
        space={NAME: FamilySpace(parameters=over, fixed={"act": "wait", "trace": str(trace)})},
        objective=ObjectiveParams(folds=FOLDS),
        budget=Budget(trials=TRIALS),
        failures=Failures(retries=3),
    )
    search = Search.open(asked, fake_family.frame(), tmp_path / "ray")
    backend = RayBackend(address=f"{head.address}:{PORT}")
    arguments = [str(tmp_path / "ray"), asked.model_dump_json(), backend.model_dump_json()]
    command = head.command(sys.executable, "-m", searches.__name__, *arguments)
    with subprocess.Popen(command, env=os.environ | WATCHFUL) as process:
        eventually(lambda: search.journal.results() and is_fitting(lost, trace))
        lost.cut_off(head)
        try:
            assert process.wait(240) == 0
        finally:
            process.kill()
    outcomes = search.journal.results()
    finished = collections.Counter(outcome.number for outcome in outcomes if outcome.state == "finished")
    assert finished == dict.fromkeys(range(TRIALS), 1)
    assert {outcome.reason for outcome in outcomes if outcome.state == "failed"} == {
        "The worker of Ray that it ran on ended before it did."
    }
    pool = Search.open(asked, fake_family.frame(), tmp_path / "pool").run(PoolBackend(workers=1), lambda *_: None)
    found = {outcome.number: outcome.scores for outcome in outcomes if outcome.state == "finished"}
    assert found == {outcome.number: outcome.scores for outcome in pool.trials}


def is_fitting(host: Host, trace: Path) -> bool:
    """Tell whether the host has run a trial."""
    return bool({*fake_family.pids(trace)} & {*host.pids})
