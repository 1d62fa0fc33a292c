"""Estimators in bare skops files, as version 0.1.0 stored fitted models."""

from pathlib import Path
from typing import Any

from wine_assets.models import registry
from wine_assets.models.base import FittedModel, TrainingData
from wine_assets.models.formats import skops_file

SUFFIX = ".skops"
_NONE: dict[str, dict[str, Any]] = {
    "logistic_regression": {"class_weight": "none", "random_state": 0},
    "gradient_boosting": {"class_weight": "none", "max_depth": 0},
}
"""What each family calls a parameter that scikit-learn has as None."""


def load(path: Path) -> FittedModel:
    """Read an estimator with what its parameters say of its fit; the ranges and the fingerprint of the data are empty.

    The file names no family, but only trees hold types that skops doesn't trust by itself. Raise ArtifactError for a
    file that holds neither family's estimator, and HyperparameterError for parameters that no run config can hold.
    """
    name = "gradient_boosting" if skops_file.untrusted_types(path) else "logistic_regression"
    family = registry.family_named(name)
    estimator = family.load(path)
    steps = [step for _, step in getattr(estimator, "steps", [("classifier", estimator)])]
    parameters = {"scaler": "standard" if len(steps) > 1 else "none"} | steps[-1].get_params()
    hyperparameters = family.hyperparameters(
        **{
            field: _NONE[name].get(field) if parameters[field] is None else parameters[field]
            for field in family.hyperparameters.model_fields
            if field in parameters
        }
    )
    features = tuple(map(str, estimator.feature_names_in_))
    return FittedModel(family, hyperparameters, TrainingData(features, (), (), (0, 1), ""), estimator)
