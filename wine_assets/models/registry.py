"""Every family that an installed package offers, by an entry point of the group `wine_assets.families`."""

import functools
import inspect
import itertools
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, Union

from pydantic import Field, TypeAdapter

from wine_assets.errors import FamilyError, HyperparameterError
from wine_assets.models.base import RESERVED_FIELDS, Family, Hyperparameters, Iterative
from wine_assets.models.reference import DEFAULT_FAMILY

GROUP = "wine_assets.families"
_OWN_DISTRIBUTION = "wine-assets"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Registry:
    families: dict[str, Family[Any]]
    problems: dict[str, str]
    """Why a name can't be used, in a sentence."""


def families() -> dict[str, Family[Any]]:
    """Return every family by its name, from simple to complex."""
    return _registry().families


def iterative_families() -> list[str]:
    """Return the names of the families whose fits can be looked at in between."""
    return [name for name, family in families().items() if isinstance(family, Iterative)]


def family_named(name: str) -> Family[Any]:
    """Return a family by its name; raise FamilyError if there is none, or if its entry point can't be used."""
    if name in families():
        return families()[name]
    known = f"The families are: {', '.join(families())}."
    raise FamilyError(f"{_registry().problems.get(name) or f'There is no family {name!r}.'} {known}")


def family_of(hyperparameters: Hyperparameters) -> Family[Any]:
    """Return the family whose hyperparameters these are."""
    return family_named(hyperparameters.family)


def validate(fields: Mapping[str, Any] | Hyperparameters) -> Hyperparameters:
    """Return the typed hyperparameters of the family that `fields` name, which is the default one for none.

    Raise HyperparameterError for a family that there isn't, and for what the family refuses.
    """
    if isinstance(fields, Hyperparameters):
        return fields
    if not isinstance(fields, Mapping):
        raise HyperparameterError(
            f"hyperparameters must be a mapping of fields, got {fields!r}. Name them, as in C: 1."
        )
    named = {"family": DEFAULT_FAMILY, **fields}
    family = named["family"]
    if not isinstance(family, str) or family not in families():
        problem = _registry().problems.get(str(family))
        raise HyperparameterError(
            f"family must be {' or '.join(map(repr, families()))}, got {family!r}. "
            + (problem or "Change `hyperparameters.family` in the run config.")
        )
    _refuse_fields_of_others(named, family)
    hyperparameters: Hyperparameters = families()[family].hyperparameters.model_validate(named)
    return hyperparameters


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the hyperparameters of any family."""
    union: Any = Union[tuple(family.hyperparameters for family in families().values())]  # noqa: UP007 - made of a list
    return TypeAdapter(Annotated[union, Field(discriminator="family")]).json_schema()


def _refuse_fields_of_others(fields: Mapping[str, Any], family: str) -> None:
    for name in fields:
        owners = [other for other, known in families().items() if name in known.hyperparameters.model_fields]
        if owners and family not in owners:
            raise HyperparameterError(
                f"`hyperparameters.{name}` is of the family {owners[0]}, and the family is {family}, which has no such "
                f"field. Set `hyperparameters.family` to {owners[0]}, or leave `hyperparameters.{name}` out."
            )


@functools.cache
def _registry() -> _Registry:
    """Load each entry point once; one that can't be used is logged, and breaks nothing but what asks for it.

    Raise FamilyError if the default family is missing, as in an installation from before families were entry points.
    """
    loaded, problems = [], {}
    for name, entries in itertools.groupby(sorted(entry_points(group=GROUP), key=_order), lambda entry: entry.name):
        first, *others = entries
        is_own = _distribution(first) == _OWN_DISTRIBUTION
        for entry in others:
            problem = (
                f"{_about(entry)} has a name that {_distribution(first)} has taken. Uninstall one of the packages."
            )
            _log.warning(problem)
            problems[name] = problem
        if is_own or not others:
            try:
                loaded.append(_load(first))
            except FamilyError as error:
                _log.warning(str(error))
                problems[name] = str(error)
    if DEFAULT_FAMILY not in [family.name for family in loaded]:
        raise FamilyError(
            f"The installation of {_OWN_DISTRIBUTION} names no family {DEFAULT_FAMILY!r}: it is older than this code, "
            "or damaged. Install it again, with `make run` or `pip install --editable .`."
        )
    ordered = sorted(loaded, key=lambda family: (family.flexibility, family.name))
    return _Registry({family.name: family for family in ordered}, problems)


def _order(entry: EntryPoint) -> tuple[str, bool, str]:
    return entry.name, _distribution(entry) != _OWN_DISTRIBUTION, _distribution(entry)


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name.replace("_", "-") if entry.dist is not None else "an unknown package"


def _about(entry: EntryPoint) -> str:
    return f"The entry point `{entry.name} = {entry.value}` of {_distribution(entry)}"


def _load(entry: EntryPoint) -> Family[Any]:
    """Return the family that an entry point names; raise FamilyError for anything else."""
    try:
        family = entry.load()
    except Exception as error:
        raise FamilyError(
            f"{_about(entry)} can't be loaded ({type(error).__name__}: {error}). Update or uninstall that package."
        ) from error
    problems = [*_problems(entry.name, family)]
    if problems:
        raise FamilyError(f"{_about(entry)} is no family: {'; '.join(problems)}. Update or uninstall that package.")
    checked: Family[Any] = family
    return checked


def _problems(name: str, family: Any) -> Iterator[str]:
    members = {*Family.__annotations__, *(key for key, value in vars(Family).items() if inspect.isfunction(value))}
    lacking = sorted(member for member in members if not member.startswith("_") and not hasattr(family, member))
    if isinstance(family, type) or lacking:
        yield f"it is a {type(family).__name__} without {', '.join(lacking)}" if lacking else "it is a class"
        return
    if family.name != name:
        yield f"its name is {family.name!r}"
    model = family.hyperparameters
    if not (isinstance(model, type) and issubclass(model, Hyperparameters)):
        yield "its hyperparameters are no subclass of Hyperparameters"
    elif reserved := sorted(RESERVED_FIELDS & {*model.model_fields}):
        yield f"its hyperparameters have the names of other options: {', '.join(reserved)}"
    elif model.model_fields["family"].default != name:
        yield f"the default of the field `family` of its hyperparameters is not {name!r}"
