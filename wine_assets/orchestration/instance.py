"""The project's own Dagster home, and the instance that lives in it."""

import dagster as dg

from wine_assets.errors import SettingsError
from wine_assets.files import atomic_write
from wine_assets.orchestration.dagster_internals import InstanceRef
from wine_assets.settings import HOME_VARIABLE, Home

CONFIGURATION = """\
# The project's own Dagster home: runs start at once, each in a process of its own, and nothing is reported to anyone.
telemetry:
  enabled: false
# No dialog asks a newcomer for an address.
nux:
  enabled: false
run_coordinator:
  module: dagster._core.run_coordinator
  class: DefaultRunCoordinator
run_monitoring:
  enabled: true
"""


def prepare(home: Home) -> None:
    """Make the Dagster home where there is none; one that is there stays as it is.

    Raise SettingsError when the home can't be written to.
    """
    configuration = home.dagster / "dagster.yaml"
    try:
        if not configuration.exists():
            atomic_write(configuration, CONFIGURATION.encode())
    except OSError as error:
        raise SettingsError(
            f"The project's home {home.path} can't be written to ({error.strerror}). "
            f"Set {HOME_VARIABLE} to a folder that can be, or change who may write to it."
        ) from error


def quiet_instance(home: Home) -> dg.DagsterInstance:
    """Return the instance of the project's home; it records everything and writes no log lines to the terminal."""
    prepare(home)
    quiet = {"python_logs": {"python_log_level": "CRITICAL"}}
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home.dagster), overrides=quiet))
