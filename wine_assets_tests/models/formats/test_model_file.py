import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wine_assets.data import dataset
from wine_assets.errors import ArtifactError
from wine_assets.models.base import Hyperparameters
from wine_assets.models.families.gradient_boosting import GradientBoostingHyperparameters
from wine_assets.models.families.logistic_regression import LogisticRegressionHyperparameters
from wine_assets.models.formats import model_file
from wine_assets.models.reference import REFERENCE
from wine_assets_tests.support.wine_frames import DEFAULT, fitted_model, wine

TREES = GradientBoostingHyperparameters(max_iter=3, max_leaf_nodes=4, random_state=5)
SEEDED = LogisticRegressionHyperparameters(random_state=7)
STOPPED = LogisticRegressionHyperparameters(max_iter=2, scaler="none")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.zip"


def refusal(path: Path) -> str:
    with pytest.raises(ArtifactError) as refused:
        model_file.load(path)
    return str(refused.value)


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Rewrite the description in a file after `change` had it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    about = json.loads(members[model_file.DESCRIPTION])
    change(about)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, json.dumps(about) if name == model_file.DESCRIPTION else content)


@pytest.mark.parametrize("hyperparameters", [REFERENCE, DEFAULT, SEEDED, STOPPED, TREES], ids=str)
def test_a_model_comes_back_whole(hyperparameters: Hyperparameters, path: Path) -> None:
    """All that is known of a fit survives the disk: family, hyperparameters, data, warnings and the same bits."""
    before = fitted_model(hyperparameters)
    model_file.save(before, path)
    after = model_file.load(path)
    X, _ = dataset.features_and_target(wine())
    assert (after.family, after.hyperparameters, after.data) == (before.family, before.hyperparameters, before.data)
    assert after.warnings == before.warnings
    assert after.estimator.predict_proba(X).tobytes() == before.estimator.predict_proba(X).tobytes()
    assert after.export() == before.export()


def test_a_file_says_what_it_is_in_json(path: Path) -> None:
    """Anybody can read the description, which lies beside the family's own file."""
    model_file.save(fitted_model(SEEDED), path)
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["estimator.skops", "model.json"]
        about = json.loads(archive.read("model.json"))
    assert about["family"] == "logistic_regression"
    assert about["hyperparameters"] == SEEDED.model_dump()
    assert about["data"]["features"] == list(wine().columns[:-1])


def test_a_save_that_fails_leaves_the_last_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is replaced as a whole or not at all, and nothing else is left in its folder."""
    model_file.save(fitted_model(REFERENCE), path)
    monkeypatch.setattr(zipfile.ZipFile, "write", _fail)
    with pytest.raises(OSError, match="the disk went away"):
        model_file.save(fitted_model(DEFAULT), path)
    assert model_file.load(path).hyperparameters == REFERENCE
    assert list(path.parent.iterdir()) == [path]


def _fail(*_: object) -> None:
    raise OSError("the disk went away")


def test_a_missing_file_names_its_remedy(path: Path) -> None:
    assert refusal(path) == f"There is no model at {path}. Materialize wine_model."


@pytest.mark.parametrize("kept", [0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(kept: float, path: Path) -> None:
    model_file.save(fitted_model(REFERENCE), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert refusal(path).startswith(f"{path} can't be read as a model: ")


def test_a_flipped_bit_in_the_weights_is_noticed(path: Path) -> None:
    model_file.save(fitted_model(REFERENCE), path)
    content = bytearray(path.read_bytes())
    content[content.index(fitted_model(REFERENCE).estimator.coef_.tobytes())] ^= 1
    path.write_bytes(content)
    assert "Bad CRC-32" in refusal(path)


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a family that is not installed": (lambda about: about.update(family="svm"), "There is no family 'svm'"),
    "another family's weights": (lambda about: about.update(family="gradient_boosting"), "is not known"),
    "a wrong value": (lambda about: about["hyperparameters"].update(C=-1.0), "C must be greater than 0, got -1.0"),
    "no data": (lambda about: about.pop("data"), "missing required field `data`"),
    "an unknown field": (lambda about: about.update(color="red"), "unknown field `color`"),
    "a later schema": (lambda about: about.update(schema_version=2), "has schema version 2, .* reads 1"),
}


@pytest.mark.parametrize(("change", "reason"), CHANGES.values(), ids=CHANGES)
def test_a_description_that_is_wrong_is_refused(
    change: Callable[[dict[str, Any]], object], reason: str, path: Path
) -> None:
    """The sentence names the file, the reason and the remedy."""
    model_file.save(fitted_model(REFERENCE), path)
    edit(path, change)
    with pytest.raises(ArtifactError, match=rf"model\.zip can't be read as a model: .*{reason}.* again\.$"):
        model_file.load(path)


def test_weights_of_another_family_are_refused(path: Path) -> None:
    """Each family reads what it wrote itself."""
    model_file.save(fitted_model(TREES), path)
    edit(path, lambda about: about.update(family="logistic_regression", hyperparameters={}))
    assert "holds types that this project doesn't write" in refusal(path)
