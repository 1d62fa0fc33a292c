"""The commands: wine-assets run, wine-assets schema."""

import functools
import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from wine_assets.cli.options import OptionGroup, with_options
from wine_assets.errors import ConfigurationError, SettingsError, WineAssetsError
from wine_assets.ml.evaluation import EvaluationParams
from wine_assets.ml.hyperparameters import LogisticRegressionHyperparameters
from wine_assets.ml.prediction import PredictionsParams

FAILED, BAD_USAGE = 1, 2

HYPERPARAMETERS = OptionGroup(LogisticRegressionHyperparameters, "Hyperparameters")
EVALUATION = OptionGroup(EvaluationParams, "Evaluation")
PREDICTIONS = OptionGroup(PredictionsParams, "Predictions", prefix="predictions")
DATA_PANEL = "Data"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Wine measurements to a verified ONNX classifier, as Dagster assets.",
)


@app.callback()
def _commands() -> None:
    """Make `run` and `schema` commands of one program, however many there are."""


def _option(text: str, default: str = "") -> Any:
    return typer.Option(help=text, show_default=default or False, rich_help_panel=DATA_PANEL)


def _sentences(command: Callable[..., None]) -> Callable[..., None]:
    """Turn an error of this project into a sentence and an exit status, unless `debug` is given."""

    @functools.wraps(command)
    def call(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except WineAssetsError as error:
            if options.get("debug"):
                raise
            typer.echo(str(error), err=True)
            usage = isinstance(error, ConfigurationError | SettingsError)
            raise typer.Exit(BAD_USAGE if usage else FAILED) from None

    return call


@app.command()
@with_options([HYPERPARAMETERS, EVALUATION, PREDICTIONS])
@_sentences
def run(  # noqa: PLR0913 - a command has as many arguments as a user has options
    *,
    source: Annotated[str, _option("CSV or Parquet file to read, as a path or URL.", "the bundled wine data")] = "",
    query: Annotated[str, _option("SQL query that returns the rows; needs a database.")] = "",
    database: Annotated[str, _option("SQLAlchemy URL, without a password, for --query.")] = "",
    database_variable: Annotated[str, _option("Environment variable with the SQLAlchemy URL, for --query.")] = "",
    class_column: Annotated[str, _option("Column that holds the classes.", "found by its name")] = "",
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
            source, query, database, database_variable, class_column, tuple(feature or ()), tuple(negative_class or ())
        ),
        hyperparameters=requests.hyperparameters(HYPERPARAMETERS.given(options), reference=reference),
        evaluation=EVALUATION.given(options),
        predictions=PREDICTIONS.given(options),
    )
    success = training.run(request, training.Display(as_json=as_json, debug=debug), force=force)
    if not success:
        raise typer.Exit(FAILED)


@app.command()
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
