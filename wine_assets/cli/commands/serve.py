"""`wine-assets serve`: the inference server, which reads its own options."""

import typer

from wine_assets.cli.error_handling import handle_errors


@handle_errors
def serve(context: typer.Context) -> None:
    """Hand the arguments to the server."""
    from wine_assets.serving.__main__ import main

    raise typer.Exit(main(context.args))
