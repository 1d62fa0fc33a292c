"""The assembly point: every asset, job, schedule and sensor of the code location."""

import dagster as dg

from wine_assets import settings
from wine_assets.execution.compute import override
from wine_assets.orchestration import jobs, resources, search_assets, sensors


def build_definitions() -> dg.Definitions:
    """Return the definitions that the settings describe; raise a WineAssetsError for settings that make no sense."""
    requests = override({step.name: step.request for step in jobs.STEPS}, settings.compute_overrides())
    return dg.Definitions(
        assets=[*(step.asset(requests[step.name]) for step in jobs.STEPS), search_assets.hyperparameter_search],
        jobs=[jobs.training_job, jobs.data_job, jobs.search_job],
        schedules=[jobs.training_schedule()],
        sensors=[sensors.incoming_sensor],
        resources=resources.storage(),
        executor=resources.executor(),
    )


defs = build_definitions()
