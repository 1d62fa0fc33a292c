"""A fitted model as one file: an archive of its description in JSON and of what its family saves."""

import contextlib
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from wine_assets.errors import ArtifactError, ConfigurationError
from wine_assets.files import atomic_path
from wine_assets.models import registry
from wine_assets.models.base import FittedModel, TrainingData

SUFFIX = ".zip"
DESCRIPTION = "model.json"
"""The member that says what the model is; the family's own file lies beside it."""
SCHEMA_VERSION = 1


class _Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    family: str
    hyperparameters: dict[str, Any]
    data: TrainingData
    warnings: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION


def save(model: FittedModel, path: Path) -> None:
    """Write a model to `path`, atomically."""
    about = _Description(
        model.family.name, model.hyperparameters.model_dump(mode="json"), model.data, tuple(model.warnings)
    )
    with tempfile.TemporaryDirectory(prefix="wine-model-") as folder, atomic_path(path) as temporary:
        weights = Path(folder) / model.family.weights
        model.family.save(model.estimator, weights)
        with zipfile.ZipFile(temporary, "w") as archive:
            archive.writestr(DESCRIPTION, msgspec.json.format(msgspec.json.encode(about), indent=1))
            archive.write(weights, weights.name)


def load(path: Path) -> FittedModel:
    """Read a model that `save` wrote; raise ArtifactError when it is missing or damaged, or its family is."""
    if not path.exists():
        raise ArtifactError(f"There is no model at {path}. Materialize wine_model.")
    with _errors_as_sentences(path), zipfile.ZipFile(path) as archive:
        about = msgspec.json.decode(archive.read(DESCRIPTION), type=_Description)
        if about.schema_version != SCHEMA_VERSION:
            raise ArtifactError(
                f"it has schema version {about.schema_version}, and this release of wine-assets reads {SCHEMA_VERSION}"
            )
        family = registry.family_named(about.family)
        hyperparameters = family.hyperparameters.model_validate(about.hyperparameters)
        with tempfile.TemporaryDirectory(prefix="wine-model-") as folder:
            estimator = family.load(Path(archive.extract(family.weights, folder)))
    return FittedModel(family, hyperparameters, about.data, estimator, about.warnings)


@contextlib.contextmanager
def _errors_as_sentences(path: Path) -> Iterator[None]:
    """Raise ArtifactError, which names `path`, for whatever goes wrong while it is read."""
    try:
        yield
    except (ArtifactError, ConfigurationError) as error:
        raise ArtifactError(f"{path} can't be read as a model: {error} Materialize wine_model again.") from error
    except Exception as error:
        raise ArtifactError(f"{path} can't be read as a model: {error}. Materialize wine_model again.") from error
