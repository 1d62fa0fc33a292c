"""What a user asked for on the command line, checked and turned into the typed config of training_job."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wine_assets.errors import ConfigurationError
from wine_assets.models.base import Hyperparameters
from wine_assets.models.reference import REFERENCE
from wine_assets.models.registry import validate

if TYPE_CHECKING:
    from wine_assets.orchestration.configs import SourceConfig, TrainingConfig


@dataclass(frozen=True)
class DataOptions:
    """The options that say where the rows come from and what they mean."""

    source: str
    query: str
    database: str
    database_variable: str
    class_column: str
    features: tuple[str, ...]
    negative_classes: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """All options of `wine-assets run` that change what is made."""

    data: DataOptions
    hyperparameters: Hyperparameters | None
    """None for those that the last search found."""
    evaluation: dict[str, Any]
    predictions: dict[str, Any]
    choice: str = ""
    """Which of those that the last search found: `best` or `simplest`."""


def hyperparameters(given: dict[str, Any], *, reference: bool, choice: str = "") -> Hyperparameters | None:
    """Return the hyperparameters of the options, the reference's, or None for those of the last search.

    Raise ConfigurationError for a mix of these.
    """
    whole = [flag for flag, is_given in (("--reference", reference), ("--hyperparameters", bool(choice))) if is_given]
    if not whole:
        return validate(given)
    if given or len(whole) > 1:
        beside = ", ".join([*whole[1:], *given])
        raise ConfigurationError(
            f"{whole[0]} sets every hyperparameter, and {beside} was given beside it. Leave one of them out."
        )
    return REFERENCE if reference else None


def training_config(request: Request) -> "TrainingConfig":
    """Return the typed config; raise ConfigurationError for options that contradict each other."""
    from wine_assets.orchestration import configs

    fields: dict[str, Any] = {
        **data_fields(request.data),
        "hyperparameters": _hyperparameters_config(request),
        "evaluation": configs.EvaluationConfig(**request.evaluation),
        "predictions": configs.PredictionsConfig(**request.predictions),
    }
    return configs.TrainingConfig(**fields)


def _hyperparameters_config(request: Request) -> Any:
    from wine_assets.orchestration import configs

    if request.hyperparameters is None:
        return configs.BestConfig(choice="simplest" if request.choice == "simplest" else "best")
    return configs.hyperparameters_config(request.hyperparameters)


def data_fields(data: DataOptions) -> dict[str, Any]:
    """Return the fields of a job's config that say which rows; raise ConfigurationError for options that don't fit."""
    fields: dict[str, Any] = {"source": _source(data)}
    return fields | {"negative_classes": [*data.negative_classes]} if data.negative_classes else fields


def origin(source: "SourceConfig") -> str:
    """Return how people are told of a source, in the words that an asset made of it has on record."""
    if source.kind == "bundled":
        return "the wine data bundled with scikit-learn"
    if source.kind == "file":
        return f"the file {source.path}"
    from wine_assets import settings
    from wine_assets.data.readers import sql_query

    return f"a query on {sql_query.public_name(source.url or settings.variable(source.url_variable))}"


def _source(data: DataOptions) -> "SourceConfig":
    from wine_assets.orchestration import configs

    if data.source and data.query:
        raise ConfigurationError("--source and --query both say where the rows come from. Leave one of them out.")
    if not data.query and (data.database or data.database_variable):
        raise ConfigurationError("--database and --database-variable need --query, which says what to read there.")
    if data.query and bool(data.database) == bool(data.database_variable):
        raise ConfigurationError(
            "--query needs exactly one of --database and --database-variable, which say where to ask it. "
            f"Got {'both' if data.database else 'neither'}."
        )
    columns: dict[str, Any] = {"class_column": data.class_column, "features": [*data.features]}
    if data.source:
        return configs.FileSourceConfig(path=_absolute(data.source), **columns)
    if data.query:
        return configs.SqlSourceConfig(
            query=data.query, url=data.database, url_variable=data.database_variable, **columns
        )
    if data.class_column or data.features:
        raise ConfigurationError("--class-column and --feature are about a file or a query: add --source or --query.")
    return configs.BundledSourceConfig()


def _absolute(path: str) -> str:
    """Return a path that means the same wherever the run is started again; a URL stays as it is.

    A shell leaves the `~` of `--source=~/wine.csv` to the program.
    """
    if "://" in path:
        return path
    with contextlib.suppress(RuntimeError):  # nobody's home is meant: the name itself begins with ~
        path = str(Path(path).expanduser())
    return str(Path(path).absolute())
