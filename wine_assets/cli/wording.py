"""Messages about the fields of a run config in the words of the command line: its options."""

import functools
import re
from collections.abc import Callable
from typing import Any

from wine_assets.cli.options import GROUPS, SEARCH_GROUPS
from wine_assets.errors import WineAssetsError

_FLAGS = {
    "path": "--source",
    "query": "--query",
    "url": "--database",
    "url_variable": "--database-variable",
    "class_column": "--class-column",
    "features": "--feature",
    "negative_classes": "--negative-class",
}
_NAMES = "|".join(_FLAGS)
_MENTIONS = (
    re.compile(rf"()`source[.]({_NAMES})`(?: in the run config)?"),
    re.compile(rf"\b([Cc]heck |[Cc]hange |[Uu]se |[Ww]ith |[Ii]n |[Aa]s )`({_NAMES})`(?: in the run config)?"),
    re.compile(rf"()`({_NAMES})`(?= names | must leave | must be one | must not hold | otherwise)"),
)
"""Where a message means the field: a column of the user's may have the same name, and keeps it."""
_SEARCHED = (
    (
        re.compile(r"(Change )?`space[.]\w+[.](\w+)` to (\w+)"),
        lambda mention: f"{'Give ' if mention[1] else ''}--space {mention[2]}={mention[3]}",
    ),
    (re.compile(r"`space[.]\w+(?:[.]\w+)?`(?: in the run config)?"), lambda _: "--space"),
    (re.compile(r"`space` in the run config"), lambda _: "--family"),
    (
        re.compile(r"`(?:search|strategy|backend)[.](\w+)`(?: in the run config)?"),
        lambda mention: "--" + mention[1].replace("_", "-"),
    ),
)
"""Where a message means a field of a search."""
_PHRASES = {
    "`scaler: standard`": "--scaler standard",
    "a smaller `C`": "a smaller --C",
    "a smaller `max_iter`": "a smaller --max-iter",
}


def spoken_in_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Have the errors of a command say options where they mean fields."""

    @functools.wraps(command)
    def call(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except WineAssetsError as error:
            error.args = (in_flags(str(error)),)
            raise

    return call


def in_flags(message: str) -> str:
    """Return a message with options in place of the fields that they set."""
    message = functools.reduce(lambda text, group: group.in_flags(text), (*GROUPS, *SEARCH_GROUPS), message)
    message = functools.reduce(lambda text, mention: mention.sub(_in_flag, text), _MENTIONS, message)
    message = functools.reduce(lambda text, searched: searched[0].sub(searched[1], text), _SEARCHED, message)
    return functools.reduce(lambda text, phrase: text.replace(*phrase), _PHRASES.items(), message)


def _in_flag(mention: re.Match[str]) -> str:
    return mention[1] + _FLAGS[mention[2]]
