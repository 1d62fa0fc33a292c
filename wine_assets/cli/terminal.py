"""Where text is printed: a terminal with its width and colours, or plain text that is never cut nor wrapped."""

from rich.console import Console

_PLAIN_WIDTH = 10_000


def console(*, stderr: bool = False) -> Console:
    """Return the console of the output, or of the errors; what is printed there is taken as it is, without markup."""
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = _PLAIN_WIDTH
    return made
