"""The backend `steps` with a process for each step, as Dagster's multiprocess executor has it."""

import threading
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import psutil
import pytest

from wine_assets import settings
from wine_assets.definitions import build_definitions
from wine_assets.orchestration import data_versions
from wine_assets.orchestration.instance import quiet_instance
from wine_assets_tests.support.processes import eventually

SEARCH = "hyperparameter_search"
FITS = [1000, 1001, 1002, 200_000, 200_001]
"""Iterations of each trial; a fold of the last ones takes 4 s."""
CONFIG: dict[str, Any] = {
    "strategy": {"grid": {}},
    "space": {
        "logistic_regression": {
            "parameters": {"max_iter": {"kind": "categorical", "values": FITS}},
            "fixed": {"solver": "saga", "tol": 1e-12, "scaler": "none"},
        }
    },
    "objective": {"folds": 2},
}


def search_job() -> dg.JobDefinition:
    """Return the job as each process of it finds it."""
    return build_definitions().resolve_job_def("search_job")


def ran(home: settings.Home, backend: dict[str, Any]) -> tuple[list[dg.DagsterEvent], pd.DataFrame]:
    with quiet_instance(home) as instance:
        result = dg.execute_job(dg.reconstructable(search_job), instance, run_config=CONFIG | {"backend": backend})
        assert result.success
        record = data_versions.latest(instance, dg.AssetKey(SEARCH))
    assert record is not None
    assert record.asset_materialization is not None
    return list(result.all_events), pd.read_parquet(str(record.asset_materialization.metadata["path"].value))


def kill_the_step_of_long_trials(home: settings.Home) -> None:
    """Kill it once a process beside it has run its own trials."""

    def lines() -> list[bytes]:
        return [line for path in home.searches.glob("*/journal.jsonl") for line in path.read_bytes().splitlines()]

    def last_step() -> psutil.Process | None:
        steps = [child for child in psutil.Process().children() if _is_step(child)]
        return steps[0] if len(steps) == 1 else None

    eventually(lambda: len(lines()) >= len(FITS) - 2)
    step = eventually(last_step)
    assert step is not None
    step.kill()


def _is_step(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:
        return False


@pytest.mark.timeout(600)
def test_a_step_whose_process_is_killed_is_run_again_and_the_search_is_what_the_pool_makes_of_it(
    home: settings.Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv(settings.EXECUTOR_VARIABLE, "multiprocess")
    killer = threading.Thread(target=kill_the_step_of_long_trials, args=(home,))
    killer.start()
    events, table = ran(home, {"steps": {"chunk_trials": 3}})
    killer.join()
    again = [event.step_key for event in events if event.is_step_up_for_retry]
    assert again == [f"{SEARCH}.run_chunk[trials_3_to_4]"]
    monkeypatch.setenv(settings.HOME_VARIABLE, str(tmp_path / "pool"))
    monkeypatch.setenv(settings.EXECUTOR_VARIABLE, "in_process")
    _, alone = ran(settings.home(), {"pool": {"workers": 1}})
    told = ["seconds", "memory_mib"]
    pd.testing.assert_frame_equal(table.drop(columns=told), alone.drop(columns=told))
