from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from wine_assets.data.dataset import BinarizeParams, binarize, column_summary, feature_names, features_and_target
from wine_assets.errors import ConfigurationError, DataError

REFERENCE_ROWS = [101, 134, 63, 172, 173, 167, 22, 97, 83, 116]


def test_the_reference_has_59_zeros_and_119_ones(bundled: pd.DataFrame) -> None:
    binary = binarize(bundled, BinarizeParams())
    assert binary["target"].value_counts().to_dict() == {0: 59, 1: 119}
    assert binary["target"].dtype == "int64"
    assert binary.sample(10, random_state=41).index.tolist() == REFERENCE_ROWS


def test_features_stay_as_they_are_and_share_their_memory(bundled: pd.DataFrame) -> None:
    binary = binarize(bundled, BinarizeParams())
    pd.testing.assert_frame_equal(binary.drop(columns="target"), bundled.drop(columns="target"), check_exact=True)
    assert all(np.shares_memory(binary[name].to_numpy(), bundled[name].to_numpy()) for name in feature_names(bundled))
    assert bundled["target"].nunique() == 3


def test_the_target_comes_last(bundled: pd.DataFrame) -> None:
    mixed = bundled[["target", "ash", "hue"]]
    assert list(binarize(mixed, BinarizeParams()).columns) == ["ash", "hue", "target"]


@pytest.mark.parametrize(
    ("labels", "negative", "expected"),
    [
        ([0, 1, 2], ["0", "2"], [0, 1, 0]),
        (["red", "white", "red"], ["red"], [0, 1, 0]),
        (["a", "b", "c"], ["c"], [1, 1, 0]),
        ([-1, 1, 1], ["-1"], [0, 1, 1]),
    ],
)
def test_every_class_but_the_negative_ones_becomes_1(
    labels: list[Any], negative: list[str], expected: list[int]
) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0], "target": labels})
    assert binarize(frame, BinarizeParams(negative_classes=negative))["target"].tolist() == expected


@pytest.mark.parametrize("labels", [[0, 2], (0, 2), ["0", "2"]], ids=str)
def test_labels_are_taken_as_numbers_or_text(labels: Any) -> None:
    assert BinarizeParams(negative_classes=labels).negative_classes == ["0", "2"]


@pytest.mark.parametrize("wrong", [[], "0", None, {"0": 1}], ids=str)
def test_what_isnt_a_list_of_labels_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="negative_classes"):
        BinarizeParams(negative_classes=wrong)


def test_a_negative_class_that_isnt_there_is_refused_with_those_that_are(bundled: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"names '7', which no row has\. The classes are '0', '1', '2'"):
        binarize(bundled, BinarizeParams(negative_classes=["0", "7"]))


def test_a_long_list_of_classes_is_cut() -> None:
    frame = pd.DataFrame({"x": range(30), "target": range(30)})
    with pytest.raises(DataError, match="and 20 more"):
        binarize(frame, BinarizeParams(negative_classes=["x"]))


def test_classes_that_are_all_negative_are_refused(bundled: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"must leave rows on both sides, .* all 178 rows 0"):
        binarize(bundled, BinarizeParams(negative_classes=["0", "1", "2"]))


def test_a_frame_without_its_class_is_refused(bundled: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="no column `target`"):
        binarize(bundled.drop(columns="target"), BinarizeParams())


def test_a_fit_on_features_and_target_is_the_direct_fit_bit_for_bit(bundled: pd.DataFrame) -> None:
    binary = binarize(bundled, BinarizeParams())
    ours = LogisticRegression(max_iter=5000, C=0.01).fit(*features_and_target(binary))
    direct_frame = bundled.copy()
    direct_frame["target"] = direct_frame["target"].where(direct_frame["target"] == 0, 1)
    direct = LogisticRegression(max_iter=5000, C=0.01).fit(direct_frame.drop(columns="target"), direct_frame["target"])
    assert ours.coef_.tobytes() == direct.coef_.tobytes()
    assert ours.intercept_.tobytes() == direct.intercept_.tobytes()
    assert ours.feature_names_in_.tolist() == feature_names(bundled)


def test_counted_features_become_float64() -> None:
    features, target = features_and_target(pd.DataFrame({"x": [1, 2], "y": [0.5, 1.5], "target": [0, 1]}))
    assert set(features.dtypes.astype(str)) == {"float64"}
    assert target.dtype == "int64"


def test_a_column_summary_describes_numbers_and_text() -> None:
    frame = pd.DataFrame({"x": [1.0, np.nan, 3.0], "target": ["a", "b", None]})
    assert column_summary(frame) == [
        {"column": "x", "dtype": "float64", "missing": 1, "min": 1.0, "mean": 2.0, "max": 3.0},
        {"column": "target", "dtype": "str", "missing": 1, "min": None, "mean": None, "max": None},
    ]
