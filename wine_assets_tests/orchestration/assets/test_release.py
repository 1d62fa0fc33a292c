import json

import numpy as np
import pytest

from wine_assets import settings
from wine_assets.errors import ArtifactError
from wine_assets.inference import ModelRepository, Predictor
from wine_assets_tests.support.pipeline import Pipeline, checks, failures


@pytest.fixture
def repository(home: settings.Home) -> ModelRepository:
    return ModelRepository.named(home.models, "wine")


def test_what_was_trained_is_what_services_answer_with(pipeline: Pipeline, repository: ModelRepository) -> None:
    result = pipeline.train()
    predictor = Predictor.load(repository.folder)
    features = result.output_for_node("binarized_wine").drop(columns="target")
    expected = result.output_for_node("wine_model").estimator.predict_proba(features)
    np.testing.assert_allclose(predictor.predict_proba(features), expected, atol=1e-5)
    assert pipeline.metadata("released_model")["version"].value == predictor.version == 1
    assert json.loads(pipeline.file("released_model").read_bytes())["version"] == 1


def test_trees_go_the_same_way_to_services(pipeline: Pipeline, repository: ModelRepository) -> None:
    result = pipeline.train(hyperparameters={"gradient_boosting": {"learning_rate": 0.05, "max_iter": 20}})
    assert result.success
    assert checks(result)["parity"].passed
    content = repository.read().manifest.content
    assert (content.family, content.parameters["learning_rate"]) == ("gradient_boosting", 0.05)
    assert not content.parity.batch_invariant
    predictor = Predictor.load(repository.folder, threads=2)
    assert (predictor.verified, predictor.threads) == (True, 1)
    features = result.output_for_node("binarized_wine").drop(columns="target")
    expected = result.output_for_node("wine_model").estimator.predict_proba(features)
    np.testing.assert_allclose(predictor.predict_proba(features), expected, atol=1e-6)
    metadata = pipeline.metadata("model_evaluation")
    assert metadata["metrics"].value.keys() == metadata["reference_metrics"].value.keys()
    assert metadata["metrics"].value != metadata["reference_metrics"].value


def test_a_version_names_its_run_its_figures_and_its_report(pipeline: Pipeline, repository: ModelRepository) -> None:
    run_id = pipeline.train().run_id
    manifest = repository.read().manifest
    assert manifest.provenance.run_id == run_id
    assert manifest.content.metrics == pipeline.metadata("model_evaluation")["metrics"].value
    report = repository.report(1)
    assert report is not None
    assert report.startswith(b"<!doctype html>")


def test_training_the_same_again_publishes_nothing(pipeline: Pipeline, repository: ModelRepository) -> None:
    pipeline.train()
    before = repository.champion()
    pipeline.train()
    assert (repository.champion(), repository.versions()) == (before, [1])


def test_another_model_becomes_champion_and_the_one_before_can_come_back(
    pipeline: Pipeline, repository: ModelRepository
) -> None:
    pipeline.train()
    pipeline.train(hyperparameters={"logistic_regression": {"C": 0.5}})
    assert repository.read().manifest.content.parameters["C"] == 0.5
    repository.rollback(by="a person")
    assert repository.read().manifest.content.parameters["C"] == 1.0


def test_a_report_that_is_gone_keeps_no_model_from_being_released(
    pipeline: Pipeline, repository: ModelRepository, home: settings.Home
) -> None:
    pipeline.train()
    for page in home.reports.iterdir():
        page.unlink()
    repository.prune(1)
    pipeline.materialize("wine_model", wine_model={"hyperparameters": {"logistic_regression": {"C": 0.5}}})
    pipeline.materialize("wine_model_onnx", "released_model")
    assert (repository.versions(), repository.report(2)) == ([1, 2], None)


def test_a_repository_that_cannot_be_read_fails_the_step_and_names_the_file(
    pipeline: Pipeline, repository: ModelRepository
) -> None:
    pipeline.train()
    (repository.folder / "champion").write_bytes(b"{")
    sentence = failures(pipeline.train(hyperparameters={"logistic_regression": {"C": 0.5}}))[0]
    assert f"{repository.folder}/champion can't be read" in sentence
    with pytest.raises(ArtifactError):
        repository.champion()
