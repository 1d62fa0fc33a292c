"""Every family there is, by the type of its hyperparameters."""

from typing import Any

from wine_assets.ml.families.base import Family
from wine_assets.ml.families.logistic_regression import LogisticRegressionFamily
from wine_assets.ml.typed import Typed

FAMILIES: tuple[Family[Any], ...] = (LogisticRegressionFamily(),)


def family_of(hyperparameters: Typed) -> Family[Any]:
    """Return the family whose hyperparameters these are."""
    return next(family for family in FAMILIES if isinstance(hyperparameters, family.hyperparameters))
