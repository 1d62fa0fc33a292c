import os
import sys
from pathlib import Path

import dagster as dg
import pytest

from wine_assets import settings
from wine_assets.definitions import build_definitions
from wine_assets.errors import MissingExtraError, SettingsError
from wine_assets.orchestration import jobs, resources
from wine_assets.orchestration.io_managers import CHUNKS, FORMATS
from wine_assets_tests.support.pipeline import ASSETS, QUICK


def job_of_the_settings() -> dg.JobDefinition:
    """Return training_job as every process of a run builds it."""
    return build_definitions().resolve_job_def("training_job")


def test_storage_of_formats() -> None:
    """Every format of an asset has its IO manager."""
    keys = {asset.node_def.output_defs[0].io_manager_key for asset in jobs.ASSETS}
    assert keys == {*FORMATS}
    assert {*resources.storage()} == {*FORMATS, CHUNKS}


def test_launch_forms_do_not_ask_for_the_storage(definitions: dg.Definitions) -> None:
    resolved = dg.validate_run_config(definitions.resolve_job_def("training_job"), {})
    assert {name: given["config"] for name, given in resolved["resources"].items() if name in FORMATS} == dict.fromkeys(
        FORMATS
    )


@pytest.mark.parametrize("name", ["in_process", "multiprocess", "ray"])
def test_the_setting_names_the_executor_of_the_jobs(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(settings.EXECUTOR_VARIABLE, name)
    assert job_of_the_settings().executor_def.name == name


def test_runs_stay_in_one_process_unless_the_settings_say_otherwise() -> None:
    assert resources.executor() is dg.in_process_executor


def test_an_executor_that_there_is_not_is_refused_when_the_definitions_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.EXECUTOR_VARIABLE, "slurm")
    with pytest.raises(
        SettingsError, match="WINE_ASSETS_EXECUTOR must be one of in_process, multiprocess, ray, got 'slurm'"
    ):
        build_definitions()


def test_ray_gives_each_step_what_its_tags_ask_for_and_nothing_of_the_executors_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A resource in the executor's settings would replace the assets' requests."""
    monkeypatch.setenv(settings.EXECUTOR_VARIABLE, "ray")
    ray = dg.validate_run_config(job_of_the_settings(), {})["execution"]["ray"]["ray"]
    assert {ray[field] for field in ("num_cpus", "num_gpus", "memory", "resources", "runtime_env")} == {None}
    assert {"DAGSTER_HOME", "WINE_ASSETS_HOME", "WINE_ASSETS_COMPUTE"} <= set(ray["env_vars"])


def test_ray_steps_find_the_dagster_of_this_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.EXECUTOR_VARIABLE, "ray")
    monkeypatch.setenv("PATH", "/usr/bin")
    ray = dg.validate_run_config(job_of_the_settings(), {})["execution"]["ray"]["ray"]
    assert f"PATH={Path(sys.executable).parent}:/usr/bin" in ray["env_vars"]


def test_ray_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.EXECUTOR_VARIABLE, "ray")
    monkeypatch.setitem(sys.modules, "dagster_ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'wine-assets\[ray\]'"):
        build_definitions()


@pytest.mark.process
def test_a_process_for_each_step_makes_the_same_graph(
    home: settings.Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(settings.EXECUTOR_VARIABLE, "multiprocess")
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"telemetry": {"enabled": False}}) as instance:
        job = dg.reconstructable(job_of_the_settings)
        with dg.execute_job(job, instance=instance, run_config=QUICK) as result:
            assert result.success
            made = [event.asset_key for event in result.get_asset_materialization_events()]
            processes = {event.pid for event in result.all_events if event.is_step_success}
    assert {key.to_user_string() for key in made if key} == {*ASSETS}
    assert len(processes - {os.getpid()}) == len(ASSETS)
    assert {path.name for path in home.data.iterdir()} == {*ASSETS}
