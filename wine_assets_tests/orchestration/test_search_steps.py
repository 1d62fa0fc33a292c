"""The backend `steps` with a process for each step, as Dagster's multiprocess executor has it."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from wine_assets import settings
from wine_assets.definitions import build_definitions
from wine_assets.orchestration import data_versions
from wine_assets.orchestration.instance import quiet_instance
from wine_assets_tests.support.processes import eventually

pytestmark = pytest.mark.process

SEARCH = "hyperparameter_search"
FITS = [1000, 1001, 1002, 50_000, 50_001]
"""Iterations of each trial; the last two take seconds, in which their step is killed."""
LONG_STEP = f"{SEARCH}.run_chunk[trials_3_to_4]"
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


def make_data(home: settings.Home) -> None:
    """Make what the search reads, in this process."""
    with quiet_instance(home) as instance:
        assert build_definitions().resolve_job_def("data_job").execute_in_process(instance=instance).success


def ran(home: settings.Home, backend: dict[str, Any]) -> tuple[list[dg.DagsterEvent], pd.DataFrame]:
    with quiet_instance(home) as instance:
        job, config = dg.reconstructable(search_job), CONFIG | {"backend": backend}
        result = dg.execute_job(job, instance, run_config=config, asset_selection=[dg.AssetKey(SEARCH)])
        assert result.success
        record = data_versions.latest(instance, dg.AssetKey(SEARCH))
    assert record is not None
    assert record.asset_materialization is not None
    return list(result.all_events), pd.read_parquet(str(record.asset_materialization.metadata["path"].value))


def kill_the_long_step(home: settings.Home) -> None:
    """Kill the process of the step with the long trials as soon as Dagster has on record that it began."""
    with quiet_instance(home) as instance:

        def process_of_the_step() -> int | None:
            time.sleep(0.1)
            logs = [
                instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START) for run in instance.get_runs()
            ]
            events = [entry.dagster_event for entries in logs for entry in entries if entry.step_key == LONG_STEP]
            return events[0].pid if events and events[0] else None

        pid = eventually(process_of_the_step)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)


@pytest.mark.timeout(600)
def test_killed_step_is_run_again(home: settings.Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search is then what the pool makes of it in one process."""
    make_data(home)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv(settings.EXECUTOR_VARIABLE, "multiprocess")
    killer = threading.Thread(target=kill_the_long_step, args=(home,))
    killer.start()
    events, table = ran(home, {"steps": {"chunk_trials": 3}})
    killer.join()
    again = [event.step_key for event in events if event.is_step_up_for_retry]
    assert again == [LONG_STEP]
    monkeypatch.setenv(settings.HOME_VARIABLE, str(tmp_path / "pool"))
    monkeypatch.setenv(settings.EXECUTOR_VARIABLE, "in_process")
    make_data(settings.home())
    _, alone = ran(settings.home(), {"pool": {"workers": 1}})
    told = ["seconds", "memory_mib"]
    pd.testing.assert_frame_equal(table.drop(columns=told), alone.drop(columns=told))
