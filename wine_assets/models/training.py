"""Fitting a family on a binarized frame."""

import hashlib
import warnings
from typing import Any

from wine_assets.data import dataset
from wine_assets.errors import TrainingError, as_sentence
from wine_assets.models.base import FittedModel, Hyperparameters, TrainingData
from wine_assets.models.registry import family_of

VERSION = "2"


def train(frame: Any, hyperparameters: Hyperparameters) -> FittedModel:
    """Fit the family that `hyperparameters` belong to on every feature of `frame`.

    `frame` has float64 features and an int64 `target` of 0 and 1. Raise TrainingError when the solver refuses.
    """
    X, y = dataset.features_and_target(frame)
    family = family_of(hyperparameters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator = family.fit(X, y, hyperparameters)
        except (ValueError, ArithmeticError) as error:
            raise TrainingError(
                f"The estimator can't be fitted on {len(X)} rows of {len(X.columns)} features: {error}. "
                "Change the hyperparameters or the data."
            ) from error
    sentences = dict.fromkeys(_first_sentence(str(warning.message)) for warning in caught)
    return FittedModel(family, hyperparameters, training_data(frame), estimator, tuple(sentences))


def training_data(frame: Any) -> TrainingData:
    """Return what an export has to know of the frame that a model was fitted on."""
    X, _ = dataset.features_and_target(frame)
    return TrainingData(
        features=tuple(X.columns),
        low=tuple(float(value) for value in X.min()),
        high=tuple(float(value) for value in X.max()),
        classes=(0, 1),
        fingerprint=_fingerprint(frame),
    )


def _fingerprint(frame: Any) -> str:
    """Return the SHA-256 of names, types and values of `frame`, column by column."""
    import numpy as np

    digest = hashlib.sha256()
    for name, dtype in frame.dtypes.items():
        digest.update(f"{name}:{dtype};".encode())
        digest.update(np.ascontiguousarray(frame[name].to_numpy()).data)
    return digest.hexdigest()


def _first_sentence(message: str) -> str:
    return as_sentence(message.strip().partition("\n")[0].rstrip(" :"))
