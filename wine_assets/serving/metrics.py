"""What Prometheus reads: counters under MLServer's names, and the model, its reloads and the drift of its inputs."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector

from wine_assets.inference.features import Rows
from wine_assets.serving.drift_watch import DriftWatch
from wine_assets.serving.plane import Served
from wine_assets.serving.settings import shares_figures

disable_created_metrics()  # type: ignore[no-untyped-call]
CONTENT_TYPE = CONTENT_TYPE_LATEST.encode()
APP = "wine-assets"
OTHER = "other"
METHODS = frozenset({"GET", "HEAD", "POST"})
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The figures of this process, or of all workers where they share a folder; no label comes from a client."""

    def __init__(self, drift: DriftWatch) -> None:
        self.registry = registry = CollectorRegistry()
        self._drift = drift
        self._shared = shares_figures()
        self._model: tuple[str, str] | None = None
        labels = ["method", "path", "status_code", "app_name"]
        self._success = Counter(
            "model_infer_request_success", "Requests answered by the model.", ["model", "version"], registry=registry
        )
        self._failure = Counter(
            "model_infer_request_failure", "Requests not answered.", ["model", "version"], registry=registry
        )
        self._requests = Counter("rest_server_requests", "HTTP requests.", labels, registry=registry)
        self._durations = Histogram(
            "rest_server_requests_duration_seconds", "Time to answer.", labels, buckets=_BUCKETS, registry=registry
        )
        self._in_progress = Gauge(
            "rest_server_requests_in_progress",
            "HTTP requests that run.",
            ["method", "app_name"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._of_the_model()
        self._succeeded: dict[Served, Any] = {}
        self._finished: dict[tuple[str, str, int], tuple[Any, Any]] = {}
        self._running = {method: self._in_progress.labels(method, APP) for method in (*METHODS, OTHER)}

    def _of_the_model(self) -> None:
        registry = self.registry
        self._info = Gauge(
            "wine_model_info",
            "The model that is served: 1.",
            ["version", "sha256"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._loaded = Counter("wine_model_reload_success", "Models that were loaded.", registry=registry)
        self._refused = Counter("wine_model_reload_failure", "Models that couldn't be.", registry=registry)
        self._last = Gauge(
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

    def answered(self, served: Served, rows: Rows) -> None:
        """Count a request that the model answered, and remember its rows."""
        counter = self._succeeded.get(served)
        if counter is None:
            self._succeeded = {served: self._success.labels(served.name, served.version)}
            counter = self._succeeded[served]
        counter.inc()
        self._drift.add(served, rows)

    def failed(self, served: Served | None) -> None:
        """Count a request that wasn't answered."""
        name, version = (OTHER, OTHER) if served is None else (served.name, served.version)
        self._failure.labels(name, version).inc()

    def began(self, method: str) -> None:
        """Count a request that runs."""
        self._running.get(method, self._running[OTHER]).inc()

    def ended(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request that was answered; `path` is the route's, never the client's."""
        self._running.get(method, self._running[OTHER]).dec()
        key = (method, path, status)
        children = self._finished.get(key)
        if children is None:
            children = self._children(method, path, status)
        children[0].inc()
        children[1].observe(seconds)

    def refused(self, status: int) -> None:
        """Count a request that was refused before it reached a route."""
        self._children(OTHER, OTHER, status)[0].inc()

    def loaded(self, served: Served, at: float) -> None:
        """Count a model that was loaded and is served from now on."""
        self._loaded.inc()
        self._last.set(at)
        if self._model is not None:
            self._forget(self._info, self._model)
        self._model = (served.version, served.sha256)
        self._info.labels(*self._model).set(1)
        if not self._shared:
            self._psi.clear()

    def not_loaded(self) -> None:
        """Count a model that couldn't be loaded, or a repository that couldn't be read."""
        self._refused.inc()

    def update_drift(self) -> None:
        """Count the rows of late; called now and then, from any thread."""
        for feature, psi in self._drift.update().items():
            self._psi.labels(feature).set(psi)

    def exposed(self) -> bytes:
        """Return all figures as Prometheus reads them."""
        registry = self.registry
        if self._shared:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def _children(self, method: str, path: str, status: int) -> tuple[Any, Any]:
        known = method if method in METHODS else OTHER
        labels = (known, path, str(status), APP)
        children = (self._requests.labels(*labels), self._durations.labels(*labels))
        if known == method:
            self._finished[method, path, status] = children
        return children

    def _forget(self, gauge: Gauge, labels: tuple[str, ...]) -> None:
        if self._shared:
            gauge.labels(*labels).set(0)  # files of several processes forget nothing
        else:
            gauge.remove(*labels)
