"""The entry point of `wine-assets`: one sentence and an exit status for everything that ends it early."""

import atexit
import gc
import importlib.util
import os
import sys

from wine_assets.cli import signals
from wine_assets.errors import MissingExtraError, as_sentence

BAD_USAGE = 2


def main() -> None:
    """Run the command line, or name the extra to install, and exit with a status."""
    if importlib.util.find_spec("typer") is None:
        sys.stderr.write(f"{MissingExtraError(_extra(), 'The command line')}\n")
        sys.exit(BAD_USAGE)
    _tune_for_one_command()
    with signals.watch():
        status = _stoppable()
    sys.exit(status)


def _extra() -> str:
    """Return the extra that brings the command which the arguments name."""
    return "serve" if sys.argv[1:2] in (["serve"], ["models"]) else "pipeline"


def _tune_for_one_command() -> None:
    """Spare a process that lives for seconds what pays in one that lives for days.

    Importing makes a million objects and hardly any garbage, so that collecting it costs a sixth of a run's time; and
    threads of linear algebra that spin while they wait cost more than they bring (a step may ask for more of them).
    What is left at the end needs no last search for garbage either, which would take a fifth of a run's time.
    """
    atexit.register(gc.freeze)
    gc.set_threshold(1_000_000, 50, 1_000)
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def _stoppable() -> int:
    """Return the status of the command, or that of the signal which stopped it."""
    try:
        status = _command()
    except BaseException:  # Dagster has exceptions of its own for signals, of no common kind
        if not signals.first():
            raise
    number = signals.first()
    if number is None:
        return status
    sys.stderr.write(
        f"Stopped by {number.name}: what was made so far is kept, and all else stays as it was. "
        "Type the same command again to go on.\n"
    )
    return signals.STATUS_OF_A_SIGNAL + number


def _command() -> int:
    """Run the command that the arguments name; typer's complaints about them become one sentence."""
    from wine_assets.cli.app import program

    try:
        status: int | None = program()(prog_name="wine-assets", standalone_mode=False)
    except Exception as error:
        if not hasattr(error, "format_message"):  # typer's, wherever this version of it has them
            raise
        sys.stderr.write(_usage_sentence(error))
        return BAD_USAGE
    return status or 0


def _usage_sentence(error: Exception) -> str:
    """Return what is wrong with the arguments, and where to look; nothing when typer has shown its help already."""
    from wine_assets.config import clear_message  # typer brings pydantic, which this needs

    message = clear_message(error.format_message().strip())  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "wine-assets"
    return f"{as_sentence(message)} See `{command} --help`.\n" if message else ""
