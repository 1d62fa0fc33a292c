"""The space of a search: which hyperparameters of which families are tried, and over what."""

import itertools
import math
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from wine_assets.config import StrictModel
from wine_assets.errors import ConfigurationError, FamilyError, SearchError
from wine_assets.models import registry
from wine_assets.models.base import Family, Hyperparameters
from wine_assets.models.reference import DEFAULT_FAMILY

Kind = Literal["categorical", "float", "int", "choice", "uniform", "log_uniform", "integer", "log_integer"]
DEPRECATED_KINDS: dict[str, tuple[Kind, bool]] = {
    "choice": ("categorical", False),
    "uniform": ("float", False),
    "log_uniform": ("float", True),
    "integer": ("int", False),
    "log_integer": ("int", True),
}
"""Former names of kinds, and what they mean: a kind, and whether it is logarithmic."""
FAMILY = "family"
"""The field that tells families apart; it is never searched over by itself."""
GRID_SIZE = 1_000_000
"""How many combinations a grid may have: as many as a search may have trials."""
PROBES = 1024
"""Of how many combinations of ends, middles and choices at most it is asked whether the family takes them."""


class Distribution(StrictModel):
    """What one hyperparameter is drawn from."""

    config_path: ClassVar[str] = "space"
    error_class: ClassVar[type[ConfigurationError]] = SearchError

    kind: Kind = Field(
        description="`categorical`: one of `values`; `float` or `int`: a number from `low` to `high` "
        "(`choice`, `uniform`, `log_uniform`, `integer` and `log_integer` are deprecated names)"
    )
    low: float = Field(default=0.0, description="smallest value of a range, included")
    high: float = Field(default=0.0, description="largest value of a range, included")
    log: bool = Field(default=False, description="whether each order of magnitude of a range is drawn equally often")
    values: list[Any] = Field(
        default=[], description="values of a categorical parameter, each a number, a text or a switch"
    )

    @model_validator(mode="before")
    @classmethod
    def _accept_deprecated_kind(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or data.get("kind") not in DEPRECATED_KINDS:
            return data
        kind, log = DEPRECATED_KINDS[data["kind"]]
        now = f"`{kind}` with `log: true`" if log else f"`{kind}`"
        warnings.warn(f"The kind `{data['kind']}` is deprecated. Write {now}.", DeprecationWarning, stacklevel=2)
        return {**data, "kind": kind, "log": log}

    @model_validator(mode="after")
    def _check_values_and_range(self) -> Self:
        problem = self._problem_of_categories() if self.kind == "categorical" else self._problem_of_range()
        if problem:
            raise SearchError(problem)
        return self

    def _problem_of_categories(self) -> str:
        if not self.values:
            return "A categorical parameter needs at least one value, got none. Name them in `values`."
        if self.low or self.high or self.log:
            return "`low`, `high` and `log` belong to a range, and this is categorical. Leave them out."
        odd = [value for value in self.values if not isinstance(value, str | int | float | bool)]
        if odd:
            return f"A value must be a number, a text or a switch, got {odd[0]!r}. Change `values`."
        if len({*self.values}) < len(self.values):
            return f"Each value counts once, got {self.values}. Leave the repeated ones out."
        return ""

    def _problem_of_range(self) -> str:
        if self.values:
            return f"`values` belong to `categorical`, and this is `{self.kind}`. Leave them out, or change `kind`."
        if not self.low < self.high:
            return (
                f"`low` must be below `high`, got {self.low:g} and {self.high:g}. "
                "Swap them, or make it categorical with one value."
            )
        if self.log and self.low <= 0:
            return f"`low` of a logarithmic range must be above 0, got {self.low:g}. Raise it, or leave `log` out."
        if self.kind == "int" and not (self.low.is_integer() and self.high.is_integer()):
            return f"Both ends of `int` must be whole, got {self.low:g} and {self.high:g}. Round them."
        return ""

    def at(self, share: float) -> Any:
        """Return the value below which a share, from 0 to 1, of all draws are."""
        if self.kind == "categorical":
            return self.values[min(int(share * len(self.values)), len(self.values) - 1)]
        if self.kind == "float":
            return self._between(self.low, self.high, share)
        half = 0.5  # each whole number, the ends too, has an interval of its own
        number = round(self._between(self.low - half, self.high + half, share))
        return min(max(number, int(self.low)), int(self.high))

    @property
    def choices(self) -> Sequence[Any] | None:
        """All values in order, None for a range of `float`, which has no end of them."""
        if self.kind == "categorical":
            return self.values
        return range(int(self.low), int(self.high) + 1) if self.kind == "int" else None

    def ends(self) -> list[Any]:
        """Return the values of a categorical parameter, or both ends of a range."""
        if self.kind == "categorical":
            return list(self.values)
        return [int(self.low), int(self.high)] if self.kind == "int" else [self.low, self.high]

    def probes(self) -> list[Any]:
        """Return the ends and, of a range, its middle: a family may take both ends of what it refuses between them."""
        return self.ends() if self.kind == "categorical" else list(dict.fromkeys([*self.ends(), self.at(0.5)]))

    def _between(self, low: float, high: float, share: float) -> float:
        if self.log:
            value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        else:
            value = low + share * (high - low)
        return min(max(value, low), high)


class FamilySpace(StrictModel):
    """What is searched over within one family."""

    config_path: ClassVar[str] = "space"
    error_class: ClassVar[type[ConfigurationError]] = SearchError

    parameters: dict[str, Distribution] = Field(
        default={}, description="what each searched hyperparameter is drawn from"
    )
    fixed: dict[str, Any] = Field(default={}, description="hyperparameters that all candidates share")
    over: dict[str, Distribution] = Field(
        default={}, exclude=True, repr=False, description="the deprecated name of `parameters`"
    )

    @model_validator(mode="before")
    @classmethod
    def _accept_deprecated_over(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or not data.get("over"):
            return data
        if data.get("parameters"):
            raise SearchError("`over` is the deprecated name of `parameters`. Leave `over` out.")
        warnings.warn("`over` of a space is deprecated. Write `parameters`.", DeprecationWarning, stacklevel=2)
        return {**data, "parameters": data["over"], "over": {}}

    @field_validator("parameters", mode="before")
    @classmethod
    def _name_refused_parameter(cls, parameters: Any) -> Any:
        """Prefix what a distribution refuses with the hyperparameter it belongs to."""
        for name, fields in parameters.items() if isinstance(parameters, Mapping) else ():
            try:
                Distribution.model_validate(dict(fields) if isinstance(fields, Mapping) else fields)
            except SearchError as error:
                raise SearchError(f"{name}: {error}") from None
        return parameters

    @property
    def size(self) -> int | None:
        """How many candidates there are, None if there is no end of them."""
        choices = [distribution.choices for distribution in self.parameters.values()]
        return None if None in choices else math.prod(map(len, filter(None, choices)))


@dataclass(frozen=True)
class Candidate:
    """Hyperparameters that may be tried."""

    family: str
    parameters: Mapping[str, Any]
    """The searched and the fixed ones, by name."""

    def hyperparameters(self) -> Hyperparameters:
        """Return them typed; raise HyperparameterError for what the family refuses."""
        typed: Hyperparameters = family_named(self.family).hyperparameters(**self.parameters)
        return typed

    @property
    def complexity(self) -> tuple[int, float]:
        """How far it may bend to the data, in an order over all families, which are ordered from simple to complex."""
        family = family_named(self.family)
        return [*registry.families()].index(self.family), family.complexity(self.hyperparameters())

    @property
    def key(self) -> tuple[Any, ...]:
        """What two candidates share that are the same."""
        return (self.family, *sorted((name, repr(value)) for name, value in self.parameters.items()))


@dataclass(frozen=True)
class Space:
    """The families that are searched, each over its own fields."""

    families: Mapping[str, FamilySpace]

    @classmethod
    def checked(cls, families: Mapping[str, FamilySpace]) -> "Space":
        """Return the space, or that of the default where it is empty.

        Families and fields are put in an order of their own: in whichever order they are given, the search is the same
        one, and its trials have the same numbers.

        Raise SearchError for a family or a field that there isn't, and for ends and choices that a family refuses.
        """
        given = dict(families) or default_families()
        for name, family in given.items():
            _check(name, family)
        names = [name for name in registry.families() if name in given]
        return cls({name: _in_order(name, given[name]) for name in names})

    @property
    def names(self) -> tuple[str, ...]:
        """The families, in order."""
        return tuple(self.families)

    @property
    def size(self) -> int | None:
        """How many candidates there are in all families, None if there is no end of them."""
        sizes = [family.size for family in self.families.values()]
        return None if None in sizes else sum(filter(None, sizes))

    def candidate(self, family: str, drawn: Mapping[str, Any]) -> Candidate:
        """Return the candidate with these values of the searched fields."""
        return Candidate(family, {**self.families[family].fixed, **drawn})

    def at(self, shares: Iterator[float]) -> Candidate:
        """Return the candidate that shares from 0 to 1 pick: the first one the family, each other a field."""
        names = self.names
        family = names[min(int(next(shares) * len(names)), len(names) - 1)]
        over = self.families[family].parameters
        return self.candidate(family, {name: over[name].at(next(shares)) for name in sorted(over)})

    def grid_size(self) -> int:
        """Return how many combinations of values there are; raise SearchError if a parameter is not categorical."""
        for family in self.families.values():
            for field, distribution in family.parameters.items():
                if distribution.kind != "categorical":
                    raise SearchError(
                        f"A grid needs a list of values for `{field}`, got a range of `{distribution.kind}`. "
                        f"Write them as {field}=1,2,3, or take the strategy `random` or `bayesian`."
                    )
        size = self.size or 0
        if size > GRID_SIZE:
            raise SearchError(
                f"A grid may have {GRID_SIZE:,} combinations, got {size:,}. "
                "Leave values out, or take the strategy `random` or `bayesian`."
            )
        return size

    def combination(self, number: int) -> Candidate:
        """Return a candidate of the finite families by its number, from 0: values of the last field change first."""
        for name, family in self.families.items():
            size = family.size or 0
            if number < size:
                return self.candidate(name, _picked(family, number))
            number -= size
        raise IndexError(number)


def family_named(name: str) -> Family[Any]:
    """Return a family by its name; raise SearchError when there is none."""
    try:
        return registry.family_named(name)
    except FamilyError as error:
        raise SearchError(f"{error} Change `space` in the run config.") from None


def default_families(names: Sequence[str] = (DEFAULT_FAMILY,)) -> dict[str, FamilySpace]:
    """Return what is searched of each family when nothing is said; raise SearchError for one that there isn't."""
    return {name: FamilySpace(parameters=_default_parameters(name)) for name in names}


def _default_parameters(name: str) -> dict[str, Distribution]:
    return {field: Distribution(**fields) for field, fields in family_named(name).default_space.items()}


def _in_order(name: str, family: FamilySpace) -> FamilySpace:
    fields = family_named(name).hyperparameters.model_fields
    return family.model_copy(
        update={"parameters": {field: family.parameters[field] for field in fields if field in family.parameters}}
    )


def _picked(family: FamilySpace, number: int) -> dict[str, Any]:
    """Return the values of a finite family's combination by its number."""
    picked = {}
    for field, distribution in reversed(family.parameters.items()):
        choices = distribution.choices or ()
        number, place = divmod(number, len(choices))
        picked[field] = choices[place]
    return {field: picked[field] for field in family.parameters}


def _check(name: str, space: FamilySpace) -> None:
    fields = [field for field in family_named(name).hyperparameters.model_fields if field != FAMILY]
    for field in (*space.parameters, *space.fixed):
        if field not in fields:
            raise SearchError(
                f"{name} has no hyperparameter {field!r}. It has {', '.join(fields)}. "
                f"Change `space.{name}` in the run config."
            )
    both = sorted(space.parameters.keys() & space.fixed.keys())
    if both:
        raise SearchError(f"{both[0]!r} is both searched and fixed for {name}. Leave one of them out.")
    _check_candidates(name, space)


def _check_candidates(name: str, space: FamilySpace) -> None:
    """Ask the family of each end, middle and choice by itself, and then of their combinations."""
    probes = {field: distribution.probes() for field, distribution in space.parameters.items()}
    first = {field: values[0] for field, values in probes.items()}
    alone = [{**first, field: value} for field, values in probes.items() for value in values]
    for drawn in itertools.chain(alone, _combinations(probes)):
        values = space.fixed | drawn
        try:
            Candidate(name, values).hyperparameters()
        except ConfigurationError as error:
            shown = ", ".join(f"{field}={value}" for field, value in values.items())
            said = str(error).replace("`hyperparameters.", f"`space.{name}.")
            raise SearchError(f"The space of {name} has a candidate ({shown}) that it refuses: {said}") from None


def _combinations(probes: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Yield all combinations where those are few, and otherwise as many of them, spread over all, as may be asked."""
    if math.prod(map(len, probes.values())) <= PROBES:
        yield from (dict(zip(probes, picked, strict=True)) for picked in itertools.product(*probes.values()))
        return
    generator = random.Random(0)  # noqa: S311 - it picks examples
    for _ in range(PROBES):
        yield {field: generator.choice(values) for field, values in probes.items()}
