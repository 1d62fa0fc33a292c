import base64
import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression

from wine_assets.files import sha256_of_file
from wine_assets.inference.predictor import Predictor
from wine_assets.models import parity
from wine_assets_tests.support.pipeline import Pipeline, checks, failures, started

Reference = tuple[Pipeline, dg.ExecuteInProcessResult]
PNG = b"\x89PNG\r\n\x1a\n"


def test_the_reference_run_fits_what_scikit_learn_fits_bit_by_bit(reference: Reference) -> None:
    X, y = load_wine(return_X_y=True, as_frame=True)
    direct = LogisticRegression(max_iter=5000, C=0.01).fit(X, (y != 0).astype("int64"))
    _, result = reference
    model = result.output_for_node("wine_model").estimator
    assert type(model) is LogisticRegression
    assert model.coef_.tobytes() == direct.coef_.tobytes()
    assert model.intercept_.tobytes() == direct.intercept_.tobytes()
    assert model.n_iter_.tolist() == direct.n_iter_.tolist()


def test_the_reference_run_predicts_the_ten_reference_labels(reference: Reference) -> None:
    pipeline, result = reference
    predictions = result.output_for_node("wine_predictions")
    assert predictions["row"].tolist() == [101, 134, 63, 172, 173, 167, 22, 97, 83, 116]
    assert predictions["label"].tolist() == [1, 1, 1, 1, 1, 1, 0, 1, 1, 1]
    assert pipeline.metadata("wine_predictions")["labels"].value == [1, 1, 1, 1, 1, 1, 0, 1, 1, 1]


def test_the_reference_run_gives_the_probabilities_of_the_reference(reference: Reference) -> None:
    expected = [0.98604, 0.94791, 0.99825, 0.96044, 0.87740, 0.94131, 0.023446, 0.99693, 0.99641, 0.99635]
    _, result = reference
    probabilities = result.output_for_node("wine_predictions")["probability"].tolist()
    assert probabilities == pytest.approx(expected, rel=2e-2)


def test_the_model_records_its_hyperparameters_and_the_rows_it_was_fitted_on(reference: Reference) -> None:
    metadata = reference[0].metadata("wine_model")
    assert metadata["estimator"].value == "LogisticRegression(C=0.01, max_iter=5000)"
    assert {"C": 0.01, "scaler": "none"}.items() <= metadata["hyperparameters"].value.items()
    assert metadata["training_rows"].value == 178
    assert metadata["warnings"].value == "none"


def test_a_fit_that_stops_early_warns_in_the_metadata_and_succeeds(pipeline: Pipeline) -> None:
    pipeline.read()
    result = pipeline.materialize(
        "wine_model", wine_model={"hyperparameters": {"logistic_regression": {"max_iter": 1}}}
    )
    assert result.success
    assert "lbfgs failed to converge" in pipeline.metadata("wine_model")["warnings"].value


def test_the_evaluation_shows_held_out_figures_beside_those_of_the_reference(reference: Reference) -> None:
    metadata = reference[0].metadata("model_evaluation")
    metrics = metadata["metrics"].value
    assert metrics == metadata["reference_metrics"].value
    assert metrics["accuracy"] == pytest.approx(0.9314, rel=2e-2)
    assert metrics["log_loss"] == pytest.approx(0.1529, rel=5e-2)
    assert {name: metadata[name].value for name in metrics} == metrics
    assert metadata["figures"].value.startswith("| metric | this model | over folds ± | reference |")


def test_the_evaluation_holds_a_real_picture_that_the_ui_can_show(reference: Reference) -> None:
    picture = reference[0].metadata("model_evaluation")["picture"]
    assert isinstance(picture, dg.MarkdownMetadataValue)
    prefix = "![Evaluation on held-out rows](data:image/png;base64,"
    assert picture.value.startswith(prefix)
    content = base64.b64decode(picture.value.removeprefix(prefix).removesuffix(")"), validate=True)
    assert content.startswith(PNG)
    assert content.rstrip().endswith(b"IEND\xaeB`\x82")


def test_the_report_lies_where_the_evaluation_says_with_the_picture_in_it(reference: Reference) -> None:
    report = reference[0].metadata("model_evaluation")["report"]
    assert isinstance(report, dg.PathMetadataValue)
    page = Path(str(report.value)).read_text()
    assert page.startswith("<!doctype html>")
    assert "data:image/png;base64," in page
    assert "<script" not in page


def test_the_evaluation_is_stored_as_plain_figures(reference: Reference) -> None:
    stored: dict[str, Any] = json.loads(reference[0].file("model_evaluation").read_bytes())
    assert set(stored) == {
        *("metrics", "deviations", "reference_metrics", "confusion", "calibration", "importances", "report")
    }
    assert sum(map(sum, stored["confusion"])) == 178
    assert len(stored["importances"]) == 13


def test_the_onnx_model_on_disk_is_the_one_that_its_metadata_describes(reference: Reference) -> None:
    pipeline, _ = reference
    metadata, path = pipeline.metadata("wine_model_onnx"), pipeline.file("wine_model_onnx")
    assert metadata["sha256"].value == sha256_of_file(path)
    assert metadata["bytes"].value == path.stat().st_size
    assert len(Predictor.load(path).features) == 13
    assert "| family | logistic_regression |" in metadata["metadata"].value


def test_the_parity_check_passes_and_says_what_it_compared(reference: Reference) -> None:
    check = checks(reference[1])["parity"]
    assert check.passed
    assert check.blocking
    assert check.metadata["rows"].value == 178
    assert check.metadata["random_rows"].value == 10_000
    assert check.metadata["boundary_rows"].value == 500
    assert check.metadata["label_flips"].value == 0
    assert check.metadata["max_difference"].value == pytest.approx(
        reference[0].metadata("wine_model_onnx")["parity_max_difference"].value
    )


def test_a_model_that_differs_from_its_estimator_is_not_stored_and_stops_the_predictions(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.train()
    before, files = pipeline.made(), sorted(pipeline.file("wine_model_onnx").parent.iterdir())
    monkeypatch.setattr(parity, "TOLERANCE", 0.0)
    result = pipeline.train(hyperparameters={"logistic_regression": {"C": 0.5}})
    assert not checks(result)["parity"].passed
    assert "The ONNX model doesn't answer as the estimator" in failures(result)[0]
    assert "wine_predictions" not in started(result)
    assert {asset for asset in before if pipeline.made()[asset] == before[asset]} == {
        "wine_model_onnx",
        "wine_predictions",
        "released_model",
    }
    assert sorted(pipeline.file("wine_model_onnx").parent.iterdir()) == files


def test_predictions_follow_their_config(pipeline: Pipeline) -> None:
    pipeline.train()
    pipeline.materialize("wine_predictions", wine_predictions={"rows": 3, "random_state": 7})
    metadata = pipeline.metadata("wine_predictions")
    assert metadata["dagster/row_count"].value == 3
    assert [set(row) for row in metadata["sample"].value] == [{"row", "target", "label", "probability"}] * 3
