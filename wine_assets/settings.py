"""What the user's environment says: the only module of the pipeline that reads it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from wine_assets.errors import SettingsError

HOME_VARIABLE = "WINE_ASSETS_HOME"
COMPUTE_VARIABLE = "WINE_ASSETS_COMPUTE"
EXECUTOR_VARIABLE = "WINE_ASSETS_EXECUTOR"
WATCH_VARIABLE = "WINE_ASSETS_WATCH"
CRON_VARIABLE = "WINE_ASSETS_CRON"
TIMEZONE_VARIABLE = "WINE_ASSETS_TIMEZONE"


@dataclass(frozen=True)
class Home:
    """The folder that holds all that runs write; deleting it is a reset."""

    path: Path

    @property
    def dagster(self) -> Path:
        """The Dagster home: run records, event logs, schedules."""
        return self.path / "dagster"

    @property
    def data(self) -> Path:
        """Frames, estimators and exported models, a folder an asset."""
        return self.path / "data"

    @property
    def reports(self) -> Path:
        """Reports for people, as self-contained HTML."""
        return self.path / "reports"

    @property
    def models(self) -> Path:
        """The repositories of released models, a folder a model."""
        return self.path / "models"

    @property
    def searches(self) -> Path:
        """The journals of hyperparameter searches, a folder a search."""
        return self.path / "searches"

    @property
    def incoming(self) -> Path:
        """The default folder that the sensor watches for data files."""
        return self.path / "incoming"


def home() -> Home:
    """Return the project's home: `.wine_assets` in the working directory unless WINE_ASSETS_HOME says otherwise."""
    return Home(Path(os.environ.get(HOME_VARIABLE) or ".wine_assets").absolute())


def variable(name: str) -> str:
    """Return the value of the environment variable `name`; raise SettingsError when it is unset or empty."""
    value = os.environ.get(name, "")
    if not value:
        raise SettingsError(
            f"The environment variable {name} is not set, or empty, and the configuration refers to it. "
            "Set it and try again."
        )
    return value


def optional(name: str, default: str) -> str:
    """Return the value of the environment variable `name`, or `default` when it is unset or empty."""
    return os.environ.get(name) or default


def compute_overrides() -> dict[str, object]:
    """Return the compute requests that WINE_ASSETS_COMPUTE changes: a JSON object of asset names and fields.

    Raise SettingsError when the variable doesn't hold one.
    """
    text = optional(COMPUTE_VARIABLE, "{}")
    try:
        overrides = json.loads(text)
    except ValueError as error:
        raise SettingsError(_not_an_object(text)) from error
    if not isinstance(overrides, dict):
        raise SettingsError(_not_an_object(text))
    return overrides


def _not_an_object(text: str) -> str:
    return (
        f"{COMPUTE_VARIABLE} must be a JSON object of asset names and compute requests, got {text!r}. "
        'Write, for example: {"raw_wine": {"memory": "2Gi"}}.'
    )
