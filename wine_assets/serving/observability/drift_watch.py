"""Drift of recent inputs against training, computed outside of requests."""

from collections import deque
from typing import Any

import numpy as np

from wine_assets.inference import drift
from wine_assets.inference.features import Rows
from wine_assets.inference.manifest import Histogram
from wine_assets.serving.data_plane import LoadedModel

WINDOW_ROWS = 10_000
MIN_ROWS = 100
_MAX_BATCHES = 1024
_BATCH_ROWS = 256


class DriftWatch:
    """Samples the rows of requests, and counts them later in the bins of the training histograms.

    The counts cover about the last `WINDOW_ROWS` rows: when the window is full, all counts are halved. A large batch
    is sampled evenly. Between two updates only the newest batches are kept.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[LoadedModel, Rows]] = deque(maxlen=_MAX_BATCHES)
        self._model: LoadedModel | None = None
        self._counts: list[Any] = []
        self.rows = 0

    def add(self, model: LoadedModel, rows: Rows) -> None:
        """Sample the rows of a request."""
        step = 1 + (len(rows) - 1) // _BATCH_ROWS
        self._recent.append((model, rows[::step].copy()))  # a view would keep the whole body of a request

    def reset(self) -> None:
        """Start again for another model; call it in the thread that calls `update`."""
        self._recent.clear()
        self._model, self._counts, self.rows = None, [], 0

    def update(self) -> dict[str, float]:
        """Count the sampled rows; return the PSI of each feature, or nothing while there are too few rows."""
        batches = [self._recent.popleft() for _ in range(len(self._recent))]
        if batches:
            self._count(batches)
        model = self._model
        if model is None or self.rows < MIN_ROWS:
            return {}
        manifest = model.predictor.manifest
        if manifest is None:
            return {}
        expected = [feature.histogram.counts for feature in manifest.content.features]
        return {
            name: drift.psi(counts, observed)
            for name, counts, observed in zip(model.features, expected, self._counts, strict=True)
        }

    def _count(self, batches: list[tuple[LoadedModel, Rows]]) -> None:
        newest = batches[-1][0]
        manifest = newest.predictor.manifest
        if manifest is None:
            return
        histograms = [_round_edges(feature.histogram) for feature in manifest.content.features]
        if newest is not self._model:
            self._model, self.rows = newest, 0
            self._counts = [np.zeros(len(histogram.counts), dtype=np.int64) for histogram in histograms]
        rows = np.concatenate([rows for model, rows in batches if model is newest])[-WINDOW_ROWS:]
        if self.rows >= WINDOW_ROWS:
            self._counts, self.rows = [counts // 2 for counts in self._counts], self.rows // 2
        for at, histogram in enumerate(histograms):
            self._counts[at] = self._counts[at] + drift.count(histogram, rows[:, at])
        self.rows += len(rows)


def _round_edges(histogram: Histogram) -> Histogram:
    """Return a histogram whose edges are rounded to float32 as rows are.

    An edge is often a value of the training data. If only the value were rounded, it could change its bin.
    """
    edges = np.asarray(histogram.edges, dtype=np.float32).tolist()
    return Histogram(tuple(edges), histogram.counts)
