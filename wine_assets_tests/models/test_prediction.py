from typing import Any

import numpy as np
import pytest

from wine_assets.errors import ArtifactError, ConfigurationError, DataError
from wine_assets.models.prediction import PredictionsParams, predict_sample
from wine_assets.models.reference import REFERENCE
from wine_assets_tests.support.wine_frames import SAMPLED_LABELS, SAMPLED_ROWS, exported, fitted, wine

REFERENCE_SAMPLE = PredictionsParams()


def test_the_reference_sample_gets_the_ten_reference_labels() -> None:
    found = predict_sample(exported(REFERENCE), wine(), REFERENCE_SAMPLE.rows, REFERENCE_SAMPLE.random_state)
    assert found["row"].tolist() == SAMPLED_ROWS
    assert found["label"].tolist() == SAMPLED_LABELS
    assert found["target"].tolist() == wine()["target"].loc[SAMPLED_ROWS].tolist()


def test_probabilities_are_those_of_the_estimator() -> None:
    found = predict_sample(exported(REFERENCE), wine(), 178, 0)
    rows = wine().loc[found["row"]].drop(columns="target")
    expected = fitted(REFERENCE).predict_proba(rows)[:, 1]
    np.testing.assert_allclose(found["probability"], expected, rtol=0, atol=1e-5)


def test_more_rows_than_there_are_means_all_of_them() -> None:
    found = predict_sample(exported(REFERENCE), wine(), 10_000, 41)
    assert sorted(found["row"]) == [*range(178)]


def test_rows_are_named_as_the_frame_names_them() -> None:
    frame = wine().set_axis([f"bottle {number}" for number in range(178)])
    found = predict_sample(exported(REFERENCE), frame, 10, 41)
    assert found["row"].tolist() == [f"bottle {number}" for number in SAMPLED_ROWS]


def test_columns_in_another_order_and_further_ones_do_not_matter() -> None:
    frame = wine()
    shuffled = frame[frame.columns[::-1]].assign(cellar=7)
    found = predict_sample(exported(REFERENCE), shuffled, 10, 41)
    assert found["probability"].tolist() == predict_sample(exported(REFERENCE), frame, 10, 41)["probability"].tolist()


def test_data_without_a_feature_of_the_model_are_refused_by_name() -> None:
    """It happens when another source was materialized since."""
    with pytest.raises(
        DataError, match=r"^The model was trained on `hue`, `proline`, which the data lack\. Materialize"
    ):
        predict_sample(exported(REFERENCE), wine().drop(columns=["hue", "proline"]), 10, 41)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ArtifactError):
        predict_sample(b"no model", wine(), 10, 41)


def test_the_defaults_are_those_of_the_reference() -> None:
    assert (REFERENCE_SAMPLE.rows, REFERENCE_SAMPLE.random_state) == (10, 41)


@pytest.mark.parametrize(
    "fields",
    [{"rows": 0}, {"rows": 10_001}, {"rows": 2.0}, {"random_state": -1}, {"random_state": 2**32}, {"seed": 1}],
    ids=repr,
)
def test_parameters_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"Change `predictions\.|predictions\.seed is not known"):
        PredictionsParams.model_validate(fields)
