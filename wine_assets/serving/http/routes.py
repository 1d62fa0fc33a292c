"""The list of HTTP routes, each with its handler and its description in OpenAPI."""

import re
from importlib import metadata

from wine_assets.serving.data_plane import EXTENSIONS, SERVER_NAME, DataPlane, ModelMetadata
from wine_assets.serving.errors import InvalidRequestError, UnsupportedTypeError
from wine_assets.serving.http import content_encoding, openapi, pages, protocol
from wine_assets.serving.http.protocol import BINARY, JSON
from wine_assets.serving.http.routing import Call, Reply, Route
from wine_assets.serving.observability.metrics import CONTENT_TYPE, Metrics

UNOBSERVED_HEADER = b"x-exploring"
"""The header of requests with invented rows, as the page sends them: they do not count in metrics and drift."""
HTML = b"text/html; charset=utf-8"
RETRY_AFTER = ((b"retry-after", b"1"),)
_JSON_BYTES = re.compile(rb"[0-9]{1,10}")


class Handlers:
    """The handlers of all routes; none of them changes anything."""

    def __init__(self, data_plane: DataPlane, metrics: Metrics, *, body_limit: int, needs_token: bool) -> None:
        self._data_plane, self._metrics, self._body_limit = data_plane, metrics, body_limit
        self._security = ("bearer",) if needs_token else ()
        version = metadata.version(SERVER_NAME)
        self._server = Reply(protocol.encode(protocol.ServerMetadata(SERVER_NAME, version, EXTENSIONS)))

    async def live(self, _: Call) -> Reply:
        """Tell that the process runs, whether or not it is ready."""
        return _LIVE

    async def ready(self, _: Call) -> Reply:
        """Tell whether clients should send requests."""
        return _READY if self._data_plane.ready else _NOT_READY

    async def server(self, _: Call) -> Reply:
        """Return the server's name, version and extensions."""
        return self._server

    async def metrics(self, _: Call) -> Reply:
        """Return the metrics for Prometheus."""
        return Reply(self._metrics.exposition(), content_type=CONTENT_TYPE)

    async def index(self, _: Call) -> Reply:
        """Return the page with the form for predictions."""
        return Reply(pages.index(self._data_plane.model), content_type=HTML, headers=pages.HEADERS)

    async def docs(self, _: Call) -> Reply:
        """Return the page with the documentation of the routes."""
        return Reply(pages.docs(), content_type=HTML, headers=pages.HEADERS)

    async def openapi(self, _: Call) -> Reply:
        """Return the OpenAPI description, with the features and classes of the loaded model."""
        return Reply(openapi.document(ROUTES, self._data_plane.model, self._security))

    async def predict(self, call: Call) -> Reply:
        """Predict one row, or a list of rows, of values by feature name."""
        rows = protocol.decode_rows(await self._read_body(call, (JSON,)))
        is_unobserved = UNOBSERVED_HEADER in call.headers
        predict = self._data_plane.predict_unobserved if is_unobserved else self._data_plane.predict
        if isinstance(rows, list):
            return Reply(protocol.encode(protocol.predictions_of(await predict(rows))))
        return Reply(protocol.encode(protocol.predictions_of(await predict([rows]))[0]))

    async def model(self, call: Call) -> Reply:
        """Return the model's inputs and outputs."""
        return Reply(protocol.encode(self._data_plane.metadata(call.model, call.version)))

    async def model_ready(self, call: Call) -> Reply:
        """Tell whether the model is ready."""
        model = self._data_plane.find(call.model, call.version)
        is_ready = self._data_plane.ready
        return Reply(protocol.encode(protocol.ModelReady(model.name, is_ready)), 200 if is_ready else 503)

    async def infer(self, call: Call) -> Reply:
        """Answer an inference request, in JSON or with binary tensors."""
        body = await self._read_body(call, (JSON, BINARY))
        json_bytes = _parse_json_bytes(call.headers.get(b"inference-header-content-length"))
        decoded = protocol.decode_request(body, json_bytes)
        result = await self._data_plane.infer(call.model, call.version, decoded.request)
        content, json_bytes = protocol.encode_result(result, decoded.binary_outputs)
        if json_bytes is None:
            return Reply(content)
        return Reply(content, 200, BINARY, ((b"inference-header-content-length", b"%d" % json_bytes),))

    async def _read_body(self, call: Call, media_types: tuple[bytes, ...]) -> bytes:
        """Return the body, decompressed; it is read before any error, so that the connection can be reused."""
        body = await content_encoding.read(call.receive)
        content_type = call.headers.get(b"content-type")
        if content_type is not None and content_type.partition(b";")[0].strip().lower() not in media_types:
            raise UnsupportedTypeError(f"Content-Type must be {b' or '.join(media_types).decode()}, or left out.")
        encoding = call.headers.get(b"content-encoding")
        return body if encoding is None else content_encoding.decompress(body, encoding, self._body_limit)


_MODEL = "/v2/models/{model_name}"
_VERSION = "/v2/models/{model_name}/versions/{model_version}"
_Predictions = protocol.Prediction | list[protocol.Prediction]
ROUTES: tuple[Route, ...] = (
    Route("GET", "/v2/health/live", Handlers.live, "Whether the process answers", protocol.Live, needs_token=False),
    Route(
        "GET",
        "/v2/health/ready",
        Handlers.ready,
        "Whether requests should be sent here",
        protocol.Ready,
        has_unready_response=True,
        needs_token=False,
    ),
    Route("GET", "/v2", Handlers.server, "What the server is", protocol.ServerMetadata),
    Route("GET", "/metrics", Handlers.metrics, "Figures for Prometheus", str, "text/plain"),
    Route("GET", "/", Handlers.index, "A page for people", str, "text/html"),
    Route("GET", "/docs", Handlers.docs, "The routes, for people", str, "text/html"),
    Route("GET", "/openapi.json", Handlers.openapi, "This description", dict),
    Route("POST", "/predict", Handlers.predict, "Answer rows of values by name", _Predictions, request="Rows"),
    *(
        route
        for path in (_MODEL, _VERSION)
        for route in (
            Route("GET", path, Handlers.model, "What the model takes and returns", ModelMetadata),
            Route(
                "GET",
                f"{path}/ready",
                Handlers.model_ready,
                "Whether the model can be asked",
                protocol.ModelReady,
                has_unready_response=True,
            ),
            Route(
                "POST",
                f"{path}/infer",
                Handlers.infer,
                "Answer an inference request",
                protocol.InferenceResponse,
                request="InferenceRequest",
                is_binary=True,
            ),
        )
    ),
)
"""All routes, in the order of their documentation."""

_LIVE = Reply(protocol.encode(protocol.Live(live=True)))
_READY = Reply(protocol.encode(protocol.Ready(ready=True)))
_NOT_READY = Reply(protocol.encode(protocol.Ready(ready=False)), 503, JSON, RETRY_AFTER)


def _parse_json_bytes(header: bytes | None) -> int | None:
    if header is None:
        return None
    if not _JSON_BYTES.fullmatch(header):
        raise InvalidRequestError("Inference-Header-Content-Length must be the number of bytes of the JSON.")
    return int(header)
