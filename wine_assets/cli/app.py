"""The program `wine-assets`: the registry of its commands, each of which is one module of `commands`."""

import importlib
import importlib.util
from collections.abc import Callable
from typing import NamedTuple

import typer

from wine_assets.cli.commands import models
from wine_assets.cli.error_handling import handle_errors
from wine_assets.errors import MissingExtraError


class Extra(NamedTuple):
    """An extra that a command needs, and a package that is there where it is installed."""

    name: str
    package: str


PIPELINE, SERVE = Extra("pipeline", "dagster"), Extra("serve", "uvicorn")


class Command(NamedTuple):
    """A command: the function of its own name in the module of its name."""

    name: str
    extra: Extra
    help: str
    """The text in the list of commands, which is shown even where the extra is missing."""
    reads_arguments: bool = False
    """Whether the function gets the arguments as they are, instead of parsed options."""


COMMANDS = (
    Command("run", PIPELINE, "Materialize what is stale, from rows to a released ONNX model, and show the result."),
    Command("search", PIPELINE, "Look for hyperparameters, and show which are the best."),
    Command("home", PIPELINE, "Make the project's Dagster home where there is none, and print where it is."),
    Command("schema", PIPELINE, "Print the JSON Schema of the hyperparameters of every family."),
    Command(
        "serve",
        SERVE,
        "Serve the champion by the Open Inference Protocol; `wine-assets serve --help` lists the options.",
        reads_arguments=True,
    ),
)
_ANY_ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def program() -> typer.Typer:
    """Return the program; a command whose extra is missing names the extra."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Wine measurements to a verified ONNX classifier, as Dagster assets.",
    )
    for command in COMMANDS:
        is_missing = importlib.util.find_spec(command.extra.package) is None
        settings = _ANY_ARGUMENTS if is_missing or command.reads_arguments else {}
        function = _missing(command) if is_missing else _function(command)
        app.command(name=command.name, help=command.help, context_settings=settings)(function)
    app.add_typer(models.app, name="models")
    return app


def _function(command: Command) -> Callable[..., None]:
    function: Callable[..., None] = getattr(
        importlib.import_module(f"wine_assets.cli.commands.{command.name}"), command.name
    )
    return function


def _missing(command: Command) -> Callable[..., None]:
    @handle_errors
    def fail(_context: typer.Context) -> None:
        raise MissingExtraError(command.extra.name, f"`wine-assets {command.name}`")

    return fail
