"""A fitted model exported to ONNX together with the proof that the export equals it."""

from dataclasses import dataclass, replace
from typing import Any

from wine_assets.data import dataset
from wine_assets.models import parity, training
from wine_assets.models.base import FittedModel

VERSION = "2"


@dataclass(frozen=True)
class VerifiedExport:
    """A serialized ONNX model, what it says of itself, and how it compares with its estimator."""

    content: bytes
    metadata: dict[str, str]
    parity: parity.Parity


def export(frame: Any, model: FittedModel) -> VerifiedExport:
    """Export a model that was fitted on `frame` and compare the two; the comparison may have failed.

    Raise ExportError for an estimator that its family did not fit.
    """
    from wine_assets.inference import Predictor

    model = with_data(model, frame)
    content = model.export()
    X, _ = dataset.features_and_target(frame)
    return VerifiedExport(content, Predictor(content).metadata, parity.measure(content, model, X))


def with_data(model: FittedModel, frame: Any) -> FittedModel:
    """Return the model; one whose file does not describe the data that it was fitted on takes them from `frame`."""
    return model if model.data.fingerprint else replace(model, data=training.training_data(frame))
