"""The wine rows, and models fitted on them, that tests of several modules share."""

import functools
from typing import Any

import pandas as pd

from wine_assets.data import dataset, sources
from wine_assets.models import training
from wine_assets.models.base import FittedModel, Hyperparameters, TrainingData
from wine_assets.models.families.logistic_regression import LogisticRegressionHyperparameters
from wine_assets.models.reference import REFERENCE

DEFAULT = LogisticRegressionHyperparameters()
SAMPLED_ROWS = [101, 134, 63, 172, 173, 167, 22, 97, 83, 116]
SAMPLED_LABELS = [1, 1, 1, 1, 1, 1, 0, 1, 1, 1]


def wine() -> pd.DataFrame:
    """Return the binarized wine data: 178 rows, 13 features and a target of 0 and 1."""
    return _wine().copy()


def wine_data() -> TrainingData:
    """Return what an export has to know of the wine data."""
    return training.training_data(_wine())


@functools.cache
def fitted_model(hyperparameters: Hyperparameters = REFERENCE) -> FittedModel:
    """Return a model fitted on the wine data, the same object for the same hyperparameters: don't change it."""
    return training.train(_wine(), hyperparameters)


def fitted(hyperparameters: Hyperparameters = REFERENCE) -> Any:
    """Return the estimator of such a model."""
    return fitted_model(hyperparameters).estimator


@functools.cache
def exported(hyperparameters: Hyperparameters = REFERENCE) -> bytes:
    """Return such an estimator as an ONNX model."""
    return fitted_model(hyperparameters).export()


@functools.cache
def _wine() -> pd.DataFrame:
    raw = sources.load(sources.BundledSource()).frame
    return dataset.binarize(raw, dataset.BinarizeParams())
