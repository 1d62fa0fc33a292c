"""The program `wine-assets`: every command by its name, each imported when it is there to be run."""

import importlib.util
from collections.abc import Callable
from typing import Any

import typer

from wine_assets.cli.commands import models, serve
from wine_assets.cli.error_handling import handle_errors
from wine_assets.errors import MissingExtraError

_PIPELINE = {
    "run": "Materialize what is stale, from rows to a released ONNX model, and show the result.",
    "search": "Look for hyperparameters, and show which are the best.",
    "home": "Make the project's Dagster home where there is none, and print where it is.",
    "schema": "Print the JSON Schema of the hyperparameters of every family.",
}
"""The commands that need the extra `pipeline`, with what stands beside each in the list of commands."""

_ANY_ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def program() -> typer.Typer:
    """Return the program, with what can be run by what is installed."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Wine measurements to a verified ONNX classifier, as Dagster assets.",
    )
    for name, text in _PIPELINE.items():
        _add(app, name, text)
    app.command(name="serve", help=serve.HELP, context_settings=_ANY_ARGUMENTS)(serve.serve)
    app.add_typer(models.app, name="models")
    return app


def _add(app: typer.Typer, name: str, text: str) -> None:
    if importlib.util.find_spec("dagster") is None:
        app.command(name=name, help=text, context_settings=_ANY_ARGUMENTS)(_missing(name))
        return
    from wine_assets.cli.commands import pipeline, search

    app.command(name=name, help=text)(getattr(search if name == "search" else pipeline, name))


def _missing(name: str) -> Callable[..., None]:
    @handle_errors
    def refuse(_context: typer.Context) -> None:
        raise MissingExtraError("pipeline", f"`wine-assets {name}`")

    wrapped: Any = refuse
    return wrapped  # type: ignore[no-any-return]
