"""How a command ends early: one sentence, an exit status, and a traceback where it is asked for."""

import functools
import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

import typer

from wine_assets.errors import (
    ComputeRequestError,
    ConfigurationError,
    MissingExtraError,
    SettingsError,
    WineAssetsError,
    as_sentence,
)

FAILED, BAD_USAGE = 1, 2
_REASON_LENGTH = 300


def handle_errors(command: Callable[..., None]) -> Callable[..., None]:
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
            sentence = _sentence(error, has_debug="debug" in options)
            if options.get("as_json"):
                sys.stdout.write(json.dumps({"status": "refused", "error": sentence}, indent=2) + "\n")
            sys.stderr.write(f"{sentence}\n")
            raise typer.Exit(_status(error)) from None

    return call


def _sentence(error: Exception, *, has_debug: bool) -> str:
    if isinstance(error, WineAssetsError):
        return as_sentence(str(error))
    reason = " ".join(str(error).split())[:_REASON_LENGTH]
    hint = " Add --debug to see where." if has_debug else ""
    return f"The command ended with an unexpected {type(error).__name__}: {as_sentence(reason)}{hint}"


def _status(error: Exception) -> int:
    usage = isinstance(error, ConfigurationError | SettingsError | ComputeRequestError | MissingExtraError)
    return BAD_USAGE if usage else FAILED
