import subprocess
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from wine_assets.orchestration import runs
from wine_assets.orchestration.instance import quiet_instance
from wine_assets.settings import Home
from wine_assets_tests.support.pipeline import ASSETS, QUICK

pytestmark = pytest.mark.process


@pytest.fixture
def project(home: Home) -> Iterator[dg.DagsterInstance]:
    """The instance of a project's home, as the command line opens it."""
    with quiet_instance(home) as instance:
        yield instance


@pytest.fixture
def job(definitions: dg.Definitions) -> dg.JobDefinition:
    return definitions.resolve_job_def("training_job")


def _execute(
    project: dg.DagsterInstance, job: dg.JobDefinition, assets: list[str], listener: Any = lambda _: None, **config: Any
) -> runs.Finished:
    return runs.execute(project, job, QUICK | config, assets, listener)


def test_a_run_is_recorded_as_any_other_and_tells_its_events_as_they_come(
    project: dg.DagsterInstance, job: dg.JobDefinition
) -> None:
    heard: list[dg.DagsterEvent] = []
    finished = _execute(project, job, ["raw_wine", "binarized_wine"], heard.append)
    run = project.get_run_by_id(finished.run_id)
    assert run is not None
    assert (finished.success, finished.error, finished.traceback) == (True, "", "")
    assert (run.job_name, run.status) == ("training_job", dg.DagsterRunStatus.SUCCESS)
    assert [event.step_key for event in heard if event.is_step_start] == ["raw_wine", "binarized_wine"]


def test_a_run_that_fails_says_why_in_one_sentence_and_where_for_developers(
    project: dg.DagsterInstance, job: dg.JobDefinition
) -> None:
    finished = _execute(project, job, ["raw_wine", "binarized_wine"], negative_classes=["barolo"])
    assert not finished.success
    assert finished.error.startswith("`negative_classes` names 'barolo', which no row has.")
    assert finished.error.count("\n") == 0
    assert "in binarize" in finished.traceback


def test_a_damaged_file_is_named_by_the_run_that_needs_it(project: dg.DagsterInstance, job: dg.JobDefinition) -> None:
    assert _execute(project, job, ["raw_wine", "binarized_wine"]).success
    path = runs.latest_metadata(project)["binarized_wine"]["path"]
    with open(path, "wb") as file:  # noqa: PTH123 - it is text, as a user reads it
        file.write(b"PAR1")
    finished = _execute(project, job, ["wine_model"])
    assert finished.error.startswith(f"{path} can't be read: ")
    assert finished.error.endswith("Materialize binarized_wine again.")


def test_a_mistake_of_the_programmer_is_named_by_its_step_and_its_root(
    project: dg.DagsterInstance, job: dg.JobDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: Any) -> None:
        raise RuntimeError("above it") from KeyError("root")

    monkeypatch.setattr("wine_assets.data.dataset.binarize", mistaken)
    finished = _execute(project, job, ["raw_wine", "binarized_wine"])
    assert finished.error == "binarized_wine failed: KeyError: 'root'."


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE),
        (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.SUCCESS),
    ],
)
def test_an_interruption_that_dagster_does_not_expect_fails_a_run_that_is_under_way(
    project: dg.DagsterInstance, job: dg.JobDefinition, before: dg.DagsterRunStatus, after: dg.DagsterRunStatus
) -> None:
    run_id = project.create_run_for_job(job, run_config={}, status=before).run_id
    with pytest.raises(KeyboardInterrupt), runs._closed_when_interrupted(project, run_id):
        raise KeyboardInterrupt
    run = project.get_run_by_id(run_id)
    assert run is not None
    assert run.status is after


def test_the_newest_metadata_of_each_asset_is_read_as_plain_values(
    project: dg.DagsterInstance, job: dg.JobDefinition
) -> None:
    assert runs.latest_metadata(project) == {}
    _execute(project, job, ["raw_wine"])
    metadata = runs.latest_metadata(project)
    assert [*metadata] == ["raw_wine"]
    assert metadata["raw_wine"]["dagster/row_count"] == 178
    assert metadata["raw_wine"]["requested_memory"] == "500Mi"


def test_all_assets_are_named_each_after_those_that_it_reads() -> None:
    assert sorted(runs.all_assets()) == sorted(ASSETS)
    assert runs.all_assets()[:3] == [*ASSETS[:3]]
    assert runs.all_assets()[-1] == "wine_predictions"


def test_what_is_stale_is_known_without_a_heavy_import(interpreter: str, home: Home) -> None:
    program = """
import sys
from wine_assets import settings
from wine_assets.orchestration import instance, runs
from wine_assets.orchestration.configs import TrainingConfig
with instance.quiet_instance(settings.home()) as dagster:
    assert len(runs.stale_assets(dagster, TrainingConfig())) == 7
print({"pandas", "sklearn", "onnx", "matplotlib", "numpy", "pyarrow"} & sys.modules.keys())
"""
    done = subprocess.run([interpreter, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "set()"
