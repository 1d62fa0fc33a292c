"""Spaces as people write them in a terminal: `C=log:1e-4:1e2`, `solver=lbfgs,saga`, `family.field=...`."""

from collections.abc import Mapping, Sequence
from typing import Any

from wine_assets.errors import SearchError
from wine_assets.search.space import Distribution, FamilySpace, Kind

RANGES: dict[str, tuple[Kind, bool]] = {
    "log": ("float", True),
    "uniform": ("float", False),
    "int": ("int", False),
    "logint": ("int", True),
}
"""How a range is written: its kind, and whether it is logarithmic."""
FORMS = "C=log:1e-4:1e2 (uniform, log, int, logint), or C=0.01,1,100"
_SWITCHES = {"true": True, "false": False}


def parse(texts: Sequence[str], families: Sequence[str]) -> dict[str, FamilySpace]:
    """Return what texts such as `C=log:1e-4:1e2` say of each family; a name with a dot belongs to one family alone.

    Raise SearchError for a text that says something else.
    """
    over: dict[str, dict[str, Distribution]] = {family: {} for family in families}
    for text in texts:
        family, field, distribution = _dimension(text, families)
        if field in over[family]:
            raise SearchError(f"{field!r} is given twice for {family}. Leave one --space out.")
        over[family][field] = distribution
    return {family: FamilySpace(parameters=fields) for family, fields in over.items()}


def shown(space: Mapping[str, FamilySpace]) -> list[str]:
    """Return the texts that say what a space says."""
    prefix = len(space) > 1
    return [
        f"{f'{family}.' if prefix else ''}{field}={text_of(distribution)}"
        for family, fields in space.items()
        for field, distribution in fields.parameters.items()
    ]


def text_of(distribution: Distribution) -> str:
    """Return a distribution as it is written in a terminal."""
    if distribution.kind == "categorical":
        return ",".join(str(value).lower() if isinstance(value, bool) else str(value) for value in distribution.values)
    word = next(word for word, range_ in RANGES.items() if range_ == (distribution.kind, distribution.log))
    return f"{word}:{_number(distribution.low)}:{_number(distribution.high)}"


def _number(value: float) -> str:
    """Return a number as short as it can be without becoming another one."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value).removesuffix(".0")


def _dimension(text: str, families: Sequence[str]) -> tuple[str, str, Distribution]:
    name, equals, said = text.partition("=")
    if not equals or not name.strip() or not said.strip():
        raise SearchError(f"--space must say what a hyperparameter is drawn from, as in {FORMS}; got {text!r}.")
    family, dot, field = name.strip().rpartition(".")
    if not dot and len(families) > 1:
        raise SearchError(
            f"With more than one family, --space needs the one that it is about, got {text!r}. "
            f"Write {families[0]}.{name.strip()}=..."
        )
    family = family or families[0]
    if family not in families:
        raise SearchError(f"--space {text!r} is about {family!r}, which isn't searched. Add --family {family}.")
    try:
        return family, field, _distribution(text, said.strip())
    except SearchError as error:
        refused = str(error)
        raise SearchError(refused if "--space" in refused else f"--space {text!r}: {refused}") from None


def _distribution(text: str, said: str) -> Distribution:
    word, colon, ends = said.partition(":")
    if not colon:
        values = [_value(part.strip()) for part in said.split(",") if part.strip()]
        return Distribution(kind="categorical", values=values)
    try:
        low, high = map(float, ends.split(":"))
        kind, log = RANGES[word]
    except (ValueError, KeyError):
        raise SearchError(f"--space must be like {FORMS}; got {text!r}.") from None
    return Distribution(kind=kind, log=log, low=low, high=high)


def _value(text: str) -> Any:
    if text.lower() in _SWITCHES:
        return _SWITCHES[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
