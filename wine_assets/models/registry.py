"""Every family there is, by the type of its hyperparameters."""

from pathlib import Path
from typing import Any

from wine_assets.config import StrictModel
from wine_assets.errors import ExportError
from wine_assets.models.base import Family
from wine_assets.models.families.gradient_boosting import GradientBoostingFamily
from wine_assets.models.families.logistic_regression import LogisticRegressionFamily
from wine_assets.models.formats import skops_file

FAMILIES: tuple[Family[Any], ...] = (LogisticRegressionFamily(), GradientBoostingFamily())


def load(path: Path) -> Any:
    """Read an estimator that one of the families saved; raise ArtifactError for anything else."""
    held = skops_file.untrusted_types(path)
    family = next((family for family in FAMILIES if held <= {*family.types}), FAMILIES[0])
    return family.load(path)


def family_of(hyperparameters: StrictModel) -> Family[Any]:
    """Return the family whose hyperparameters these are."""
    return next(family for family in FAMILIES if isinstance(hyperparameters, family.hyperparameters))


def family_that_made(estimator: Any) -> Family[Any]:
    """Return the family that fitted this estimator; raise ExportError when none did."""
    for family in FAMILIES:
        if family.made(estimator):
            return family
    raise ExportError(
        f"No family fits estimators such as {type(estimator).__name__}; the families are: "
        f"{', '.join(family.name for family in FAMILIES)}."
    )
