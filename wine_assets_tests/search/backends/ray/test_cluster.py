"""What is asked of a Ray cluster, and what it has room for; one cluster of several nodes is started here."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wine_assets.compute.threads import granted_cores
from wine_assets.errors import FailedSearchError, SearchError
from wine_assets.search.backends.ray import cluster
from wine_assets.search.backends.ray.backend import RayBackend
from wine_assets.search.backends.ray.params import Node, TrialRequest, WorkerNodes
from wine_assets.search.objective import ObjectiveParams
from wine_assets.search.params import SearchParams
from wine_assets.search.space import Distribution, FamilySpace
from wine_assets.search.study import Budget
from wine_assets.search.workers.processes import Workers
from wine_assets_tests.support import fake_family, searches
from wine_assets_tests.support.fake_family import FOLDS, NAME, pids, trial
from wine_assets_tests.support.processes import all_gone, descendants, eventually

MIB = 2.0**20


def ray_of(*nodes: dict[str, float]) -> Any:
    """Return what a cluster of these nodes, and of one that is gone, says of itself."""
    found = [{"Alive": True, "Resources": node} for node in nodes]
    return SimpleNamespace(nodes=lambda: [*found, {"Alive": False, "Resources": {"CPU": 64.0}}])


# --- what a trial asks for ---------------------------------------------------


def test_a_trial_asks_for_a_core_by_default_and_for_what_it_is_said_to() -> None:
    assert TrialRequest().resources == {"CPU": 1.0}
    assert TrialRequest(cpu="500m", memory="256Mi", gpu=1).resources == {"CPU": 0.5, "GPU": 1.0, "memory": 256 * MIB}
    assert [TrialRequest(cpu=cpu).threads for cpu in ("500m", "1", "3")] == [1, 1, 3]


@pytest.mark.parametrize(
    ("trial", "workers", "expected"),
    [
        (TrialRequest(), None, 5),
        (TrialRequest(), 3, 3),
        (TrialRequest(cpu="2"), None, 2),
        (TrialRequest(cpu="500m"), None, 10),
        (TrialRequest(memory="1Gi"), None, 2),
        (TrialRequest(gpu=1), None, 1),
    ],
)
def test_as_many_trials_run_at_the_same_time_as_nodes_have_room_for(
    trial: TrialRequest, workers: int | None, expected: int
) -> None:
    """What is left over on one node is of no use to a trial on another."""
    ray = ray_of({"CPU": 0.0}, {"CPU": 3.0, "memory": 1024 * MIB}, {"CPU": 2.0, "GPU": 1.0, "memory": 1500 * MIB})
    assert cluster.parallel_trials(ray, RayBackend(trial=trial, workers=workers)) == expected


def test_a_trial_that_no_node_has_room_for_is_refused_instead_of_waited_for() -> None:
    """Two nodes of three cores have no room for a trial of four."""
    ray = ray_of({"CPU": 3.0, "memory": 512 * MIB}, {"CPU": 3.0, "GPU": 1.0})
    with pytest.raises(
        FailedSearchError,
        match=r"asks for 4 cores, 1 GPUs, 2048 MiB of memory, and no node of the Ray cluster has that: 3 cores, 512 "
        r"MiB of memory; 3 cores, 1 GPUs\. Ask for less by `backend.trial.cpu` "
        r"and `backend.trial.memory`, or add a larger",
    ):
        cluster.parallel_trials(ray, RayBackend(trial=TrialRequest(cpu="4", gpu=1, memory="2Gi")))


@pytest.mark.process
@pytest.mark.skipif(granted_cores() < 2, reason="needs two cores")
@pytest.mark.parametrize("count", [1, 2])
def test_a_worker_computes_with_as_many_threads_as_its_trial_has_cores(count: int) -> None:
    """The template that it is forked from has one."""
    with Workers(fake_family.trial_context(threads=count), 1) as workers:
        workers.ready(None)
        workers.begin(trial(0, "threads"))
        assert eventually(workers.wait)[0].reason == f"LookupError: {count} threads"


# --- a cluster that is started -----------------------------------------------


@pytest.mark.parametrize(
    ("backend", "cores"),
    [
        (RayBackend(), granted_cores()),
        (RayBackend(workers=3), 3),
        (RayBackend(workers=3, trial=TrialRequest(cpu="1500m")), 5),
        (RayBackend(worker_nodes=WorkerNodes(count=2)), 0),
        (RayBackend(worker_nodes=WorkerNodes(count=2), head=Node(cpu=1)), 1),
    ],
)
def test_the_head_has_the_cores_that_trials_need_unless_worker_nodes_have_them(backend: RayBackend, cores: int) -> None:
    assert cluster._head(backend)["num_cpus"] == cores


def test_nodes_have_settings_of_their_own() -> None:
    head = cluster._head(RayBackend(head=Node(memory="2Gi", object_store="100Mi", gpu=0)))
    assert (head["_memory"], head["object_store_memory"], head["num_gpus"]) == (2048 * MIB, 100 * MIB, 0)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"trial": {"cpu": "two"}},
            r'`backend.trial.cpu` must be .* "2", .*, got \'two\'\. Change `backend.trial.cpu`\.',
        ),
        ({"head": {"memory": "4 GB"}}, r"`backend.head.memory` must be an amount .*, got '4 GB'\."),
        ({"worker_nodes": {"count": 65}}, r"count must be less than or equal to 64, got 65 \(worker nodes, on this"),
        ({"worker_nodes": {"cpus": 1}}, r"backend.worker_nodes.cpus is not known\. Did you mean `cpu`\?"),
        ({"address": "a:1", "head": {"cpu": 1}}, r"`backend.head` is of a cluster that is started .*Leave one of them"),
        ({"address": "a:1", "worker_nodes": {"count": 1}}, r"`backend.worker_nodes` is of .* \('a:1'\) names one that"),
    ],
)
def test_nodes_and_requests_that_can_not_be_are_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SearchError, match=sentence):
        RayBackend.model_validate(fields)


@pytest.mark.process
def test_a_node_that_does_not_come_up_is_named_with_what_it_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ray = ray_of({"CPU": 0.0})
    monkeypatch.setattr(cluster, "_command", lambda *_: ["sh", "-c", "echo no room for it; exit 1"])
    with (
        pytest.raises(
            FailedSearchError, match=r"node of Ray did not come up: no room for it Change `backend.worker_no"
        ),
        cluster._worker_nodes(ray, WorkerNodes(count=1)),
    ):
        pass


@pytest.mark.process
def test_a_killed_search_leaves_nothing_of_the_cluster_that_it_started(trace: Path, tmp_path: Path) -> None:
    """Trials run on the worker node alone, two on its one core; node, head, actors and fits end with the search."""
    over = {"x": Distribution(kind="float", low=0.0, high=1.0)}
    asked = SearchParams(
        space={NAME: FamilySpace(parameters=over, fixed={"act": "hang", "trace": str(trace)})},
        objective=ObjectiveParams(folds=FOLDS),
        budget=Budget(trials=4),
    )
    backend = RayBackend(
        trial=TrialRequest(cpu="500m"), worker_nodes=WorkerNodes(count=1, memory="512Mi", object_store="80Mi")
    )
    command = [sys.executable, "-m", searches.__name__, str(tmp_path)]
    with subprocess.Popen([*command, asked.model_dump_json(), backend.model_dump_json()]) as process:
        try:
            eventually(lambda: len(pids(trace)) == 2 or process.poll() is not None)
            started = descendants(process.pid)
            assert {*pids(trace)} < {*started}
        finally:
            process.kill()
    eventually(lambda: all_gone(started))
