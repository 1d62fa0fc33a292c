"""`wine-assets serve`: the inference server, which reads its own options."""

import importlib.util

import typer

from wine_assets.cli.error_handling import handle_errors
from wine_assets.errors import MissingExtraError

HELP = "Serve the champion by the Open Inference Protocol; `wine-assets serve --help` lists the options."


@handle_errors
def serve(context: typer.Context) -> None:
    """Hand the arguments to the server; raise MissingExtraError where it is not installed."""
    if importlib.util.find_spec("uvicorn") is None:
        raise MissingExtraError("serve", "`wine-assets serve`")
    from wine_assets.serving.__main__ import main

    raise typer.Exit(main(context.args))
