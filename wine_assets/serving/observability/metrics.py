"""What Prometheus reads: counters under MLServer's names, and the model, its reloads and the drift of its inputs."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector

from wine_assets.inference.features import Rows
from wine_assets.serving.data_plane import Served
from wine_assets.serving.observability.buffered_metrics import BUCKETS, Tally
from wine_assets.serving.observability.drift_watch import DriftWatch
from wine_assets.serving.settings import shares_figures

disable_created_metrics()  # type: ignore[no-untyped-call]
CONTENT_TYPE = CONTENT_TYPE_LATEST.encode()
APP = "wine-assets"
OTHER = "other"
METHODS = frozenset({"GET", "HEAD", "POST"})


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
            "rest_server_requests_duration_seconds", "Time to answer.", labels, buckets=BUCKETS, registry=registry
        )
        self._in_progress = Gauge(
            "rest_server_requests_in_progress",
            "HTTP requests that run.",
            ["method", "app_name"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._of_the_model()
        self._answered_by: Served | None = None
        self._answers = 0
        self._finished: dict[tuple[str, str, int], Tally] = {}
        self._running = dict.fromkeys((*METHODS, OTHER), 0)

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
        if served is not self._answered_by:
            self._publish_answers()
            self._answered_by = served
        self._answers += 1
        self._drift.add(served, rows)

    def failed(self, served: Served | None) -> None:
        """Count a request that wasn't answered."""
        name, version = (OTHER, OTHER) if served is None else (served.name, served.version)
        self._failure.labels(name, version).inc()

    def began(self, method: str) -> None:
        """Count a request that runs."""
        self._running[method if method in METHODS else OTHER] += 1

    def ended(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request that was answered; `path` is the route's, never the client's."""
        method = method if method in METHODS else OTHER
        self._running[method] -= 1
        tally = self._finished.get((method, path, status))
        if tally is None:
            tally = self._finished[method, path, status] = self._tally(method, path, status)
        tally.add(seconds)

    def refused(self, status: int) -> None:
        """Count a request that was refused before it reached a route."""
        self._requests.labels(OTHER, OTHER, str(status), APP).inc()

    def loaded(self, served: Served, at: float) -> None:
        """Count a model that was loaded and is served from now on."""
        self._loaded.inc()
        self._last.set(at)
        if self._model is not None:
            self._forget(self._info, self._model)
        self._model = (served.version, served.sha256)
        self._info.labels(*self._model).set(1)
        self._drift.forget()
        if not self._shared:
            self._psi.clear()

    def not_loaded(self) -> None:
        """Count a model that couldn't be loaded, or a repository that couldn't be read."""
        self._refused.inc()

    def update_drift(self) -> None:
        """Count the rows of late; called now and then, from any thread."""
        for feature, psi in self._drift.update().items():
            self._psi.labels(feature).set(psi)

    def publish(self) -> None:
        """Add what was counted to what Prometheus reads; called in the loop's thread, now and then."""
        self._publish_answers()
        for method, number in self._running.items():
            self._in_progress.labels(method, APP).set(number)
        for tally in self._finished.values():
            tally.publish()

    def exposed(self) -> bytes:
        """Return all figures as Prometheus reads them; those of other workers are up to 0.1 s old."""
        self.publish()
        registry = self.registry
        if self._shared:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def _publish_answers(self) -> None:
        if self._answered_by is not None and self._answers:
            self._success.labels(self._answered_by.name, self._answered_by.version).inc(self._answers)
            self._answers = 0

    def _tally(self, method: str, path: str, status: int) -> Tally:
        labels = (method, path, str(status), APP)
        return Tally(self._requests.labels(*labels), self._durations.labels(*labels))

    def _forget(self, gauge: Gauge, labels: tuple[str, ...]) -> None:
        if self._shared:
            gauge.labels(*labels).set(0)  # files of several processes forget nothing
        else:
            gauge.remove(*labels)
