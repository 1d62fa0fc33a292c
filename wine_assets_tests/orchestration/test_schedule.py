import datetime as dt
import re
from typing import Any

import dagster as dg
import pytest

from wine_assets.definitions import build_definitions
from wine_assets.errors import SettingsError
from wine_assets.orchestration import jobs
from wine_assets_tests.support.pipeline import Pipeline, chain, started


def _requested(definitions: dg.Definitions) -> Any:
    """Return the run config that the schedule asks for at a tick."""
    schedule = definitions.resolve_schedule_def("training_schedule")
    monday = dt.datetime(2026, 11, 23, 6, tzinfo=dt.UTC)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=monday)
        requests = schedule.evaluate_tick(context).run_requests
    assert requests is not None
    (request,) = requests
    return request.run_config


def test_the_schedule_asks_for_one_run_whose_config_is_valid(definitions: dg.Definitions) -> None:
    job = definitions.resolve_job_def("training_job")
    resolved = dg.validate_run_config(job, _requested(definitions))
    assert resolved["ops"]["wine_model"]["config"]["hyperparameters"]["logistic_regression"]["scaler"] == "standard"


def test_what_the_schedule_asks_for_can_be_run(pipeline: Pipeline) -> None:
    config = _requested(pipeline.definitions)
    result = pipeline.launch("training_job", config, assets=["raw_wine", "binarized_wine"])
    assert result.success
    assert started(result) == ["raw_wine", "binarized_wine"]


def test_the_schedule_is_off_until_somebody_turns_it_on(definitions: dg.Definitions) -> None:
    schedule = definitions.resolve_schedule_def("training_schedule")
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 6 * * 1", "UTC")


def test_the_settings_move_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINE_ASSETS_CRON", "30 5 * * *")
    monkeypatch.setenv("WINE_ASSETS_TIMEZONE", "Asia/Tokyo")
    schedule = build_definitions().resolve_schedule_def("training_schedule")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 5 * * *", "Asia/Tokyo")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WINE_ASSETS_CRON", "banana"),
        ("WINE_ASSETS_CRON", "61 * * * *"),
        ("WINE_ASSETS_CRON", "0 6 * *"),
        ("WINE_ASSETS_TIMEZONE", "Mars/Olympus"),
        ("WINE_ASSETS_TIMEZONE", "../etc"),
    ],
)
def test_a_clock_that_is_none_is_refused_when_the_definitions_load(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=f"{variable} .*got .*{re.escape(value)}.*Change them or unset them"):
        build_definitions()


def test_a_schedule_with_a_bad_config_starts_no_step(pipeline: Pipeline) -> None:
    bad = dg.ScheduleDefinition(
        name="bad",
        job=jobs.training_job,
        cron_schedule="@daily",
        run_config={"hyperparameters": {"logistic_regression": {"C": -1.0}}},
    )
    request = bad.evaluate_tick(dg.build_schedule_context(instance=pipeline.instance)).run_requests
    assert request is not None
    with pytest.raises(dg.DagsterConfigMappingFunctionError) as refusal:
        pipeline.launch("training_job", request[0].run_config)
    assert "C must be greater than 0, got -1.0" in chain(refusal.value)
    assert pipeline.instance.get_runs() == []
