"""The commands of the pipeline: wine-assets run, wine-assets home, wine-assets schema."""

import json
import sys
from typing import Annotated, Any

import typer

from wine_assets.cli import wording
from wine_assets.cli.options import EVALUATION, GROUPS, HYPERPARAMETERS, PREDICTIONS, with_options
from wine_assets.cli.sentences import FAILED, sentences
from wine_assets.ml.hyperparameters import json_schema

DATA_PANEL = "Data"


def _option(text: str, default: str = "") -> Any:
    return typer.Option(
        help=text, show_default=default or False, rich_help_panel=DATA_PANEL, metavar="TEXT", callback=_not_empty
    )


def _not_empty(value: str | list[str] | None) -> str | list[str] | None:
    """Refuse an empty text: it is an unset variable of a script more often than it is meant."""
    if value is not None and "" in (value if isinstance(value, list) else [value]):
        raise typer.BadParameter("must not be empty")
    return value


@with_options(GROUPS)
@sentences
@wording.spoken_in_flags
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


@sentences
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
