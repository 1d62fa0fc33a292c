"""What Prometheus reads of calls over gRPC, under the names that MLServer's have."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from wine_assets.serving.observability.buffered_metrics import BUCKETS
from wine_assets.serving.observability.metrics import OTHER

Labels = tuple[str, str, str]
"""The type, service and method of a call."""
UNARY, STREAM = "UNARY", "SERVER_STREAMING"
OTHERS: Labels = (OTHER, OTHER, OTHER)
"""Those of a method that there is not."""


class Figures:
    """How calls ended; no label comes from a client.

    What the library refuses by itself is counted as CANCELLED, like a call whose client went away, because it says the
    same of both: a message larger than `--body-limit-bytes`, and metadata that are too large. Nothing is known here of
    connections beyond those that there may be, nor of calls that it cancels when a thousand wait to be taken.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ["grpc_type", "grpc_service", "grpc_method"]
        self._started = Counter("grpc_server_started", "Calls that began.", labels, registry=registry)
        self._handled = Counter(
            "grpc_server_handled", "Calls that ended, by how.", [*labels, "grpc_code"], registry=registry
        )
        self._durations = Histogram(
            "grpc_server_handling_seconds", "Time to answer.", labels, buckets=BUCKETS, registry=registry
        )
        self._known: dict[tuple[Labels, str], tuple[Any, Any]] = {}

    def began(self, labels: Labels) -> None:
        """Count a call that begins."""
        self._started.labels(*labels).inc()

    def ended(self, labels: Labels, code: str, seconds: float) -> None:
        """Count a call that was answered, or wasn't."""
        children = self._known.get((labels, code))
        if children is None:
            children = (self._handled.labels(*labels, code), self._durations.labels(*labels))
            self._known[labels, code] = children
        children[0].inc()
        children[1].observe(seconds)
