"""Figures that are counted as plain numbers while requests run, and added to Prometheus' own now and then.

Prometheus' figures take a lock each time, which is a good part of what an answer costs.
"""

from bisect import bisect_left
from typing import Any

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Tally:
    """How many requests ended in one way, and in how many seconds, since they were last added."""

    __slots__ = ("_buckets", "_count", "_durations", "_requests", "_seconds")

    def __init__(self, requests: Any, durations: Any) -> None:
        self._requests, self._durations = requests, durations
        self._begin_anew()

    def add(self, seconds: float) -> None:
        """Count a request."""
        self._count += 1
        self._seconds += seconds
        self._buckets[bisect_left(BUCKETS, seconds)] += 1

    def publish(self) -> None:
        """Add what was counted to the counter and to the histogram."""
        if not self._count:
            return
        count, seconds, buckets = self._count, self._seconds, self._buckets
        self._begin_anew()
        self._requests.inc(count)
        self._durations._sum.inc(seconds)  # noqa: SLF001 - the library has no way to add many observations at once
        for bucket, number in zip(self._durations._buckets, buckets, strict=True):  # noqa: SLF001 - likewise
            if number:
                bucket.inc(number)

    def _begin_anew(self) -> None:
        self._count, self._seconds = 0, 0.0
        self._buckets = [0] * (len(BUCKETS) + 1)
