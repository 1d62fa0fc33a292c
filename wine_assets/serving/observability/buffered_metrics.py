"""Buffers of request counts, which are added to Prometheus' metrics periodically.

Prometheus' metrics take a lock for each observation, which is a considerable part of the time of a request.
"""

from bisect import bisect_left
from typing import Any

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class BufferedMetrics:
    """The number of requests with one method, route and status, and their durations, since the last `publish`."""

    __slots__ = ("_buckets", "_count", "_durations", "_requests", "_seconds")

    def __init__(self, requests: Any, durations: Any) -> None:
        self._requests, self._durations = requests, durations
        self._reset()

    def add(self, seconds: float) -> None:
        """Count a request."""
        self._count += 1
        self._seconds += seconds
        self._buckets[bisect_left(BUCKETS, seconds)] += 1

    def publish(self) -> None:
        """Add the counts to the counter and to the histogram."""
        if not self._count:
            return
        count, seconds, buckets = self._count, self._seconds, self._buckets
        self._reset()
        self._requests.inc(count)
        self._durations._sum.inc(seconds)  # noqa: SLF001 - prometheus_client can't add many observations at once
        for bucket, number in zip(self._durations._buckets, buckets, strict=True):  # noqa: SLF001 - likewise
            if number:
                bucket.inc(number)

    def _reset(self) -> None:
        self._count, self._seconds = 0, 0.0
        self._buckets = [0] * (len(BUCKETS) + 1)
