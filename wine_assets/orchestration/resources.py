"""What assets are run with: their storage and their executor."""

import dagster as dg

from wine_assets import settings
from wine_assets.errors import SettingsError
from wine_assets.orchestration.io import FORMATS, ArtifactIOManager

EXECUTORS = ("in_process", "multiprocess", "ray")


def io_managers() -> dict[str, ArtifactIOManager]:
    """Return the storage of each format."""
    return {name: ArtifactIOManager(format_name=name) for name in FORMATS}


def executor() -> dg.ExecutorDefinition:
    """Return the executor that the settings name; raise SettingsError for one that there isn't."""
    name = settings.optional(settings.EXECUTOR_VARIABLE, EXECUTORS[0])
    if name == "in_process":
        return dg.in_process_executor
    if name == "multiprocess":
        return dg.multiprocess_executor
    raise SettingsError(
        f"{settings.EXECUTOR_VARIABLE} must be one of {', '.join(EXECUTORS)}, got {name!r}. Change it or unset it."
    )
