import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import TypeAdapter

from wine_assets.errors import ConfigurationError, FailedSearchError, MissingExtraError
from wine_assets.execution.trials import dask_cluster, ray_tune
from wine_assets.execution.trials.backends import (
    BackendParams,
    DaskBackend,
    PoolBackend,
    RayBackend,
    StepsBackend,
    run_trials,
)
from wine_assets.execution.trials.session import Session
from wine_assets.ml.search.conductor import Budget, Failures
from wine_assets.ml.search.objective import Objective, ObjectiveParams
from wine_assets.ml.search.params import SearchParams
from wine_assets.ml.search.space import Distribution, FamilySpace
from wine_assets.ml.search.strategies import BayesianStrategy
from wine_assets.ml.search.trials import Outcome, Trial
from wine_assets_tests.execution.trials import acting
from wine_assets_tests.execution.trials.acting import FOLDS, NAME, fits, pids
from wine_assets_tests.execution.trials.processes import all_gone, descendants, eventually
from wine_assets_tests.wines import wine

WORKERS = 2
SHARED = ("pool", "dask", "ray")


@pytest.fixture(scope="module", autouse=True)
def _nothing_left() -> Iterator[None]:
    """No worker, nanny, actor, raylet or anything else of a cluster is left when its tests are done."""
    before = {*descendants()}
    yield
    eventually(lambda: all_gone({*descendants()} - before))


@pytest.fixture(scope="module")
def backend() -> Iterator[Callable[[str], BackendParams]]:
    """Return a backend by its name; clusters are started when first needed, once a module."""
    made: dict[str, BackendParams] = {"pool": PoolBackend(workers=WORKERS)}
    with pytest.MonkeyPatch.context(), _Clusters() as clusters:

        def named(name: str) -> BackendParams:
            if name not in made:
                made[name] = clusters.dask() if name == "dask" else clusters.ray()
            return made[name]

        yield named


class _Clusters:
    """Clusters as the backends start them for themselves, kept for several searches."""

    def __init__(self) -> None:
        self._open: list[Any] = []

    def __enter__(self) -> "_Clusters":
        return self

    def __exit__(self, *_: object) -> None:
        for cluster in self._open:
            cluster.__exit__(None, None, None)

    def dask(self) -> DaskBackend:
        client = self._kept(dask_cluster._client("", WORKERS))
        return DaskBackend(address=client.scheduler.address)

    def ray(self) -> RayBackend:
        params = RayBackend(workers=WORKERS)
        self._kept(ray_tune._ray(params))
        return params

    def _kept(self, context: Any) -> Any:
        self._open.append(context)
        return context.__enter__()


def frame() -> Any:
    """Return the wine rows, which bring the tests' own family along."""
    return acting.ActingFrame(wine())


def both_families(trace: Path) -> dict[str, FamilySpace]:
    """A conditional space: real fits, and fits that raise or end their process."""
    strength = Distribution(kind="log_uniform", low=1e-3, high=1e2)
    scalers = Distribution(kind="choice", values=["standard", "none"])
    x = Distribution(kind="uniform", low=0.0, high=1.0)
    acts = Distribution(kind="choice", values=["fit", "raise", "die"])
    return {
        "logistic_regression": FamilySpace(
            over={"C": strength, "scaler": scalers}, fixed={"solver": "newton-cholesky"}
        ),
        NAME: FamilySpace(over={"x": x, "act": acts}, fixed={"trace": str(trace)}),
    }


def search(trace: Path, **fields: Any) -> SearchParams:
    given: dict[str, Any] = {
        "space": both_families(trace),
        "objective": ObjectiveParams(folds=FOLDS),
        "failures": Failures(retries=1, timeout_s=300, min_success_ratio=0.1),
        "budget": Budget(trials=24),
    }
    return SearchParams.model_validate(given | fields)


def ran(asked: SearchParams, folder: Path, backend: BackendParams) -> list[Outcome]:
    return [*Session.of(asked, frame(), folder).run(backend, lambda *_: None).outcomes]


# --- one contract ------------------------------------------------------------


@pytest.mark.parametrize("name", SHARED)
def test_a_random_search_has_the_same_scores_to_the_last_bit_and_failures_are_values(
    backend: Callable[[str], BackendParams], trace: Path, tmp_path: Path, name: str
) -> None:
    """On each backend what comes of a trial is what came of it in this process."""
    found = ran(search(trace), tmp_path, backend(name))
    assert [outcome.number for outcome in found] == [*range(24)]
    expected = Objective(frame().drop(columns="target"), wine()["target"], ObjectiveParams(folds=FOLDS))
    for outcome in found:
        act = outcome.parameters.get("act", "fit")
        assert (outcome.state, outcome.attempt) == (("finished", 1) if act == "fit" else ("failed", 2))
        if act == "fit":
            asked = Trial(outcome.number, outcome.family, outcome.parameters)
            assert outcome.scores == expected.score(asked).scores
        elif act == "raise":
            assert outcome.reason == "LookupError: It was told to."
        else:
            assert outcome.reason.startswith("Its process ended in the middle, killed by SIGKILL")
    assert {outcome.parameters.get("act", "real") for outcome in found} == {"fit", "raise", "die", "real"}
    assert fits(trace) == {
        outcome.parameters["x"]: FOLDS if outcome.state == "finished" else 2
        for outcome in found
        if outcome.family == NAME
    }


@pytest.mark.parametrize("name", SHARED)
def test_a_trial_that_hangs_fails_on_time(
    backend: Callable[[str], BackendParams], trace: Path, tmp_path: Path, name: str
) -> None:
    space = both_families(trace)
    space = {
        NAME: FamilySpace(over={"x": space[NAME].over["x"]}, fixed={"act": "hang", "once": str(tmp_path / "once")})
    }
    failures = Failures(retries=0, timeout_s=3, min_success_ratio=0.5)
    found = ran(search(trace, space=space, failures=failures, budget=Budget(trials=4)), tmp_path, backend(name))
    [hung] = [outcome for outcome in found if outcome.state != "finished"]
    assert hung.reason == "It took longer than 3 s (`failures.timeout_s`)."


@pytest.mark.parametrize("name", ["dask", "ray"])
def test_a_trial_whose_cluster_worker_is_killed_is_tried_again(
    backend: Callable[[str], BackendParams], trace: Path, tmp_path: Path, name: str
) -> None:
    """The process that the scheduler started, above those that compute."""
    fixed = {"act": "hang", "once": str(tmp_path / "once"), "trace": str(trace)}
    space = {NAME: FamilySpace(over={"x": Distribution(kind="uniform", low=0.0, high=1.0)}, fixed=fixed)}
    asked = search(trace, space=space, failures=Failures(retries=1, min_success_ratio=1), budget=Budget(trials=6))
    computing: list[int] = []

    def kill() -> None:
        eventually((tmp_path / "once").exists)
        hung = pids(trace)[0]
        template = psutil.Process(hung).parent()
        assert template is not None
        worker = template.parent()
        assert worker is not None
        computing.extend([hung, template.pid])
        worker.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    found = ran(asked, tmp_path, backend(name))
    killer.join()
    assert [outcome.state for outcome in found] == ["finished"] * 6
    attempts = [outcome.attempt for outcome in found]
    assert sorted(attempts) == ([1] * 6 if name == "dask" else [1] * 5 + [2])
    eventually(lambda: all_gone(computing))
    reasons = [outcome.reason for outcome in Session.of(asked, frame(), tmp_path).journal.outcomes() if outcome.reason]
    assert reasons == ([] if name == "dask" else ["The worker of Ray that it ran on ended before it did."])


@pytest.mark.parametrize("name", ["dask", "ray"])
def test_workers_of_a_cluster_serve_the_whole_search(
    backend: Callable[[str], BackendParams], trace: Path, tmp_path: Path, name: str
) -> None:
    """However many batches there are: what a worker has loaded is loaded once."""
    space = {NAME: both_families(trace)[NAME].model_copy(update={"fixed": {"trace": str(trace), "act": "fit"}})}
    space[NAME] = FamilySpace(over={"x": space[NAME].over["x"]}, fixed=space[NAME].fixed)
    found = ran(search(trace, space=space, budget=Budget(trials=100), failures=Failures()), tmp_path, backend(name))
    assert len(found) == 100
    assert len({*pids(trace)}) <= WORKERS


@pytest.mark.parametrize("name", ["ray"])
def test_a_bayesian_search_with_one_worker_is_the_same_on_each_backend(
    backend: Callable[[str], BackendParams], trace: Path, tmp_path: Path, name: str
) -> None:
    """Trials are not handed out in batches to a strategy that learns from each."""
    space = {"logistic_regression": both_families(trace)["logistic_regression"]}
    asked = search(trace, space=space, strategy=BayesianStrategy(startup_trials=4), budget=Budget(trials=12))
    here = ran(asked, tmp_path / "here", PoolBackend(workers=1))
    there = ran(asked, tmp_path / "there", backend(name).model_copy(update={"workers": 1}))
    assert [(outcome.parameters, outcome.scores) for outcome in there] == [
        (outcome.parameters, outcome.scores) for outcome in here
    ]


# --- what is asked for -------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "module", "extra"),
    [(DaskBackend(), "distributed", "dask"), (RayBackend(), "ray", "ray"), (RayBackend(), "ray.tune", "ray")],
)
def test_a_missing_extra_names_itself(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: BackendParams, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"`{extra}` needs the extra `{extra}`.*wine-assets\[{extra}\]"):
        ran(search(trace), tmp_path, params)


def test_a_dask_scheduler_that_is_not_there_is_named(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_cluster, "_CONNECT_S", 0.2)
    with pytest.raises(FailedSearchError, match="no Dask scheduler at 'tcp://127.0.0.1:9'.*change `backend.address`"):
        ran(search(trace), tmp_path, DaskBackend(address="tcp://127.0.0.1:9"))


def test_a_step_of_dagster_runs_its_trials_in_the_pool(trace: Path, tmp_path: Path) -> None:
    space = {"logistic_regression": both_families(trace)["logistic_regression"]}
    asked = search(trace, space=space, failures=Failures(), budget=Budget(trials=3))
    session = Session.of(asked, frame(), tmp_path)
    conductor = session.conductor(lambda *_: None)
    run_trials(StepsBackend(), conductor, session.workload)
    assert len(conductor.counted()) == 3


@pytest.mark.parametrize("kind", ["pool", "steps", "dask", "ray"])
@pytest.mark.parametrize("fields", [{"workers": 0}, {"workers": 5000}, {"worker": 1}])
def test_a_backend_that_can_not_be_is_refused(kind: str, fields: dict[str, Any]) -> None:
    adapter: TypeAdapter[BackendParams] = TypeAdapter(BackendParams)
    with pytest.raises(ConfigurationError, match="worker"):
        adapter.validate_python({"kind": kind, **fields})


# --- a terminal --------------------------------------------------------------

PROGRAM = """
import sys
from pathlib import Path
from wine_assets.execution.trials.backends import DaskBackend, RayBackend
from wine_assets.execution.trials.session import Session
from wine_assets.ml.search.params import SearchParams
from wine_assets_tests.wines import wine

if __name__ == "__main__":
    backend = RayBackend(workers=1) if sys.argv[2] == "ray" else DaskBackend(workers=1)
    Session.of(SearchParams(budget={"trials": 3}), wine(), Path(sys.argv[1])).run(backend, lambda *_: None)
"""


@pytest.mark.parametrize("name", ["dask", "ray"])
def test_a_search_on_a_cluster_of_its_own_writes_nothing_to_the_terminal(tmp_path: Path, name: str) -> None:
    """No table, no warning, no word of where files are; and leaves no process."""
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-W", "error::ResourceWarning", str(tmp_path / "program.py"), str(tmp_path), name]
    before = {*_clusters()}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    own = {pid for pid in {*_clusters()} - before if str(tmp_path) in _command(pid)}
    eventually(lambda: all_gone(own))


def _clusters() -> list[int]:
    return [process.pid for process in psutil.process_iter()]


def _command(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""
