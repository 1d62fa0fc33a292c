"""Models that tests publish and serve, and how each of them answers."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from wine_assets.data import dataset
from wine_assets.files import sha256_of_bytes
from wine_assets.inference import Manifest, ModelRepository, Predictor, Promotion
from wine_assets.inference import manifest as manifests
from wine_assets.inference.manifest import Content, Provenance
from wine_assets.models import parity
from wine_assets.models.base import Hyperparameters
from wine_assets.models.reference import REFERENCE
from wine_assets.release import publishing
from wine_assets_tests.support.wine_frames import DEFAULT, exported, fitted_model, wine

KINDS = (DEFAULT, REFERENCE)
"""Version 1 and version 2 of the repositories that tests serve."""
ORIGIN = Provenance("2024-06-07T00:00:00+00:00", "test", "", "", {})


@functools.cache
def content_of(hyperparameters: Hyperparameters) -> Content:
    """Return what the manifest of a model that was fitted on the wine data says."""
    X, _ = dataset.features_and_target(wine())
    model = exported(hyperparameters)
    measured = parity.measure(model, fitted_model(hyperparameters), X)
    return publishing.content(model, wine(), {}, measured)


def publish_models(folder: Path) -> ModelRepository:
    """Return a repository with a version for each of `KINDS`, and no champion yet."""
    repository = ModelRepository(folder)
    for kind in KINDS:
        repository.publish(exported(kind), content_of(kind), ORIGIN)
    return repository


def promote(repository: ModelRepository, version: int) -> Promotion:
    """Make a version champion, whatever was before."""
    return repository.promote(version, expected=repository.champion(), by="a test")


@functools.cache
def rows() -> Any:
    """Return all rows of the wine data, float32 [178, 13]."""
    return wine().drop(columns="target").to_numpy(dtype=np.float32)


@functools.cache
def named_rows() -> list[dict[str, float]]:
    """Return the same rows as objects of values by name."""
    names = Predictor(exported(DEFAULT)).features
    return [dict(zip(names, row, strict=True)) for row in rows().tolist()]


@functools.cache
def expected(version: int) -> tuple[list[int], list[list[float]]]:
    """Return the labels and probabilities that a version gives all rows."""
    labels, probabilities = Predictor(exported(KINDS[version - 1])).predict_both(rows())
    return labels.tolist(), probabilities.tolist()


def request(values: Any, **more: Any) -> dict[str, Any]:
    """Return an inference request for rows [n, 13]."""
    array = np.asarray(values, dtype=np.float32)
    tensor = {"name": "features", "shape": list(array.shape), "datatype": "FP32", "data": array.reshape(-1).tolist()}
    return {"inputs": [tensor], **more}


def write_version(repository: ModelRepository, version: int, files: Mapping[str, bytes]) -> Path:
    """Write the files of a version as somebody would who doesn't use this project."""
    folder = repository.folder / "versions" / str(version)
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def write_pointer(repository: ModelRepository, version: int, manifest: bytes) -> None:
    """Move the champion pointer by hand."""
    champion = repository.champion()
    serial = champion.serial + 1 if champion else 1
    moved = Promotion(serial, version, sha256_of_bytes(manifest), "2024-06-07T00:00:00+00:00", "a test")
    temporary = repository.folder / ".tmp-champion"
    temporary.write_bytes(msgspec.json.encode(moved))
    temporary.replace(repository.folder / "champion")


def manifest_for(model: bytes, **changed: Any) -> bytes:
    """Return the manifest of version 1, as it would be if it were about another model."""
    sums = {"model_sha256": sha256_of_bytes(model), "model_bytes": len(model)}
    return manifests.encode(Manifest(msgspec.structs.replace(content_of(DEFAULT), **sums, **changed), ORIGIN))
