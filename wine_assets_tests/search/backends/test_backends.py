"""One contract for all backends; each starts a cluster of its own once, as a search does."""

import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from wine_assets.errors import ConfigurationError, FailedSearchError, MissingExtraError
from wine_assets.search.backends import dask, registry
from wine_assets.search.backends.base import TrialBackend
from wine_assets.search.backends.dask import DaskBackend
from wine_assets.search.backends.pool import PoolBackend
from wine_assets.search.backends.ray.backend import RayBackend
from wine_assets.search.backends.steps import StepsBackend
from wine_assets.search.objective import Objective, ObjectiveParams
from wine_assets.search.params import SearchParams
from wine_assets.search.search import Search
from wine_assets.search.space import Distribution, FamilySpace
from wine_assets.search.strategies import RandomStrategy
from wine_assets.search.study import Budget, Failures
from wine_assets.search.trials import Trial, TrialResult
from wine_assets_tests.support import fake_family
from wine_assets_tests.support.fake_family import FOLDS, NAME, fits, pids, templates
from wine_assets_tests.support.processes import all_gone, descendants, eventually
from wine_assets_tests.support.wine_frames import wine

pytestmark = pytest.mark.process

WORKERS = 2
TRIALS, SEED = 20, 4
"""With this seed one of the trials hangs, three kill their process, four raise, and the others have scores."""
TIMEOUT_S = 3.0
X = Distribution(kind="float", low=0.0, high=1.0)


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """No worker, nanny, actor, raylet or anything else of a cluster is left when a search is done."""
    before = {*descendants()}
    yield
    eventually(lambda: all_gone(pid for pid in {*descendants()} - before if not _is_pythons_own(pid)))


def _is_pythons_own(pid: int) -> bool:
    """Tell whether a process is the one that multiprocessing keeps until Python ends."""
    try:
        return "multiprocessing.resource_tracker" in " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def frame() -> Any:
    """Return the wine rows, which bring the tests' own family along."""
    return fake_family.ActingFrame(wine())


def both_families(trace: Path) -> dict[str, FamilySpace]:
    """A conditional space: real fits, and fits that raise, hang or end their process."""
    real = {
        "C": Distribution(kind="float", log=True, low=1e-3, high=1e2),
        "scaler": Distribution(kind="categorical", values=["standard", "none"]),
    }
    acts = Distribution(kind="categorical", values=["fit", "raise", "die", "hang"])
    return {
        "logistic_regression": FamilySpace(parameters=real, fixed={"solver": "newton-cholesky"}),
        NAME: FamilySpace(parameters={"x": X, "act": acts}, fixed={"trace": str(trace)}),
    }


def search_params(space: dict[str, FamilySpace], trials: int, **failures: Any) -> SearchParams:
    return SearchParams(
        strategy=RandomStrategy(seed=SEED),
        space=space,
        objective=ObjectiveParams(folds=FOLDS),
        budget=Budget(trials=trials),
        failures=Failures(**failures),
    )


def ran(asked: SearchParams, folder: Path, backend: TrialBackend) -> list[TrialResult]:
    return [*Search.open(asked, frame(), folder).run(backend, lambda *_: None).trials]


def killed_while_a_trial_hangs(trace: Path, niceness: list[int]) -> threading.Thread:
    """Kill the process of the cluster above the first that hangs, once it does; of the pool, that process itself.

    Its niceness is added to the list.
    """

    def kill() -> None:
        hung = eventually(lambda: templates(trace, "hang"))[0]
        niceness.append(psutil.Process(hung).nice())
        worker = psutil.Process(hung).parent()
        assert worker is not None
        victim = psutil.Process(hung).children()[0] if worker.pid == psutil.Process().pid else worker
        victim.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


# --- one contract ------------------------------------------------------------


@pytest.mark.parametrize(
    "backend",
    [PoolBackend(workers=WORKERS), DaskBackend(workers=WORKERS), RayBackend(workers=WORKERS)],
    ids=lambda b: b.kind,
)
def test_what_comes_of_a_search_is_the_same_on_each_backend(
    backend: TrialBackend, trace: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Scores are equal to the last bit, failures are values, workers are replaced, and the terminal is left alone.

    One of the cluster's own workers is killed in the middle as well. Trials get the share of a busy machine that the
    search has.
    """
    niceness: list[int] = []
    killer = killed_while_a_trial_hangs(trace, niceness)
    asked = search_params(both_families(trace), TRIALS, retries=1, timeout_s=TIMEOUT_S, min_success_ratio=0.1)
    found = ran(asked, tmp_path, backend)
    killer.join()
    assert niceness == [psutil.Process().nice()]
    assert [outcome.number for outcome in found] == [*range(TRIALS)]
    objective = Search.open(asked, frame(), tmp_path).context.objective()
    for outcome in found:
        assert_as_expected(outcome, objective)
    assert {outcome.parameters.get("act", "real") for outcome in found} == {"fit", "raise", "die", "hang", "real"}
    fitted = fits(trace)
    for outcome in found:
        if outcome.parameters.get("act", "hang") != "hang":
            fitted_as_planned = 2  # two folds, or two attempts; more or less where the killed worker was at it
            assert abs(fitted[outcome.parameters["x"]] - fitted_as_planned) < FOLDS
    assert len({*templates(trace)}) <= WORKERS + 1
    told = "".join(capfd.readouterr())
    assert not told or "A worker died or was killed" in told, "Ray may say so of the one that was killed"


def assert_as_expected(outcome: TrialResult, objective: Objective) -> None:
    act = outcome.parameters.get("act", "fit")
    if act == "fit":
        asked = Trial(outcome.number, outcome.family, {**outcome.parameters, **without_trace(outcome)})
        assert outcome.state == "finished"
        assert outcome.attempt <= 2, "the worker that is killed may be at another trial by then"
        assert outcome.scores == objective.score(asked).scores
        return
    assert (outcome.state, outcome.attempt) == ("failed", 2)
    if act == "raise":
        assert outcome.reason == "LookupError: It was told to."
    elif act == "die":
        assert outcome.reason.startswith("Its process ended in the middle, killed by SIGKILL")
    else:
        assert outcome.reason == f"It took longer than {TIMEOUT_S:g} s (`failures.timeout_s`)."


def without_trace(outcome: TrialResult) -> dict[str, str]:
    return {"trace": ""} if outcome.family == NAME else {}


def test_a_cluster_of_dask_that_loses_its_only_worker_goes_on(trace: Path, tmp_path: Path) -> None:
    """And the rows with it; a cluster that is there already is used by its address."""
    fixed = {"act": "hang", "once": str(tmp_path / "once"), "trace": str(trace)}
    asked = search_params({NAME: FamilySpace(parameters={"x": X}, fixed=fixed)}, 4, retries=3)
    with dask._client("", 1) as client:
        killer = killed_while_a_trial_hangs(trace, [])
        found = ran(asked, tmp_path, DaskBackend(address=client.scheduler.address))
        killer.join()
        eventually(lambda: all_gone(pids(trace)))
    assert [outcome.state for outcome in found] == ["finished"] * 4
    assert found[0].attempt > 1
    attempts = Search.open(asked, frame(), tmp_path).journal.results()
    assert attempts[0].reason.startswith("Dask has no result of it (FutureCancelledError: ")


# --- what is asked for -------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "module", "extra"),
    [(DaskBackend(), "distributed", "dask"), (RayBackend(), "ray", "ray"), (RayBackend(), "ray.tune", "ray")],
)
def test_a_missing_extra_names_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: TrialBackend, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"`{extra}` needs the extra `{extra}`.*wine-assets\[{extra}\]"):
        ran(search_params({}, 1), tmp_path, backend)


def test_a_dask_scheduler_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    monkeypatch.setattr(dask, "_CONNECT_S", 0.5)
    with pytest.raises(FailedSearchError, match=r"no Dask scheduler at 'tcp://127.0.0.1:9'.*change `backend.address`"):
        ran(search_params({}, 1), tmp_path, DaskBackend(address="tcp://127.0.0.1:9"))


def test_a_step_of_dagster_runs_its_trials_in_the_pool(tmp_path: Path) -> None:
    search = Search.open(search_params({}, 3), frame(), tmp_path)
    study = search.study(lambda *_: None)
    StepsBackend().run(study, search.context)
    assert len(study.results()) == 3


@pytest.mark.parametrize("kind", [*registry.BACKENDS])
@pytest.mark.parametrize("fields", [{"workers": 0}, {"workers": 5000}, {"worker": 1}])
def test_a_backend_that_can_not_be_is_refused(kind: str, fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="worker"):
        registry.parse({"kind": kind, **fields})
