"""Prometheus metrics of gRPC calls, under MLServer's names."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from wine_assets.serving.observability.buffered_metrics import BUCKETS
from wine_assets.serving.observability.metrics import OTHER

Labels = tuple[str, str, str]
"""The type, service and method of a call."""
UNARY, STREAM = "UNARY", "SERVER_STREAMING"
OTHERS: Labels = (OTHER, OTHER, OTHER)
"""The labels of unknown methods."""


class GrpcMetrics:
    """Counts and durations of calls; no label comes from a client.

    Messages larger than `--body-limit-bytes` and metadata that are too large count as CANCELLED: grpcio rejects them
    and reports them like calls whose client disconnected. Connections beyond the limit are not counted, nor are calls
    that grpcio cancels while a thousand others wait.
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
        self._children: dict[tuple[Labels, str], tuple[Any, Any]] = {}

    def count_start(self, labels: Labels) -> None:
        """Count a call that starts."""
        self._started.labels(*labels).inc()

    def count_end(self, labels: Labels, code: str, seconds: float) -> None:
        """Count a call that ended."""
        children = self._children.get((labels, code))
        if children is None:
            children = (self._handled.labels(*labels, code), self._durations.labels(*labels))
            self._children[labels, code] = children
        children[0].inc()
        children[1].observe(seconds)
