"""A search as it is asked for: what is tried, how it is scored, and when it ends."""

from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from wine_assets.config import StrictModel
from wine_assets.errors import ConfigurationError, SearchError
from wine_assets.search.objective import ObjectiveParams
from wine_assets.search.space import DEPRECATED_KINDS, FamilySpace, Space
from wine_assets.search.strategies import RandomStrategy, StrategyParams
from wine_assets.search.study import Budget, Failures

DEFAULT_TRIALS = 30
"""How many draws are made when nothing says when to end."""


class SearchParams(StrictModel):
    """What makes a search the one that it is, and how long it goes on."""

    config_path: ClassVar[str] = "search"
    error_class: ClassVar[type[ConfigurationError]] = SearchError

    strategy: StrategyParams = Field(
        default=RandomStrategy(), discriminator="kind", description="how candidates are chosen; the default is random"
    )
    space: dict[str, FamilySpace] = Field(
        default={}, description="the fields that are searched, by family; the default is C from 1e-4 to 1e2"
    )
    objective: ObjectiveParams = Field(default=ObjectiveParams(), description="what candidates are compared by")
    budget: Budget = Field(default=Budget(), description="when the search ends")
    failures: Failures = Field(default=Failures(), description="what happens to trials that fail")
    nested_folds: int = Field(
        default=0,
        ge=0,
        le=20,
        description="parts of the rows that are held out of a whole search each, to score what it finds; 0 for none",
    )

    @model_validator(mode="after")
    def _can_be_searched(self) -> Self:
        space = Space.checked(self.space)
        if self.strategy.kind == "grid":
            space.grid_size()
        if self.nested_folds == 1:
            raise SearchError("`search.nested_folds` must be 0 (none) or at least 2, got 1. Change it.")
        return self

    @property
    def bounded(self) -> Budget:
        """The budget, with an end: draws have none of their own, as a grid has."""
        budget = self.budget
        if self.strategy.kind == "grid" or budget.trials is not None or budget.seconds is not None:
            return budget
        return budget.model_copy(update={"trials": DEFAULT_TRIALS})

    @property
    def exhaustion(self) -> str:
        """A sentence that says if the space has fewer candidates than trials are asked for; empty if it has as many."""
        size, trials = Space.checked(self.space).size, self.budget.trials
        if size is None or trials is None or trials <= size:
            return ""
        return f"The space has {size:,} candidate{'s' if size > 1 else ''}, and no more trials are run than that."

    def identity(self) -> dict[str, Any]:
        """Return what two searches share that may continue each other's trials: all but when they end.

        A journal is found by it. Spaces are therefore written as they were before their fields had new names.
        """
        shared = self.model_dump(mode="json", exclude={"budget", "failures", "nested_folds"})
        for space in shared["space"].values():
            space["over"] = {name: _journal_form(fields) for name, fields in space.pop("parameters").items()}
        return shared


def _journal_form(distribution: dict[str, Any]) -> dict[str, Any]:
    meaning = distribution.pop("kind"), distribution.pop("log")
    return {**distribution, "kind": next(kind for kind, now in DEPRECATED_KINDS.items() if now == meaning)}
