"""The assembly point: every asset, job, schedule and sensor of the code location."""

import dagster as dg

from wine_assets import settings
from wine_assets.compute.request import override
from wine_assets.orchestration import jobs, resources, sensors
from wine_assets.orchestration.assets import search


def build_definitions() -> dg.Definitions:
    """Return the definitions that the settings describe; raise a WineAssetsError for settings that make no sense."""
    asked = {step.name: step.request for step in jobs.STEPS} | {search.NAME: search.REQUEST}
    requests = override(asked, settings.compute_overrides())
    steps = [step.asset(requests[step.name]) for step in jobs.STEPS]
    return dg.Definitions(
        assets=[*steps, search.asset(requests[search.NAME])],
        jobs=[jobs.training_job, jobs.data_job, jobs.search_job],
        schedules=[jobs.training_schedule()],
        sensors=[sensors.incoming_sensor],
        resources=resources.storage(),
        executor=resources.executor(),
    )


defs = build_definitions()
