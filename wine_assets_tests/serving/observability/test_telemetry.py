"""Traces of requests, as a collector gets them."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wine_assets.errors import MissingExtraError
from wine_assets.inference import ModelRepository
from wine_assets.serving.observability import telemetry
from wine_assets_tests.support.serving.clients import run_client, serve_http_and_grpc
from wine_assets_tests.support.serving.models import promote, request, rows
from wine_assets_tests.support.serving.server_process import run_server

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLS = 5
"""Those of `grpc_client.traced`."""


class Collector(http.server.ThreadingHTTPServer):
    """Takes what exporters send."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[bytes] = []


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        import gzip

        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Collector)
        self.server.received.append(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that the library gives it
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as started:
        thread = threading.Thread(target=started.serve_forever)
        thread.start()
        yield started
        started.shutdown()
        thread.join()


def spans(collector: Collector) -> list[Any]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    found = []
    for body in collector.received:
        asked = ExportTraceServiceRequest.FromString(body)
        found += [span for group in asked.resource_spans for scope in group.scope_spans for span in scope.spans]
    return found


def test_requests_become_spans_of_the_trace_that_they_belong_to(
    repository: ModelRepository, log: Path, collector: Collector
) -> None:
    promote(repository, 1)
    endpoint = f"http://127.0.0.1:{collector.server_port}"
    with run_server(repository.folder, log, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as server:
        server.wait_for_version(1)
        body = request(rows()[:1])
        assert server.post("/v2/models/wine/infer", body, traceparent=f"00-{TRACE}-{PARENT}-01").status == 200
        assert server.post("/v2/models/secret/infer", body).status == 404
        assert server.post("/predict", b"{").status == 400
        assert server.stop() == 0
    by_status = {_attributes(span)["http.response.status_code"].int_value: span for span in spans(collector)}
    assert by_status.keys() == {200, 404, 400}
    good = by_status[200]
    assert good.name == "POST /v2/models/{model_name}/infer"
    assert (good.trace_id.hex(), good.parent_span_id.hex()) == (TRACE, PARENT)
    assert good.end_time_unix_nano > good.start_time_unix_nano
    assert by_status[404].trace_id.hex() != TRACE
    assert not any(b"secret" in body for body in collector.received)


def test_calls_over_grpc_become_spans_as_requests_do(tmp_path: Path, collector: Collector) -> None:
    endpoint = f"http://127.0.0.1:{collector.server_port}"
    with serve_http_and_grpc(tmp_path, 1, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as (server, address):
        given = {"row": rows()[0].tolist(), "traceparent": f"00-{TRACE}-{PARENT}-01"}
        answers = run_client("grpc_client", "traced", address, data=given)
        assert [answer.partition(":")[0] for answer in answers] == ["OK", "NOT_FOUND", "INVALID_ARGUMENT"]
        server.wait_for(lambda: server.metric("grpc_server_handled_total") == CALLS)
        assert server.stop() == 0
    by_code = {_attributes(span)["rpc.grpc.status_code"].int_value: span for span in spans(collector)}
    cancelled, invalid, not_found = 1, 3, 5
    assert by_code.keys() == {0, cancelled, invalid, not_found}
    for span in by_code.values():
        assert span.name == "inference.GRPCInferenceService/ModelInfer"
        said = {key: value.string_value for key, value in _attributes(span).items() if key != "rpc.grpc.status_code"}
        assert said == {
            "rpc.system": "grpc",
            "rpc.service": "inference.GRPCInferenceService",
            "rpc.method": "ModelInfer",
        }
    assert (by_code[0].trace_id.hex(), by_code[0].parent_span_id.hex()) == (TRACE, PARENT)
    assert by_code[not_found].trace_id.hex() != TRACE
    assert not any(b"secret" in body for body in collector.received)


def _attributes(span: Any) -> dict[str, Any]:
    return {attribute.key: attribute.value for attribute in span.attributes}


def test_a_collector_that_is_not_there_keeps_nobody_waiting(repository: ModelRepository, log: Path) -> None:
    promote(repository, 1)
    unreachable = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    with run_server(repository.folder, log, **unreachable) as server:
        server.wait_for_version(1)
        assert server.post("/v2/models/wine/infer", request(rows()[:1])).status == 200
        assert server.stop() == 0


def test_without_an_endpoint_nothing_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert telemetry.start_tracing() is None


def test_an_endpoint_without_the_extra_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(MissingExtraError, match=r"telemetry"):
        telemetry.start_tracing()
