"""Prometheus metrics of requests, under MLServer's names, and of the model, its reloads and its drift."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector

from wine_assets.inference.features import Rows
from wine_assets.serving.data_plane import LoadedModel
from wine_assets.serving.observability.buffered_metrics import BUCKETS, BufferedMetrics
from wine_assets.serving.observability.drift_watch import DriftWatch
from wine_assets.serving.settings import shares_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]
CONTENT_TYPE = CONTENT_TYPE_LATEST.encode()
APP = "wine-assets"
OTHER = "other"
METHODS = frozenset({"GET", "HEAD", "POST"})


class Metrics:
    """The metrics of this process, or of all workers if they share a folder; no label comes from a client."""

    def __init__(self, drift: DriftWatch) -> None:
        self.registry = registry = CollectorRegistry()
        self._drift = drift
        self._shared = shares_metrics()
        self._model_labels: tuple[str, str] | None = None
        labels = ["method", "path", "status_code", "app_name"]
        self._success = Counter(
            "model_infer_request_success", "Requests answered by the model.", ["model", "version"], registry=registry
        )
        self._failure = Counter(
            "model_infer_request_failure", "Requests not answered.", ["model", "version"], registry=registry
        )
        self._requests = Counter("rest_server_requests", "HTTP requests.", labels, registry=registry)
        self._durations = Histogram(
            "rest_server_requests_duration_seconds", "Time to answer.", labels, buckets=BUCKETS, registry=registry
        )
        self._in_progress = Gauge(
            "rest_server_requests_in_progress",
            "HTTP requests that run.",
            ["method", "app_name"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._create_model_metrics()
        self._success_model: LoadedModel | None = None
        self._successes = 0
        self._finished: dict[tuple[str, str, int], BufferedMetrics] = {}
        self._running = dict.fromkeys((*METHODS, OTHER), 0)

    def _create_model_metrics(self) -> None:
        registry = self.registry
        self._info = Gauge(
            "wine_model_info",
            "The model that is served: 1.",
            ["version", "sha256"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._reload_successes = Counter("wine_model_reload_success", "Models that were loaded.", registry=registry)
        self._reload_failures = Counter("wine_model_reload_failure", "Models that couldn't be.", registry=registry)
        self._last_reload = Gauge(
            "wine_model_reload_last_success_timestamp_seconds",
            "When a model was loaded last, in seconds since 1970.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._psi = Gauge(
            "wine_input_drift_psi",
            "Population stability index of a feature's late values against training.",
            ["feature"],
            registry=registry,
            multiprocess_mode="livemax",
        )

    def count_success(self, model: LoadedModel, rows: Rows) -> None:
        """Count a request that the model answered, and sample its rows for the drift."""
        if model is not self._success_model:
            self._publish_successes()
            self._success_model = model
        self._successes += 1
        self._drift.add(model, rows)

    def count_failure(self, model: LoadedModel | None) -> None:
        """Count a request that failed."""
        name, version = (OTHER, OTHER) if model is None else (model.name, model.version)
        self._failure.labels(name, version).inc()

    def count_start(self, method: str) -> None:
        """Count a request that starts."""
        self._running[method if method in METHODS else OTHER] += 1

    def count_end(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request that ended; `path` is the route's template, never the client's path."""
        method = method if method in METHODS else OTHER
        self._running[method] -= 1
        buffer = self._finished.get((method, path, status))
        if buffer is None:
            labels = (method, path, str(status), APP)
            buffer = BufferedMetrics(self._requests.labels(*labels), self._durations.labels(*labels))
            self._finished[method, path, status] = buffer
        buffer.add(seconds)

    def count_rejection(self, status: int) -> None:
        """Count a request that the connection rejected before it reached a route."""
        self._requests.labels(OTHER, OTHER, str(status), APP).inc()

    def set_model(self, model: LoadedModel, at: float) -> None:
        """Count a reload, at seconds since 1970, and show its model."""
        self._reload_successes.inc()
        self._last_reload.set(at)
        if self._model_labels is not None and self._shared:
            self._info.labels(*self._model_labels).set(0)  # labels can't be removed from the files of workers
        elif self._model_labels is not None:
            self._info.remove(*self._model_labels)
        self._model_labels = (model.version, model.sha256)
        self._info.labels(*self._model_labels).set(1)
        self._drift.reset()
        if not self._shared:
            self._psi.clear()

    def count_reload_failure(self) -> None:
        """Count a model that couldn't be loaded, or a repository that couldn't be read."""
        self._reload_failures.inc()

    def update_drift(self) -> None:
        """Compute the drift of recent rows; call it periodically, from one thread."""
        for feature, psi in self._drift.update().items():
            self._psi.labels(feature).set(psi)

    def publish(self) -> None:
        """Add the buffered counts to Prometheus' metrics; call it periodically, in the event loop's thread."""
        self._publish_successes()
        for method, number in self._running.items():
            self._in_progress.labels(method, APP).set(number)
        for buffer in self._finished.values():
            buffer.publish()

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format; those of other workers are up to 0.1 s old."""
        self.publish()
        registry = self.registry
        if self._shared:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def _publish_successes(self) -> None:
        if self._success_model is not None and self._successes:
            self._success.labels(self._success_model.name, self._success_model.version).inc(self._successes)
            self._successes = 0
