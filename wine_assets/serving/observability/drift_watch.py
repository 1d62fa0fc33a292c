"""How far the inputs of late are from those of training, found out beside the requests."""

from collections import deque
from typing import Any

import numpy as np

from wine_assets.inference import drift
from wine_assets.inference.features import Rows
from wine_assets.inference.manifest import Histogram
from wine_assets.serving.data_plane import Served

WINDOW_ROWS = 10_000
LEAST_ROWS = 100
_BATCHES = 1024
_BATCH_ROWS = 256


class DriftWatch:
    """Takes rows as they are answered, which costs next to nothing, and counts them later, many at once.

    The counts are of about the last `WINDOW_ROWS` rows: older ones weigh half as much at each turn. Of a large batch,
    rows from all over it are counted; of more requests than are kept between two counts, the newest.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[Served, Rows]] = deque(maxlen=_BATCHES)
        self._served: Served | None = None
        self._counts: list[Any] = []
        self.rows = 0

    def add(self, served: Served, rows: Rows) -> None:
        """Remember rows that a model answered."""
        step = 1 + (len(rows) - 1) // _BATCH_ROWS
        self._recent.append((served, rows[::step].copy()))  # a view would keep the whole body of a request

    def forget(self) -> None:
        """Count from nothing for another model; called in the thread that calls `update`."""
        self._recent.clear()
        self._served, self._counts, self.rows = None, [], 0

    def update(self) -> dict[str, float]:
        """Count what was remembered; return the PSI of each feature, none while there are too few rows to tell."""
        taken = [self._recent.popleft() for _ in range(len(self._recent))]
        if taken:
            self._count(taken)
        served = self._served
        if served is None or self.rows < LEAST_ROWS:
            return {}
        manifest = served.predictor.manifest
        if manifest is None:
            return {}
        expected = [feature.histogram.counts for feature in manifest.content.features]
        return {
            name: drift.psi(counts, observed)
            for name, counts, observed in zip(served.features, expected, self._counts, strict=True)
        }

    def _count(self, taken: list[tuple[Served, Rows]]) -> None:
        newest = taken[-1][0]
        manifest = newest.predictor.manifest
        if manifest is None:
            return
        histograms = [_as_served(feature.histogram) for feature in manifest.content.features]
        if newest is not self._served:
            self._served, self.rows = newest, 0
            self._counts = [np.zeros(len(histogram.counts), dtype=np.int64) for histogram in histograms]
        rows = np.concatenate([some for served, some in taken if served is newest])[-WINDOW_ROWS:]
        if self.rows >= WINDOW_ROWS:
            self._counts, self.rows = [counts // 2 for counts in self._counts], self.rows // 2
        for at, histogram in enumerate(histograms):
            self._counts[at] = self._counts[at] + drift.count(histogram, rows[:, at])
        self.rows += len(rows)


def _as_served(histogram: Histogram) -> Histogram:
    """Return a histogram whose edges are rounded as the rows of requests are.

    An edge is often a value of the training data; rounded alone, the value could fall into the bin beside its own.
    """
    edges = np.asarray(histogram.edges, dtype=np.float32).tolist()
    return Histogram(tuple(edges), histogram.counts)
