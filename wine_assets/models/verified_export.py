"""An estimator exported to ONNX together with the proof that the export equals it."""

from dataclasses import dataclass
from typing import Any

from wine_assets.data import dataset
from wine_assets.models import parity, training
from wine_assets.models.registry import family_that_made

VERSION = "1"


@dataclass(frozen=True)
class VerifiedExport:
    """A serialized ONNX model, what it says of itself, and how it compares with its estimator."""

    content: bytes
    metadata: dict[str, str]
    parity: parity.Parity


def export(frame: Any, estimator: Any) -> VerifiedExport:
    """Export an estimator that was fitted on `frame` and compare the two; the comparison may have failed.

    Raise ExportError when no family made the estimator.
    """
    from wine_assets.inference import Predictor

    family = family_that_made(estimator)
    data = training.training_data(frame)
    content = family.export(estimator, family.hyperparameters_of(estimator), data)
    X, _ = dataset.features_and_target(frame)
    measured = parity.measure(content, estimator, X, data, batch_invariant=family.batch_invariant)
    return VerifiedExport(content, Predictor(content).metadata, measured)
