"""A model released: published with all that is known of it, and made champion."""

import contextlib
import datetime as dt
import json
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wine_assets.data import dataset
from wine_assets.models import parity, verified_export
from wine_assets.models.base import FittedModel

if TYPE_CHECKING:
    from wine_assets.inference import ModelRepository, Promotion
    from wine_assets.inference.manifest import Content, Feature, Provenance

VERSION = "1"
MODEL_NAME = "wine"
"""The name that the model is published and served under."""
BINS = 10
SAMPLE_ROWS = 16
_PACKAGES = ("wine-assets", "numpy", "onnx", "onnxruntime", "pandas", "scikit-learn", "skl2onnx")
_GIT_TIMEOUT_S = 10
_PROMOTION_TRIES = 20


@dataclass(frozen=True)
class Candidate:
    """A model that may be released, with what is needed to say what it is."""

    model: bytes
    """The serialized ONNX model."""
    fitted: FittedModel
    """The model that it was exported from."""
    frame: Any
    """The binarized frame that it was fitted on."""
    metrics: Mapping[str, float]
    """Its held-out figures."""


@dataclass(frozen=True)
class Release:
    """What became of a candidate: a version, which is the champion from now on."""

    folder: Path
    """The repository's."""
    promotion: "Promotion"
    is_new: bool
    """Whether a version was published; False where the newest one has the same content."""

    def summary(self) -> dict[str, Any]:
        """Return the release as plain values."""
        return {
            "model": self.folder.name,
            "version": self.promotion.version,
            "manifest_sha256": self.promotion.manifest_sha256,
            "promoted_at": self.promotion.at,
            "promoted_by": self.promotion.by,
        }


def release(models: Path, candidate: Candidate, origin: "Provenance", report: bytes | None) -> Release:
    """Publish a candidate in the repository below `models`, and make it champion.

    Raise ParityError unless it answers as its estimator, ArtifactError when it can't be published, and ConflictError
    when others came first again and again. What was champion before stays so then.
    """
    from wine_assets.inference import ModelRepository

    X, _ = dataset.features_and_target(candidate.frame)
    fitted = verified_export.with_data(candidate.fitted, candidate.frame)
    measured = parity.measure(candidate.model, fitted, X)
    parity.require(measured)
    about = content(candidate.model, candidate.frame, candidate.metrics, measured)
    return publish(ModelRepository.named(models, MODEL_NAME), candidate.model, about, origin, report)


def content(model: bytes, frame: Any, metrics: Mapping[str, float], measured: parity.Parity) -> "Content":
    """Return what a manifest says of a serialized model that was fitted on the binarized `frame`.

    Equal arguments give equal contents.
    """
    from wine_assets.files import sha256_of_bytes
    from wine_assets.inference import Predictor, manifest

    predictor = Predictor(model)
    return manifest.Content(
        features=tuple(_feature(name, frame[name].to_numpy(dtype="float64")) for name in predictor.features),
        classes=predictor.classes,
        family=predictor.metadata["family"],
        parameters=json.loads(predictor.metadata["hyperparameters"]),
        data_fingerprint=predictor.metadata["data_fingerprint"],
        metrics=dict(metrics),
        parity=manifest.Parity(
            measured.max_difference, parity.TOLERANCE, measured.compared_rows, measured.batch_invariant
        ),
        samples=_samples(predictor, frame),
        model_sha256=sha256_of_bytes(model),
        model_bytes=len(model),
    )


def provenance(run_id: str) -> "Provenance":
    """Return where a model that is released now comes from; the revision is empty outside of a git checkout."""
    from wine_assets.inference.manifest import Provenance

    return Provenance(
        created_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        run_id=run_id,
        git_revision=_git_revision(),
        machine=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        packages={name: version(name) for name in _PACKAGES},
    )


def publish(
    repository: "ModelRepository", model: bytes, about: "Content", origin: "Provenance", report: bytes | None
) -> Release:
    """Publish a model unless the newest version has the same content, and make it champion unless it is.

    Raise ArtifactError for a model that isn't what `about` says, and ConflictError when others came first every time.
    """
    newest = _same_content(repository, about)
    number = newest or repository.publish(model, about, origin, report)
    promotion = _promote(repository, number, f"run {origin.run_id}")
    return Release(repository.folder, promotion, is_new=newest is None)


def _promote(repository: "ModelRepository", number: int, by: str) -> "Promotion":
    """Make a version the champion; of releases at the same time, the last one's stays."""
    from wine_assets.errors import ConflictError

    for _ in range(_PROMOTION_TRIES):
        champion = repository.champion()
        if champion is not None and champion.version == number:
            return champion
        with contextlib.suppress(ConflictError):
            return repository.promote(number, expected=champion, by=by)
    raise ConflictError(f"Other releases came before this one {_PROMOTION_TRIES} times in a row. Release it again.")


def _same_content(repository: "ModelRepository", about: "Content") -> int | None:
    """Return the newest version when it is whole and of this content."""
    from wine_assets.errors import WineAssetsError
    from wine_assets.inference.manifest import content_sha256

    try:
        newest = repository.verify(repository.versions()[-1])
    except (IndexError, WineAssetsError):
        return None
    return newest.version if content_sha256(newest.manifest.content) == content_sha256(about) else None


def _feature(name: str, values: Any) -> "Feature":
    import numpy as np

    from wine_assets.inference.drift import count
    from wine_assets.inference.manifest import Feature, Histogram

    edges = tuple(float(edge) for edge in np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1))))
    edges = edges if len(edges) > 1 else edges * 2  # a constant feature has one bin
    bins = Histogram(edges, (0,) * (len(edges) - 1))
    return Feature(
        name=name,
        low=float(values.min()),
        high=float(values.max()),
        median=float(np.median(values)),
        histogram=Histogram(edges, tuple(int(number) for number in count(bins, values))),
    )


def _samples(predictor: Any, frame: Any) -> Any:
    """Return rows from all over the frame with the model's answers, which every reader of the version repeats."""
    import numpy as np

    from wine_assets.inference.manifest import Samples

    places = np.unique(np.linspace(0, len(frame) - 1, SAMPLE_ROWS).astype(int))
    rows = frame[list(predictor.features)].to_numpy()[places].astype(np.float32)
    labels, probabilities = predictor.predict_both(rows)
    return Samples(
        rows=tuple(map(tuple, rows.tolist())),
        labels=tuple(labels.tolist()),
        probabilities=tuple(map(tuple, probabilities.tolist())),
    )


def _git_revision() -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    command = [git, "rev-parse", "HEAD"]
    folder = Path(__file__).parent
    try:
        asked = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=_GIT_TIMEOUT_S)  # noqa: S603 - found on the path
    except (OSError, subprocess.TimeoutExpired):
        return ""  # a model is worth more than the name of its revision
    return asked.stdout.strip()
