"""What assets are run with: their storage and their executor."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from wine_assets import settings
from wine_assets.errors import MissingExtraError, SettingsError
from wine_assets.orchestration.io_managers import CHUNKS, FORMATS, chunk_io_manager, io_manager

_RAY_ENVIRONMENT = ["DAGSTER_HOME", settings.HOME_VARIABLE, settings.COMPUTE_VARIABLE, settings.EXECUTOR_VARIABLE]
"""What a step that is a Ray job of its own takes along from the run's environment, beside a PATH with `dagster`."""


def storage() -> dict[str, dg.IOManagerDefinition]:
    """Return the IO manager of each format, and that of the chunks of a search."""
    formats = {name: io_manager(artifact_format) for name, artifact_format in FORMATS.items()}
    return formats | {CHUNKS: chunk_io_manager}


def executor() -> dg.ExecutorDefinition:
    """Return the executor that the settings name; raise SettingsError for one that there isn't."""
    name = settings.optional(settings.EXECUTOR_VARIABLE, "in_process")
    if name not in EXECUTORS:
        raise SettingsError(
            f"{settings.EXECUTOR_VARIABLE} must be one of {', '.join(EXECUTORS)}, got {name!r}. Change it or unset it."
        )
    return EXECUTORS[name]()


def _in_process() -> dg.ExecutorDefinition:
    return dg.in_process_executor


def _multiprocess() -> dg.ExecutorDefinition:
    return dg.multiprocess_executor


def _ray() -> dg.ExecutorDefinition:
    """Return the executor that makes each step a job on the cluster of RAY_ADDRESS, by default this machine's.

    It is given no resources of its own, because those would replace what the assets' tags ask for.
    """
    try:
        from dagster_ray import ray_executor
    except ImportError as error:
        raise MissingExtraError("ray", f"{settings.EXECUTOR_VARIABLE}=ray") from error
    path = os.pathsep.join([str(Path(sys.executable).parent), settings.optional("PATH", os.defpath)])
    environment = [f"PATH={path}", *_RAY_ENVIRONMENT]
    configured: dg.ExecutorDefinition = ray_executor.configured({"ray": {"env_vars": environment}}, name="ray")
    return configured


EXECUTORS: dict[str, Callable[[], dg.ExecutorDefinition]] = {
    "in_process": _in_process,
    "multiprocess": _multiprocess,
    "ray": _ray,
}
