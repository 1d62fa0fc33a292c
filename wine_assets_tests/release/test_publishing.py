import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from wine_assets.data.dataset import BinarizeParams, binarize
from wine_assets.errors import ArtifactError, ParityError
from wine_assets.inference import ModelRepository, Predictor
from wine_assets.inference.manifest import content_sha256
from wine_assets.models import training, verified_export
from wine_assets.models.families.logistic_regression import LogisticRegressionHyperparameters as Hyperparameters
from wine_assets.release import publishing

METRICS = {"accuracy": 0.98, "log_loss": 0.05}
MakeCandidate = Callable[..., publishing.Candidate]


@pytest.fixture(scope="session")
def binarized(bundled: pd.DataFrame) -> pd.DataFrame:
    return binarize(bundled, BinarizeParams())


@pytest.fixture(scope="session")
def candidate_of(binarized: pd.DataFrame) -> MakeCandidate:
    """Make the candidate of a frame and hyperparameters, by default the binarized wine data's."""

    def candidate(frame: pd.DataFrame = binarized, **hyperparameters: Any) -> publishing.Candidate:
        model = training.train(frame, Hyperparameters(**hyperparameters))
        return publishing.Candidate(verified_export.export(frame, model).content, model, frame, METRICS)

    return candidate


@pytest.fixture(scope="session")
def candidate(candidate_of: MakeCandidate) -> publishing.Candidate:
    return candidate_of()


@pytest.fixture
def released(tmp_path: Path, candidate: publishing.Candidate) -> publishing.Release:
    return _released(tmp_path, candidate)


def _released(models: Path, candidate: publishing.Candidate, run_id: str = "run-1") -> publishing.Release:
    return publishing.release(models, candidate, publishing.provenance(run_id), b"<!doctype html>")


def test_a_released_model_is_the_champion_that_services_load(
    tmp_path: Path, candidate: publishing.Candidate, released: publishing.Release
) -> None:
    predictor = Predictor.load(tmp_path / "wine")
    features = candidate.frame.drop(columns="target")
    expected = candidate.fitted.estimator.predict_proba(features)
    np.testing.assert_allclose(predictor.predict_proba(features), expected, atol=1e-5)
    assert (predictor.version, predictor.verified, released.is_new) == (1, True, True)
    assert ModelRepository(tmp_path / "wine").report(1) == b"<!doctype html>"


def test_the_manifest_says_what_the_model_is_and_where_it_comes_from(
    tmp_path: Path, candidate: publishing.Candidate, released: publishing.Release
) -> None:
    manifest = ModelRepository(released.folder).read().manifest
    alcohol = manifest.content.features[0]
    column = candidate.frame["alcohol"]
    assert (alcohol.name, alcohol.low, alcohol.high) == ("alcohol", column.min(), column.max())
    assert alcohol.median == column.median()
    assert sum(alcohol.histogram.counts) == len(column)
    assert len(manifest.content.features) == 13
    assert manifest.content.parameters["C"] == 1.0
    assert manifest.content.metrics == METRICS
    assert 0 < manifest.content.parity.max_difference <= manifest.content.parity.tolerance == 1e-5
    assert manifest.provenance.run_id == "run-1"
    assert {"onnxruntime", "scikit-learn", "wine-assets"} <= {*manifest.provenance.packages}


def test_equal_inputs_make_equal_contents(candidate_of: MakeCandidate, tmp_path: Path) -> None:
    contents = [
        ModelRepository(_released(tmp_path / name, candidate_of()).folder).read().manifest.content for name in "ab"
    ]
    assert content_sha256(contents[0]) == content_sha256(contents[1])
    other = ModelRepository(_released(tmp_path / "c", candidate_of(C=0.5)).folder).read().manifest.content
    assert content_sha256(other) != content_sha256(contents[0])


def test_the_same_model_again_is_not_published_again(
    tmp_path: Path, candidate: publishing.Candidate, released: publishing.Release
) -> None:
    again = _released(tmp_path, candidate, "run-2")
    assert (again.is_new, again.promotion) == (False, released.promotion)
    assert ModelRepository(released.folder).versions() == [1]


def test_a_version_that_was_published_and_never_promoted_is_promoted(
    tmp_path: Path, candidate_of: MakeCandidate, released: publishing.Release
) -> None:
    """As after a process that was killed between the two."""
    other, repository = candidate_of(C=0.5), ModelRepository(released.folder)
    second = _released(tmp_path, other)
    repository.rollback(by="a person")
    again = _released(tmp_path, other)
    assert (again.is_new, again.promotion.version, second.promotion.version) == (False, 2, 2)
    assert repository.versions() == [1, 2]


def test_a_newest_version_that_is_damaged_is_not_promoted_but_published_anew(
    tmp_path: Path, candidate: publishing.Candidate, released: publishing.Release
) -> None:
    model = released.folder / "versions" / "1" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(ArtifactError):
        Predictor.load(released.folder)
    assert _released(tmp_path, candidate).promotion.version == 2
    assert Predictor.load(released.folder).version == 2


def test_a_model_of_another_estimator_is_refused_and_the_champion_stays(
    tmp_path: Path, candidate: publishing.Candidate, candidate_of: MakeCandidate, released: publishing.Release
) -> None:
    wrong = publishing.Candidate(candidate_of(C=0.5).model, candidate.fitted, candidate.frame, METRICS)
    with pytest.raises(ParityError, match="doesn't answer as the estimator"):
        _released(tmp_path, wrong)
    assert ModelRepository(released.folder).champion() == released.promotion
    assert ModelRepository(released.folder).versions() == [1]


def test_a_constant_feature_has_one_bin(candidate_of: MakeCandidate, binarized: pd.DataFrame, tmp_path: Path) -> None:
    folder = _released(tmp_path, candidate_of(binarized.assign(ash=2.0))).folder
    ash = ModelRepository(folder).read().manifest.content.features[2]
    assert (ash.histogram.edges, ash.histogram.counts) == ((2.0, 2.0), (178,))


def test_outside_of_a_git_checkout_the_revision_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert publishing.provenance("run-1").git_revision == ""
    monkeypatch.setenv("PATH", "/nowhere")
    assert publishing.provenance("run-1").git_revision == ""


def test_a_git_that_does_not_answer_leaves_the_revision_unknown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    git = tmp_path / "git"
    git.write_text("#!/bin/sh\nexec sleep 60\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(publishing, "_GIT_TIMEOUT_S", 0.2)
    assert publishing.provenance("run-1").git_revision == ""


def test_a_release_is_shown_as_plain_values(released: publishing.Release) -> None:
    assert json.loads(json.dumps(released.summary())) == {
        "model": "wine",
        "version": 1,
        "manifest_sha256": released.promotion.manifest_sha256,
        "promoted_at": released.promotion.at,
        "promoted_by": "run run-1",
    }
