import shutil
from pathlib import Path

import numpy as np
import pytest

from wine_assets.data import dataset
from wine_assets.inference import ModelRepository, Predictor
from wine_assets.models import verified_export
from wine_assets.models.base import Hyperparameters
from wine_assets.models.families import legacy_skops
from wine_assets.models.families.gradient_boosting import GradientBoostingHyperparameters
from wine_assets.models.reference import REFERENCE
from wine_assets.release import publishing
from wine_assets_tests.support.wine_frames import SAMPLED_LABELS, SAMPLED_ROWS, wine, wine_data

FILES = Path(__file__).parent / "version_0_1"
TREES = GradientBoostingHyperparameters(max_iter=5, max_leaf_nodes=4)
FITTED = {"logistic_regression": REFERENCE, "gradient_boosting": TREES}


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    """The repository of two versions that 0.1.0 released, the second of which is the champion."""
    shutil.copytree(FILES / "models" / "wine", tmp_path / "wine")
    return ModelRepository(tmp_path / "wine")


def test_old_versions_are_verified_and_loaded(repository: ModelRepository) -> None:
    """Each version answers its samples, and the champion is vouched for by the pointer."""
    assert repository.versions() == [1, 2]
    for number, (family, hyperparameters) in enumerate(FITTED.items(), 1):
        content = repository.verify(number).manifest.content
        assert (content.family, content.parameters) == (family, hyperparameters.model_dump())
    assert [promotion.version for promotion in repository.history()] == [1, 2]
    predictor = Predictor.load(repository.folder, threads=2)
    assert (predictor.version, predictor.verified, predictor.threads) == (2, True, 1)


def test_an_old_version_gives_the_reference_labels(repository: ModelRepository) -> None:
    rows = wine().drop(columns="target").iloc[SAMPLED_ROWS]
    assert Predictor.load(repository.folder, version=1).predict(rows).tolist() == SAMPLED_LABELS


@pytest.mark.parametrize("version", [1, 2])
def test_a_lone_old_model_keeps_its_threads(version: int) -> None:
    """Without a manifest, the linear model is given several threads, and trees are given one."""
    path = FILES / "models" / "wine" / "versions" / str(version) / "model.onnx"
    assert Predictor.load(path, threads=3).threads == (3 if version == 1 else 1)


@pytest.mark.process  # a release asks git for the revision
@pytest.mark.parametrize(("name", "hyperparameters"), FITTED.items(), ids=FITTED)
def test_an_old_estimator_is_exported_and_released(
    name: str, hyperparameters: Hyperparameters, repository: ModelRepository
) -> None:
    """A bare skops file is read as the model that it is, and takes the whole way to a new version."""
    model = legacy_skops.load(FILES / "wine_model" / f"{name}.skops")
    assert (model.family.name, model.hyperparameters) == (name, hyperparameters)
    assert model.data.features == wine_data().features
    exported = verified_export.export(wine(), model)
    assert exported.parity.passed
    assert exported.metadata["data_fingerprint"] == wine_data().fingerprint
    candidate = publishing.Candidate(exported.content, model, wine(), {})
    released = publishing.release(repository.folder.parent, candidate, publishing.provenance("run"), None)
    assert (released.promotion.version, repository.versions()) == (3, [1, 2, 3])
    X, _ = dataset.features_and_target(wine())
    served = Predictor.load(repository.folder).predict_proba(X)
    np.testing.assert_allclose(served, model.estimator.predict_proba(X), atol=1e-5)
