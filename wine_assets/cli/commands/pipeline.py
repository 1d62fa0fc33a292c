"""The commands of the pipeline: wine-assets run, wine-assets home, wine-assets schema."""

import json
import sys
from typing import Annotated, Any, Literal

import typer

from wine_assets.cli import data_options, wording
from wine_assets.cli.error_handling import FAILED, handle_errors
from wine_assets.cli.options import EVALUATION, GROUPS, HYPERPARAMETERS, PREDICTIONS, with_options
from wine_assets.models.hyperparameters import json_schema


@with_options(GROUPS)
@handle_errors
@wording.spoken_in_flags
def run(  # noqa: PLR0913 - a command has as many arguments as a user has options
    *,
    source: data_options.Source = None,
    query: data_options.Query = None,
    database: data_options.Database = None,
    database_variable: data_options.DatabaseVariable = None,
    class_column: data_options.ClassColumn = None,
    feature: data_options.FeatureColumns = None,
    negative_class: data_options.NegativeClasses = None,
    reference: Annotated[bool, typer.Option("--reference", help="Fit the reference: C=0.01, no scaler.")] = False,
    hyperparameters: Annotated[
        Literal["best", "simplest"] | None,
        typer.Option(help="Fit what the last `wine-assets search` found.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Materialize every asset, fresh or not.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    **options: Any,
) -> None:
    """Materialize what is stale, from rows to a verified ONNX model, and show the result."""
    from wine_assets.cli import job_config
    from wine_assets.cli.commands import training

    request = job_config.Request(
        data=data_options.collect(
            source=source,
            query=query,
            database=database,
            database_variable=database_variable,
            class_column=class_column,
            feature=feature,
            negative_class=negative_class,
        ),
        hyperparameters=job_config.hyperparameters(
            HYPERPARAMETERS.values(options), reference=reference, choice=hyperparameters or ""
        ),
        choice=hyperparameters or "",
        evaluation=EVALUATION.values(options),
        predictions=PREDICTIONS.values(options),
    )
    success = training.run(request, training.Display(as_json=as_json, debug=debug), force=force)
    if not success:
        raise typer.Exit(FAILED)


@handle_errors
def home() -> None:
    """Make the project's Dagster home where there is none, and print where it is."""
    from wine_assets import settings
    from wine_assets.orchestration import instance

    place = settings.home()
    instance.prepare(place)
    sys.stdout.write(f"{place.dagster}\n")


def schema() -> None:
    """Print the JSON Schema of the hyperparameters of every family."""
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
