"""Every family there is, by its name and by its hyperparameters."""

from typing import Any

from wine_assets.config import StrictModel
from wine_assets.errors import FamilyError
from wine_assets.models.base import Family
from wine_assets.models.families.gradient_boosting import GradientBoostingFamily
from wine_assets.models.families.logistic_regression import LogisticRegressionFamily

FAMILIES: tuple[Family[Any], ...] = (LogisticRegressionFamily(), GradientBoostingFamily())


def family_named(name: str) -> Family[Any]:
    """Return a family by its name; raise FamilyError when there is none."""
    for family in FAMILIES:
        if family.name == name:
            return family
    raise FamilyError(f"There is no family {name!r}. The families are: {', '.join(f.name for f in FAMILIES)}.")


def family_of(hyperparameters: StrictModel) -> Family[Any]:
    """Return the family whose hyperparameters these are."""
    return next(family for family in FAMILIES if isinstance(hyperparameters, family.hyperparameters))
