"""Where text is printed: a terminal with its width and colours, or plain text that is never cut nor wrapped."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO

from rich.console import Console

_PLAIN_WIDTH = 10_000


def console(*, stderr: bool = False, file: IO[str] | None = None) -> Console:
    """Return the console of the output, or of the errors; what is printed there is taken as it is, without markup."""
    made = Console(stderr=stderr, file=file, highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = _PLAIN_WIDTH
    return made


@contextlib.contextmanager
def user_console(*, stderr: bool = False) -> Iterator[Console]:
    """Yield a console that stays the user's while a run works, whose own output Dagster diverts into log files."""
    stream = sys.stderr if stderr else sys.stdout
    try:
        descriptor = os.dup(stream.fileno())
    except OSError:  # it is no file of the system's
        yield console(stderr=stderr)
        return
    with open(descriptor, "w", encoding=stream.encoding, errors=stream.errors, buffering=1) as file:  # noqa: PTH123 - it has no path
        yield console(file=file)
