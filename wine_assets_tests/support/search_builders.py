"""Spaces, trials and outcomes that tests of several modules make in one line."""

from typing import Any, Literal

from wine_assets.search.space import Candidate, Distribution, FamilySpace, Space
from wine_assets.search.trials import State, Trial, TrialResult

FAMILY = "logistic_regression"


def choice(*values: Any) -> Distribution:
    return Distribution(kind="categorical", values=[*values])


def between(low: float, high: float, kind: Literal["float", "int"] = "float", *, log: bool = False) -> Distribution:
    return Distribution(kind=kind, low=low, high=high, log=log)


def family_space(fixed: dict[str, Any] | None = None, /, **parameters: Distribution) -> FamilySpace:
    return FamilySpace(parameters=parameters, fixed=fixed or {})


def space(fixed: dict[str, Any] | None = None, /, **parameters: Distribution) -> Space:
    """Return a checked space of the one family that is always there."""
    return Space.checked({FAMILY: family_space(fixed, **parameters)})


def grid(searched: Space) -> list[Candidate]:
    """Return every combination of a space, in order."""
    return [searched.combination(number) for number in range(searched.grid_size())]


def trial(number: int = 0, /, **parameters: Any) -> Trial:
    return Trial(number, FAMILY, parameters)


def trial_result(
    number: int, /, *scores: float, state: State = "finished", attempt: int = 1, **parameters: Any
) -> TrialResult:
    """Return what came of a trial, with a reason where there was no score."""
    reason = "" if state == "finished" else f"why {number}"
    return TrialResult(number, attempt, FAMILY, parameters, state, scores, reason=reason)
