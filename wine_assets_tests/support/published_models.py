"""Models to publish: the wine model of some C, with what a manifest says of it."""

import functools
from dataclasses import dataclass

from wine_assets.data import dataset
from wine_assets.data.sources import BundledSource, load
from wine_assets.inference import ModelRepository
from wine_assets.inference.manifest import Content, Provenance
from wine_assets.models import training, verified_export
from wine_assets.models.families.logistic_regression import LogisticRegressionHyperparameters
from wine_assets.release import publishing as release

PROVENANCE = Provenance("2026-01-01T00:00:00+00:00", "run-1", "", "a test", {"onnxruntime": "1"})
METRICS = {"accuracy": 0.98, "log_loss": 0.05}


@dataclass(frozen=True)
class Publishable:
    """A serialized model, and what its manifest says of it."""

    model: bytes
    content: Content

    def publish(self, repository: ModelRepository, report: bytes | None = b"<!doctype html>") -> int:
        """Make it the next version."""
        return repository.publish(self.model, self.content, PROVENANCE, report)

    def release(self, repository: ModelRepository) -> int:
        """Make it the next version, and the champion."""
        version = self.publish(repository)
        repository.promote(version, expected=repository.champion(), by="a test")
        return version


@functools.cache
def publishable(C: float) -> Publishable:
    """Return the model that is fitted on the bundled wine data with this C."""
    frame = dataset.binarize(load(BundledSource()).frame, dataset.BinarizeParams())
    exported = verified_export.export(frame, training.train(frame, LogisticRegressionHyperparameters(C=C)))
    return Publishable(exported.content, release.content(exported.content, frame, METRICS, exported.parity))
