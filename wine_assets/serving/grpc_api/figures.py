"""What Prometheus reads of calls over gRPC, under the names that MLServer's have."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_UNARY = "UNARY"


class Figures:
    """How calls ended; no label comes from a client."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ["grpc_type", "grpc_service", "grpc_method"]
        self._started = Counter("grpc_server_started", "Calls that began.", labels, registry=registry)
        self._handled = Counter(
            "grpc_server_handled", "Calls that ended, by how.", [*labels, "grpc_code"], registry=registry
        )
        self._durations = Histogram(
            "grpc_server_handling_seconds", "Time to answer.", labels, buckets=_BUCKETS, registry=registry
        )
        self._known: dict[tuple[str, str], tuple[Any, Any]] = {}

    def began(self, path: str) -> None:
        """Count a call that begins; `path` is that of a method that there is."""
        self._started.labels(*_names(path)).inc()

    def ended(self, path: str, code: str, seconds: float) -> None:
        """Count a call that was answered, or wasn't."""
        children = self._known.get((path, code))
        if children is None:
            names = _names(path)
            children = (self._handled.labels(*names, code), self._durations.labels(*names))
            self._known[path, code] = children
        children[0].inc()
        children[1].observe(seconds)


def _names(path: str) -> tuple[str, str, str]:
    _, service, method = path.split("/")
    return _UNARY, service, method
