"""Jobs that take one typed config, and what starts them by the clock."""

from typing import Any

import dagster as dg

from wine_assets import settings
from wine_assets.errors import SettingsError
from wine_assets.orchestration import search_steps
from wine_assets.orchestration.assets import search
from wine_assets.orchestration.assets.data import binarized_wine, raw_wine
from wine_assets.orchestration.assets.model import model_evaluation, wine_model, wine_model_onnx, wine_predictions
from wine_assets.orchestration.assets.release import released_model
from wine_assets.orchestration.configs import (
    DataConfig,
    TrainingConfig,
    data_configs,
    launch_config,
    run_config,
    training_configs,
)
from wine_assets.orchestration.search_configs import SearchJobConfig

DATA_ASSETS = (raw_wine, binarized_wine)
ASSETS = (*DATA_ASSETS, wine_model, model_evaluation, wine_model_onnx, released_model, wine_predictions)
"""Every asset, each after those that it reads."""


@dg.config_mapping
def _training_mapping(config: TrainingConfig) -> dict[str, Any]:
    return run_config(training_configs(config))


@dg.config_mapping
def _data_mapping(config: DataConfig) -> dict[str, Any]:
    return run_config(data_configs(config))


@dg.config_mapping
def _search_mapping(config: SearchJobConfig) -> dict[str, Any]:
    data = run_config(data_configs(config))
    return {"ops": {**data["ops"], search_steps.SEARCH: {"config": search_steps.fields(config)}}}


training_job = dg.define_asset_job(
    "training_job",
    selection=[*ASSETS],
    config=_training_mapping,
    description="From rows to a released ONNX model. A bad config is refused at launch, before any asset runs.",
)

data_job = dg.define_asset_job(
    "data_job",
    selection=[*DATA_ASSETS],
    config=_data_mapping,
    description="Read and binarize the rows; what learns from them follows by its automation conditions.",
)

search_job = dg.define_asset_job(
    "search_job",
    selection=[*DATA_ASSETS, search.hyperparameter_search],
    config=_search_mapping,
    description="From rows to the best hyperparameters. A bad config is refused at launch, before any asset runs.",
)


def training_schedule() -> dg.ScheduleDefinition:
    """Return the schedule that trains by the clock of the settings; it is off until somebody turns it on.

    Raise SettingsError when the settings name no clock.
    """
    cron = settings.optional(settings.CRON_VARIABLE, "0 6 * * 1")
    timezone = settings.optional(settings.TIMEZONE_VARIABLE, "UTC")
    try:
        return dg.ScheduleDefinition(
            name="training_schedule",
            job=training_job,
            cron_schedule=cron,
            execution_timezone=timezone,
            run_config=launch_config(TrainingConfig()),
            description="Trains every Monday at six, unless the settings say otherwise.",
        )
    except dg.DagsterInvalidDefinitionError as error:
        raise SettingsError(
            f"{settings.CRON_VARIABLE} must be five cron fields, as in '0 6 * * 1', and {settings.TIMEZONE_VARIABLE} a "
            f"name such as 'Europe/Lisbon', got {cron!r} and {timezone!r} ({error}). Change them or unset them."
        ) from error
