from typing import Any

import numpy as np
import pandas as pd
import pytest

from wine_assets.errors import TrainingError
from wine_assets.models import training
from wine_assets.models.families.logistic_regression import LogisticRegressionHyperparameters
from wine_assets.models.reference import REFERENCE
from wine_assets_tests.support.wine_frames import DEFAULT, wine, wine_data


@pytest.fixture
def frame() -> pd.DataFrame:
    return wine()


def test_a_fit_that_ends_well_has_no_warnings(frame: pd.DataFrame) -> None:
    assert training.train(frame, DEFAULT).warnings == ()


def test_a_solver_that_stops_early_says_so_in_one_sentence(frame: pd.DataFrame) -> None:
    """The warning is part of the result, and isn't printed."""
    (warning,) = training.train(frame, LogisticRegressionHyperparameters(max_iter=2, scaler="none")).warnings
    assert "lbfgs failed to converge" in warning
    assert "\n" not in warning


def test_a_fit_does_not_change_the_frame(frame: pd.DataFrame) -> None:
    training.train(frame, DEFAULT)
    pd.testing.assert_frame_equal(frame, wine())


def test_narrow_numbers_are_fitted_as_the_same_numbers_in_float64(frame: pd.DataFrame) -> None:
    whole = frame.round().astype("int32")
    narrow = training.train(whole, REFERENCE).estimator
    assert narrow.coef_.tobytes() == training.train(whole.astype("float64"), REFERENCE).estimator.coef_.tobytes()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda frame: frame.assign(target=1), "at least 2 classes"),
        (lambda frame: frame.assign(hue=np.nan), "contains NaN"),
        (lambda frame: frame.assign(hue=np.inf), "contains infinity"),
        (lambda frame: frame.iloc[:0], "0 sample"),
        (lambda frame: frame[["target"]], "at least one array"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_its_size_and_the_reason(
    spoil: Any, reason: str, frame: pd.DataFrame
) -> None:
    spoiled = spoil(frame)
    size = f"on {len(spoiled)} rows of {spoiled.shape[1] - 1} features"
    with pytest.raises(TrainingError, match=rf"(?s){size}: .*{reason}.* Change the hyperparameters or the data\.$"):
        training.train(spoiled, REFERENCE)


def test_an_export_is_told_the_names_the_ranges_and_the_classes(frame: pd.DataFrame) -> None:
    data = wine_data()
    assert data.features == tuple(frame.columns[:-1])
    assert data.low[0] == frame["alcohol"].min()
    assert data.high[-1] == frame["proline"].max()
    assert data.classes == (0, 1)


def test_the_reach_of_a_feature_is_its_largest_absolute_value() -> None:
    data = training.training_data(pd.DataFrame({"a": [-3.0, 2.0], "b": [1.0, 4.0], "target": [0, 1]}))
    assert data.reach == (3.0, 4.0)


def test_equal_frames_have_equal_fingerprints(frame: pd.DataFrame) -> None:
    assert wine_data().fingerprint == training.training_data(frame).fingerprint
    assert len(wine_data().fingerprint) == 64


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.rename(columns={"hue": "tint"}),
        lambda frame: frame.astype({"hue": "float32"}),
        lambda frame: frame.assign(hue=frame["hue"].mask(frame.index == 100, 0.123)),
        lambda frame: frame.iloc[::-1],
        lambda frame: frame.iloc[:-1],
        lambda frame: frame[[*frame.columns[1::-1], *frame.columns[2:]]],
        lambda frame: frame.assign(target=1 - frame["target"]),
    ],
    ids=["a name", "a type", "a value", "the order of rows", "a row less", "the order of columns", "the classes"],
)
def test_any_change_of_the_data_changes_the_fingerprint(change: Any, frame: pd.DataFrame) -> None:
    assert training.training_data(change(frame)).fingerprint != wine_data().fingerprint
