"""The entry point of `wine-assets`: says so when the extra that it needs is missing."""

import importlib.util
import sys

from wine_assets.errors import MissingExtraError

BAD_USAGE = 2


def main() -> None:
    """Run the command line, or name the extra to install."""
    if importlib.util.find_spec("typer") is None or importlib.util.find_spec("dagster") is None:
        sys.stderr.write(f"{MissingExtraError('pipeline', 'The command line')}\n")
        sys.exit(BAD_USAGE)
    from wine_assets.cli.commands import app

    app()
