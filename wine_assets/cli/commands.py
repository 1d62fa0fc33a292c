"""The commands: wine-assets run, wine-assets home, wine-assets schema."""

import functools
import json
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer

from wine_assets.cli import wording
from wine_assets.cli.options import EVALUATION, GROUPS, HYPERPARAMETERS, PREDICTIONS, with_options
from wine_assets.errors import (
    ComputeRequestError,
    ConfigurationError,
    SettingsError,
    WineAssetsError,
    as_sentence,
)
from wine_assets.ml.hyperparameters import LogisticRegressionHyperparameters

FAILED, BAD_USAGE = 1, 2

DATA_PANEL = "Data"
_REASON_LENGTH = 300

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Wine measurements to a verified ONNX classifier, as Dagster assets.",
)


@app.callback()
def _commands() -> None:
    """Make every command one of a program's, however many there are."""


def _option(text: str, default: str = "") -> Any:
    return typer.Option(
        help=text, show_default=default or False, rich_help_panel=DATA_PANEL, metavar="TEXT", callback=_not_empty
    )


def _not_empty(value: str | list[str] | None) -> str | list[str] | None:
    """Refuse an empty text: it is an unset variable of a script more often than it is meant."""
    if value is not None and "" in (value if isinstance(value, list) else [value]):
        raise typer.BadParameter("must not be empty")
    return value


def _sentences(command: Callable[..., None]) -> Callable[..., None]:
    """Turn an error into a sentence and an exit status, after its traceback where `debug` is given."""

    @functools.wraps(command)
    def call(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except (typer.Exit, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001 - the last one to hear of it tells the user
            if options.get("debug"):
                traceback.print_exc()
            sys.stderr.write(f"{_sentence(error)}\n")
            raise typer.Exit(_status(error)) from None

    return call


def _sentence(error: Exception) -> str:
    if isinstance(error, WineAssetsError):
        return as_sentence(wording.in_flags(str(error)))
    reason = " ".join(str(error).split())[:_REASON_LENGTH]
    return (
        f"The command ended with an unexpected {type(error).__name__}: {as_sentence(reason)} Add --debug to see where."
    )


def _status(error: Exception) -> int:
    usage = isinstance(error, ConfigurationError | SettingsError | ComputeRequestError)
    return BAD_USAGE if usage else FAILED


@app.command()
@with_options(GROUPS)
@_sentences
def run(  # noqa: PLR0913 - a command has as many arguments as a user has options
    *,
    source: Annotated[
        str | None, _option("CSV or Parquet file to read, as a path or URL.", "the bundled wine data")
    ] = None,
    query: Annotated[str | None, _option("SQL query that returns the rows; needs a database.")] = None,
    database: Annotated[str | None, _option("SQLAlchemy URL, without a password, for --query.")] = None,
    database_variable: Annotated[
        str | None, _option("Environment variable with the SQLAlchemy URL, for --query.")
    ] = None,
    class_column: Annotated[str | None, _option("Column that holds the classes.", "found by its name")] = None,
    feature: Annotated[list[str] | None, _option("Column to learn from; repeat it.", "all others")] = None,
    negative_class: Annotated[list[str] | None, _option("Class that becomes 0; repeat it.", "0")] = None,
    reference: Annotated[bool, typer.Option("--reference", help="Fit the reference: C=0.01, no scaler.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Materialize every asset, fresh or not.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    **options: Any,
) -> None:
    """Materialize what is stale, from rows to a verified ONNX model, and show the result."""
    from wine_assets.cli import requests, training

    request = requests.Request(
        data=requests.DataOptions(
            source=source or "",
            query=query or "",
            database=database or "",
            database_variable=database_variable or "",
            class_column=class_column or "",
            features=tuple(feature or ()),
            negative_classes=tuple(negative_class or ()),
        ),
        hyperparameters=requests.hyperparameters(HYPERPARAMETERS.given(options), reference=reference),
        evaluation=EVALUATION.given(options),
        predictions=PREDICTIONS.given(options),
    )
    success = training.run(request, training.Display(as_json=as_json, debug=debug), force=force)
    if not success:
        raise typer.Exit(FAILED)


@app.command()
@_sentences
def home() -> None:
    """Make the project's Dagster home where there is none, and print where it is."""
    from wine_assets import settings
    from wine_assets.orchestration import instance

    place = settings.home()
    instance.prepare(place)
    sys.stdout.write(f"{place.dagster}\n")


@app.command()
def schema() -> None:
    """Print the JSON Schema of the hyperparameters."""
    sys.stdout.write(json.dumps(LogisticRegressionHyperparameters.model_json_schema(), indent=2) + "\n")
