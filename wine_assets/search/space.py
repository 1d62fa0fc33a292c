"""The space of a search: which hyperparameters of which families are tried, and over what."""

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from wine_assets.config import StrictModel
from wine_assets.errors import ConfigurationError, SearchError
from wine_assets.models.base import Family
from wine_assets.models.registry import FAMILIES

Kind = Literal["choice", "uniform", "log_uniform", "integer", "log_integer"]
FAMILY = "family"
"""The field that tells families apart; it is never searched over by itself."""
_INTEGERS = ("integer", "log_integer")
_LOGARITHMIC = ("log_uniform", "log_integer")
GRID_SIZE = 1_000_000
"""How many combinations a grid may have: as many as a search may have trials."""
PROBES = 1024
"""Of how many combinations of ends, middles and choices at most it is asked whether the family takes them."""


class Distribution(StrictModel):
    """What one hyperparameter is drawn from."""

    config_path: ClassVar[str] = "space"
    error_class: ClassVar[type[ConfigurationError]] = SearchError

    kind: Kind = Field(
        description="`choice` of `values`, or `uniform`, `log_uniform`, `integer`, `log_integer` from `low` to `high`"
    )
    low: float = Field(default=0.0, description="smallest value of a range, included")
    high: float = Field(default=0.0, description="largest value of a range, included")
    values: list[Any] = Field(default=[], description="values of a choice, each a number, a text or a switch")

    @model_validator(mode="after")
    def _can_be_drawn_from(self) -> Self:
        problem = self._problem()
        if problem:
            raise SearchError(problem)
        return self

    def _problem(self) -> str:
        if self.kind == "choice":
            return _problem_of_choice(self)
        if self.values:
            return f"`values` belong to a choice, and this is `{self.kind}`. Leave them out, or make `kind` a choice."
        if not self.low < self.high:
            return (
                f"`low` must be below `high`, got {self.low:g} and {self.high:g}. "
                "Swap them, or make it a choice of one value."
            )
        if self.kind in _LOGARITHMIC and self.low <= 0:
            return f"`low` of a logarithmic range must be above 0, got {self.low:g}. Raise it, or drop the logarithm."
        if self.kind in _INTEGERS and not (self.low.is_integer() and self.high.is_integer()):
            return f"Both ends of `{self.kind}` must be whole, got {self.low:g} and {self.high:g}. Round them."
        return ""

    @property
    def is_integer(self) -> bool:
        """Whether whole numbers are drawn."""
        return self.kind in _INTEGERS

    @property
    def is_logarithmic(self) -> bool:
        """Whether each order of magnitude is drawn from equally often."""
        return self.kind in _LOGARITHMIC

    def at(self, share: float) -> Any:
        """Return the value below which a share, from 0 to 1, of all draws are."""
        if self.kind == "choice":
            return self.values[min(int(share * len(self.values)), len(self.values) - 1)]
        if not self.is_integer:
            return self._between(self.low, self.high, share)
        half = 0.5  # each whole number, the ends too, has an interval of its own
        number = round(self._between(self.low - half, self.high + half, share))
        return min(max(number, int(self.low)), int(self.high))

    def ends(self) -> list[Any]:
        """Return the values of a choice, or both ends of a range."""
        if self.kind == "choice":
            return list(self.values)
        return [int(self.low), int(self.high)] if self.is_integer else [self.low, self.high]

    def probes(self) -> list[Any]:
        """Return the ends and, of a range, its middle: a family may take both ends of what it refuses between them."""
        return self.ends() if self.kind == "choice" else list(dict.fromkeys([*self.ends(), self.at(0.5)]))

    def _between(self, low: float, high: float, share: float) -> float:
        if self.is_logarithmic:
            value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        else:
            value = low + share * (high - low)
        return min(max(value, low), high)


class FamilySpace(StrictModel):
    """What is searched over within one family."""

    config_path: ClassVar[str] = "space"
    error_class: ClassVar[type[ConfigurationError]] = SearchError

    over: dict[str, Distribution] = Field(default={}, description="what each searched hyperparameter is drawn from")
    fixed: dict[str, Any] = Field(default={}, description="hyperparameters that all candidates share")

    @field_validator("over", mode="before")
    @classmethod
    def _named(cls, over: Any) -> Any:
        """Say of what a distribution refuses which hyperparameter it is of."""
        for name, fields in over.items() if isinstance(over, Mapping) else ():
            try:
                Distribution.model_validate(dict(fields) if isinstance(fields, Mapping) else fields)
            except SearchError as error:
                raise SearchError(f"{name}: {error}") from None
        return over


@dataclass(frozen=True)
class Candidate:
    """Hyperparameters that may be tried."""

    family: str
    parameters: Mapping[str, Any]
    """The searched and the fixed ones, by name."""

    def hyperparameters(self) -> StrictModel:
        """Return them typed; raise HyperparameterError for what the family refuses."""
        typed: StrictModel = family_named(self.family).hyperparameters(**self.parameters)
        return typed

    @property
    def complexity(self) -> tuple[int, float]:
        """How far it may bend to the data, in an order over all families, which are ordered from simple to complex."""
        family = family_named(self.family)
        return FAMILIES.index(family), family.complexity(self.hyperparameters())

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
        names = sorted(given, key=lambda name: FAMILIES.index(family_named(name)))
        return cls({name: _in_order(name, given[name]) for name in names})

    @property
    def names(self) -> tuple[str, ...]:
        """The families, in order."""
        return tuple(self.families)

    def candidate(self, family: str, drawn: Mapping[str, Any]) -> Candidate:
        """Return the candidate with these values of the searched fields."""
        return Candidate(family, {**self.families[family].fixed, **drawn})

    def at(self, shares: Iterator[float]) -> Candidate:
        """Return the candidate that shares from 0 to 1 pick: the first one the family, each other a field."""
        names = self.names
        family = names[min(int(next(shares) * len(names)), len(names) - 1)]
        over = self.families[family].over
        return self.candidate(family, {name: over[name].at(next(shares)) for name in sorted(over)})

    def grid_size(self) -> int:
        """Return how many combinations of choices there are; raise SearchError where something isn't a choice."""
        for family in self.families.values():
            for field, distribution in family.over.items():
                if distribution.kind != "choice":
                    raise SearchError(
                        f"A grid needs a list of values for `{field}`, got the range `{distribution.kind}`. "
                        f"Write them as {field}=1,2,3, or take the strategy `random` or `bayesian`."
                    )
        size = sum(map(_combinations_of, self.families.values()))
        if size > GRID_SIZE:
            raise SearchError(
                f"A grid may have {GRID_SIZE:,} combinations, got {size:,}. "
                "Leave values out, or take the strategy `random` or `bayesian`."
            )
        return size

    def combination(self, number: int) -> Candidate:
        """Return a combination of choices by its number, from 0: the values of the last field change first."""
        for name, family in self.families.items():
            size = _combinations_of(family)
            if number < size:
                return self.candidate(name, _picked(family, number))
            number -= size
        raise IndexError(number)


def family_named(name: str) -> Family[Any]:
    """Return a family by its name; raise SearchError when there is none."""
    for family in FAMILIES:
        if family.name == name:
            return family
    known = ", ".join(family.name for family in FAMILIES)
    raise SearchError(f"There is no family {name!r}. The families are: {known}. Change `space` in the run config.")


def default_families(names: Sequence[str] = ("logistic_regression",)) -> dict[str, FamilySpace]:
    """Return what is searched of each family when nothing is said; raise SearchError for one that there isn't."""
    return {family_named(name).name: FamilySpace(over=_DEFAULTS[name]) for name in names}


_DEFAULTS = {
    "logistic_regression": {"C": Distribution(kind="log_uniform", low=1e-4, high=1e2)},
    "gradient_boosting": {
        "learning_rate": Distribution(kind="log_uniform", low=0.01, high=0.5),
        "max_iter": Distribution(kind="log_integer", low=10, high=300),
        "max_leaf_nodes": Distribution(kind="log_integer", low=3, high=63),
        "min_samples_leaf": Distribution(kind="log_integer", low=2, high=40),
    },
}
"""The strength of the regularization, whichever way the family has it."""


def _in_order(name: str, family: FamilySpace) -> FamilySpace:
    fields = family_named(name).hyperparameters.model_fields
    return family.model_copy(update={"over": {field: family.over[field] for field in fields if field in family.over}})


def _combinations_of(family: FamilySpace) -> int:
    return math.prod(len(choice.values) for choice in family.over.values())


def _picked(family: FamilySpace, number: int) -> dict[str, Any]:
    """Return the values of a family's combination by its number."""
    picked = {}
    for field, choice in reversed(family.over.items()):
        number, place = divmod(number, len(choice.values))
        picked[field] = choice.values[place]
    return {field: picked[field] for field in family.over}


def _problem_of_choice(choice: Distribution) -> str:
    if not choice.values:
        return "A choice needs at least one value, got none. Name them in `values`, or make `kind` a range."
    if choice.low or choice.high:
        return "`low` and `high` belong to a range, and this is a choice. Leave them out."
    odd = [value for value in choice.values if not isinstance(value, str | int | float | bool)]
    if odd:
        return f"A value must be a number, a text or a switch, got {odd[0]!r}. Change `values`."
    if len({*choice.values}) < len(choice.values):
        return f"Each value of a choice counts once, got {choice.values}. Leave the repeated ones out."
    return ""


def _check(name: str, space: FamilySpace) -> None:
    fields = [field for field in family_named(name).hyperparameters.model_fields if field != FAMILY]
    for field in (*space.over, *space.fixed):
        if field not in fields:
            raise SearchError(
                f"{name} has no hyperparameter {field!r}. It has {', '.join(fields)}. "
                f"Change `space.{name}` in the run config."
            )
    both = sorted(space.over.keys() & space.fixed.keys())
    if both:
        raise SearchError(f"{both[0]!r} is both searched and fixed for {name}. Leave one of them out.")
    _check_candidates(name, space)


def _check_candidates(name: str, space: FamilySpace) -> None:
    """Ask the family of each end, middle and choice by itself, and then of their combinations."""
    probes = {field: distribution.probes() for field, distribution in space.over.items()}
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
