import json
from pathlib import Path
from typing import Any

import pytest

from wine_assets.evaluation.cross_validation import Evaluation, EvaluationParams, evaluate
from wine_assets.models.base import Hyperparameters
from wine_assets.models.families.logistic_regression import LogisticRegressionHyperparameters
from wine_assets.models.reference import REFERENCE
from wine_assets.reports import evaluation_report
from wine_assets_tests.support.wine_frames import DEFAULT, fitted_model, wine

PARAMS = EvaluationParams(folds=3, permutations=2)


@pytest.fixture(scope="module")
def reviewed() -> evaluation_report.Review:
    return evaluation_report.review(wine(), fitted_model(DEFAULT), PARAMS)


def test_the_model_and_the_reference_are_evaluated_on_the_same_folds(reviewed: evaluation_report.Review) -> None:
    assert reviewed.evaluation.metrics == evaluate(wine(), DEFAULT, PARAMS).metrics
    assert reviewed.reference.metrics == evaluate(wine(), REFERENCE, PARAMS).metrics
    assert (reviewed.evaluation.y == reviewed.reference.y).all()


def test_what_is_evaluated_are_the_hyperparameters_that_the_estimator_has() -> None:
    hyperparameters = LogisticRegressionHyperparameters(C=0.3, class_weight="balanced")
    found = evaluation_report.review(wine(), fitted_model(hyperparameters), PARAMS)
    assert found.evaluation.metrics == evaluate(wine(), hyperparameters, PARAMS).metrics
    assert '<td>C</td><td class="number">0.3</td>' in found.page


def test_the_reference_is_not_evaluated_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated: list[Hyperparameters] = []

    def recorded(frame: Any, hyperparameters: Hyperparameters, params: EvaluationParams) -> Evaluation:
        evaluated.append(hyperparameters)
        return evaluate(frame, hyperparameters, params)

    monkeypatch.setattr(evaluation_report, "evaluate", recorded)
    found = evaluation_report.review(wine(), fitted_model(REFERENCE), PARAMS)
    assert found.reference is found.evaluation
    assert evaluated == [REFERENCE]


def test_the_page_holds_the_picture_and_says_how_the_figures_were_made(reviewed: evaluation_report.Review) -> None:
    assert "178 rows, each held out once by stratified 3-fold cross-validation (seed 0)" in reviewed.page
    assert reviewed.picture.startswith(b"\x89PNG")
    assert "data:image/png;base64," in reviewed.page


def test_repeats_are_counted_in_words() -> None:
    params = EvaluationParams(folds=2, repeats=2, seed=9, permutations=1)
    assert (
        "each held out 2 times by stratified 2-fold cross-validation (seed 9)"
        in evaluation_report.review(wine(), fitted_model(REFERENCE), params).page
    )


def test_the_figures_are_a_table(reviewed: evaluation_report.Review) -> None:
    header, rows = reviewed.figures()
    assert [*header] == ["metric", "this model", "over folds ±", "reference"]
    assert {len(row) for row in rows} == {4}


def test_the_summary_is_plain_json_with_every_figure(reviewed: evaluation_report.Review) -> None:
    summary = json.loads(json.dumps(reviewed.summary()))
    assert summary["metrics"] == reviewed.evaluation.metrics
    assert summary["reference_metrics"] == reviewed.reference.metrics
    assert summary["deviations"] == reviewed.evaluation.deviations
    assert sum(map(sum, summary["confusion"])) == 178
    assert len(summary["calibration"]["observed"]) == len(summary["calibration"]["predicted"])
    assert {*summary["importances"]} == {*wine().columns[:-1]}


def test_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    evaluation_report.review(wine(), fitted_model(REFERENCE), PARAMS)
    assert list(tmp_path.iterdir()) == []
