"""The assembly point: every asset, job, schedule and sensor of the code location."""

import dagster as dg

from wine_assets import settings
from wine_assets.compute.request import require_names
from wine_assets.orchestration import jobs, resources, sensors
from wine_assets.orchestration.assets.search import hyperparameter_search


def build_definitions() -> dg.Definitions:
    """Return the definitions that the settings describe; raise a WineAssetsError for settings that make no sense."""
    assets = [*jobs.ASSETS, hyperparameter_search]
    require_names(settings.compute_overrides(), [asset.key.to_user_string() for asset in assets])
    return dg.Definitions(
        assets=assets,
        jobs=[jobs.training_job, jobs.data_job, jobs.search_job],
        schedules=[jobs.training_schedule()],
        sensors=[sensors.incoming_sensor],
        resources=resources.storage(),
        executor=resources.executor(),
    )


defs = build_definitions()
