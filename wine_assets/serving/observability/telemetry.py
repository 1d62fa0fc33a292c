"""OpenTelemetry traces of inference requests, if an environment variable names an OTLP endpoint."""

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from wine_assets.errors import MissingExtraError
from wine_assets.serving.settings import telemetry_endpoint

SERVICE = "wine-assets"


class Tracing(Protocol):
    """Creates the span of a request, and exports spans."""

    def span(self, name: str, headers: Mapping[bytes, bytes]) -> AbstractContextManager[Any]:
        """Return a context manager; the span continues the trace that the headers name."""
        ...

    def stop(self) -> None:
        """Export the remaining spans."""
        ...


def start_tracing() -> Tracing | None:
    """Return the tracing, None if no endpoint is set; raise MissingExtraError without OpenTelemetry."""
    return _OpenTelemetry() if telemetry_endpoint() else None


class _OpenTelemetry:
    def __init__(self) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace import SpanKind
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise MissingExtraError("telemetry", "Tracing to an OTLP endpoint") from error
        self._provider = TracerProvider(resource=Resource.create({"service.name": SERVICE}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(SERVICE)
        self._propagator, self._kind = TraceContextTextMapPropagator(), SpanKind.SERVER

    @contextlib.contextmanager
    def span(self, name: str, headers: Mapping[bytes, bytes]) -> Any:
        carrier = {key: headers[key.encode()].decode("latin-1") for key in _TRACE_HEADERS if key.encode() in headers}
        context = self._propagator.extract(carrier)
        with self._tracer.start_as_current_span(name, context=context, kind=self._kind) as span:
            yield span

    def stop(self) -> None:
        self._provider.shutdown()


_TRACE_HEADERS = ("traceparent", "tracestate")
