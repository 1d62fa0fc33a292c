"""The ASGI application: routes, and the answers to them."""

import itertools
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from importlib import metadata
from typing import Any, NamedTuple

from wine_assets.serving.auth import Bearer
from wine_assets.serving.data_plane import EXTENSIONS, SERVER_NAME, DataPlane
from wine_assets.serving.errors import (
    DisconnectedError,
    InvalidRequestError,
    NotFoundError,
    RefusalError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
    UnsupportedTypeError,
)
from wine_assets.serving.http import content_encoding, pages, protocol
from wine_assets.serving.http.content_encoding import Receive
from wine_assets.serving.http.protocol import BINARY, JSON
from wine_assets.serving.observability.logs import LOGGER, log
from wine_assets.serving.observability.metrics import CONTENT_TYPE as METRICS
from wine_assets.serving.observability.metrics import METHODS, OTHER, Metrics
from wine_assets.serving.observability.telemetry import Tracing

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
EXPLORING = b"x-exploring"
"""The header of a request whose rows are made up, as those of the page are: they count for no figure of the inputs."""
HTML = b"text/html; charset=utf-8"
STATUS: dict[type[RefusalError], int] = {
    InvalidRequestError: 400,
    DisconnectedError: 400,
    UnauthorizedError: 401,
    NotFoundError: 404,
    TooLargeError: 413,
    UnsupportedTypeError: 415,
    UnavailableError: 503,
}
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_JSON_BYTES = re.compile(rb"[0-9]{1,10}")
_CLOSE = (b"connection", b"close")


class Reply(NamedTuple):
    """An answer before it is sent."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Call(NamedTuple):
    """A request whose route is known."""

    headers: dict[bytes, bytes]
    receive: Receive
    model: str = ""
    version: str = ""


class Route(NamedTuple):
    """A path as documents and metrics name it, and the name of the method that answers each HTTP method."""

    template: str
    methods: dict[str, str]
    needs_token: bool = True

    @property
    def allow(self) -> bytes:
        """The value of an Allow header."""
        return ", ".join(("GET", "HEAD") if "GET" in self.methods else self.methods).encode()


def _get(template: str, handler: str, *, needs_token: bool = True) -> Route:
    return Route(template, {"GET": handler, "HEAD": handler}, needs_token)


_MODEL, _VERSION = "/v2/models/{model_name}", "/v2/models/{model_name}/versions/{model_version}"
FIXED = {
    route.template: route
    for route in (
        _get("/", "index"),
        _get("/docs", "docs"),
        _get("/openapi.json", "openapi"),
        _get("/metrics", "metrics"),
        _get("/v2", "server"),
        _get("/v2/health/live", "live", needs_token=False),
        _get("/v2/health/ready", "ready", needs_token=False),
        Route("/predict", {"POST": "predict"}),
    )
}
OF_A_MODEL = {
    (): _get(_MODEL, "model"),
    ("ready",): _get(f"{_MODEL}/ready", "model_ready"),
    ("infer",): Route(f"{_MODEL}/infer", {"POST": "infer"}),
}
OF_A_VERSION = {
    (): _get(_VERSION, "model"),
    ("ready",): _get(f"{_VERSION}/ready", "model_ready"),
    ("infer",): Route(f"{_VERSION}/infer", {"POST": "infer"}),
}
_NO_ROUTE = Route(OTHER, {})


class Options(NamedTuple):
    """What the application looks at beside the model."""

    body_limit: int
    """Bytes that a body may have once it is decompressed."""
    bearer: Bearer | None = None
    tracing: Tracing | None = None
    access_log: bool = False


class App:
    """Answers requests from the data plane; no route changes anything."""

    def __init__(
        self,
        plane: DataPlane,
        metrics: Metrics,
        options: Options,
    ) -> None:
        self._plane, self._metrics = plane, metrics
        self._bearer, self._body_limit = options.bearer, options.body_limit
        self._tracing, self._access_log = options.tracing, options.access_log
        self._server = protocol.encode(protocol.ServerMetadata(SERVER_NAME, metadata.version(SERVER_NAME), EXTENSIONS))
        self._ids, self._id_prefix = itertools.count(1), secrets.token_hex(6)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        began, method = time.perf_counter(), scope["method"]
        headers = dict(scope["headers"])
        route, model, version = _route(scope["path"])
        request_id = self._request_id(headers.get(b"x-request-id"))
        self._metrics.began(method)
        reply = _GONE
        try:
            reply = await self._reply(method, route, Call(headers, receive, model, version), request_id)
            await send(
                {"type": "http.response.start", "status": reply.status, "headers": self._headers(reply, request_id)}
            )
            await send({"type": "http.response.body", "body": reply.body})
        finally:
            seconds = time.perf_counter() - began
            self._metrics.ended(method, route.template, reply.status, seconds)
            if self._access_log:
                self._log(request_id, route, reply, seconds)

    async def _reply(self, method: str, route: Route, call: Call, request_id: bytes) -> Reply:
        try:
            if self._tracing is None or "POST" not in route.methods:
                reply = await self._handler(method, route, call)(call)
            else:
                reply = await self._traced(self._tracing, method if method in METHODS else OTHER, route, call)
        except UnauthorizedError as error:
            return _locked(route, call) or _refusal(error)
        except RefusalError as error:
            return _refusal(error)
        except Exception:
            fields = {"request_id": request_id.decode(), "route": route.template}
            logging.getLogger(LOGGER).exception("A request failed.", extra={"fields": fields})
            return _refusal(UnavailableError("The server couldn't answer this request. Its log says why."))
        accepted = call.headers.get(b"accept-encoding")
        return reply if accepted is None else _packed(reply, accepted)

    def _handler(self, method: str, route: Route, call: Call) -> Callable[[Call], Awaitable[Reply]]:
        if self._bearer is not None and route.needs_token:
            self._bearer.check(call.headers.get(b"authorization"))
        name = route.methods.get(method)
        if name is not None:
            handler: Callable[[Call], Awaitable[Reply]] = getattr(self, name)
            return handler
        return _not_found if route is _NO_ROUTE else _not_allowed(route)

    async def _traced(self, tracing: Tracing, method: str, route: Route, call: Call) -> Reply:
        with tracing.span(f"{method} {route.template}", call.headers) as span:
            try:
                reply = await self._handler(method, route, call)(call)
            except RefusalError as error:
                reply = _refusal(error)
            span.set_attribute("http.route", route.template)
            span.set_attribute("http.response.status_code", reply.status)
            return reply

    # --- the protocol's routes -----------------------------------------------

    async def live(self, _: Call) -> Reply:
        """Say that the process answers, whatever else is the matter."""
        return _LIVE

    async def ready(self, _: Call) -> Reply:
        """Say whether requests should be sent here."""
        return _READY if self._plane.ready else _NOT_READY

    async def server(self, _: Call) -> Reply:
        """Say what the server is."""
        return Reply(self._server)

    async def model(self, call: Call) -> Reply:
        """Say what the model takes and returns."""
        return Reply(protocol.encode(self._plane.metadata(call.model, call.version)))

    async def model_ready(self, call: Call) -> Reply:
        """Say whether the model can be asked."""
        served = self._plane.find(call.model, call.version)
        is_ready = self._plane.ready
        return Reply(protocol.encode(protocol.ModelReady(served.name, is_ready)), 200 if is_ready else 503)

    async def infer(self, call: Call) -> Reply:
        """Answer an inference request, in JSON or with binary tensors."""
        body = await self._body(call, (JSON, BINARY))
        asked = protocol.decode_infer(body, _json_bytes(call.headers.get(b"inference-header-content-length")))
        answer = await self._plane.infer(call.model, call.version, asked.request)
        content, json_bytes = protocol.encode_answer(answer, asked.binary)
        if json_bytes is None:
            return Reply(content)
        return Reply(content, 200, BINARY, ((b"inference-header-content-length", b"%d" % json_bytes),))

    # --- the other ones ------------------------------------------------------

    async def predict(self, call: Call) -> Reply:
        """Answer one row, or a list of rows, of values by name."""
        rows = protocol.decode_rows(await self._body(call, (JSON,)))
        answer = self._plane.explore if EXPLORING in call.headers else self._plane.predict
        if isinstance(rows, list):
            return Reply(protocol.encode(protocol.encode_predictions(await answer(rows))))
        return Reply(protocol.encode(protocol.encode_predictions(await answer([rows]))[0]))

    async def metrics(self, _: Call) -> Reply:
        """Show the figures to Prometheus."""
        return Reply(self._metrics.exposed(), content_type=METRICS)

    async def index(self, _: Call) -> Reply:
        """Show the page for people."""
        return Reply(pages.index(self._plane), content_type=HTML, headers=pages.HEADERS)

    async def docs(self, _: Call) -> Reply:
        """Show the routes to people."""
        return Reply(pages.docs(), content_type=HTML, headers=pages.HEADERS)

    async def openapi(self, _: Call) -> Reply:
        """Describe the routes, with the features and classes of the model that is served."""
        return Reply(pages.openapi(self._plane, () if self._bearer is None else ("bearer",)))

    # --- what they share -----------------------------------------------------

    async def _body(self, call: Call, accepted: tuple[bytes, ...]) -> bytes:
        """Read the body first, so that whatever is refused can be answered on a connection in order."""
        body = await content_encoding.read(call.receive)
        given = call.headers.get(b"content-type")
        if given is not None and given not in accepted and _media_type(given) not in accepted:
            raise UnsupportedTypeError(f"Content-Type must be {b' or '.join(accepted).decode()}, or left out.")
        encoding = call.headers.get(b"content-encoding")
        return body if encoding is None else content_encoding.unpacked(body, encoding, self._body_limit)

    def _request_id(self, given: bytes | None) -> bytes:
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given
        return f"{self._id_prefix}-{next(self._ids)}".encode()

    def _headers(self, reply: Reply, request_id: bytes) -> Headers:
        headers = [
            (b"content-type", reply.content_type),
            (b"content-length", b"%d" % len(reply.body)),
            (b"x-request-id", request_id),
            *reply.headers,
        ]
        if self._plane.draining:
            headers.append(_CLOSE)
        return headers

    @staticmethod
    def _log(request_id: bytes, route: Route, reply: Reply, seconds: float) -> None:
        log(
            logging.INFO,
            "request",
            request_id=request_id.decode(),
            route=route.template,
            status=reply.status,
            milliseconds=round(seconds * 1000, 3),
        )


def _route(path: str) -> tuple[Route, str, str]:
    """Return the route of a path, and the model and version that it names."""
    if path.endswith("/") and path != "/":
        path = path[:-1]
    fixed = FIXED.get(path)
    if fixed is not None:
        return fixed, "", ""
    match path.split("/"):
        case ["", "v2", "models", model, "versions", version, *rest] if model and version:
            return OF_A_VERSION.get(tuple(rest), _NO_ROUTE), model, version
        case ["", "v2", "models", model, *rest] if model:
            return OF_A_MODEL.get(tuple(rest), _NO_ROUTE), model, ""
    return _NO_ROUTE, "", ""


def _locked(route: Route, call: Call) -> Reply | None:
    """Return the page for a person who has yet to give the token, None for other routes and for programs."""
    page = pages.locked().get(route.template)
    if page is None or b"text/html" not in call.headers.get(b"accept", b""):
        return None
    return Reply(page, 401, HTML, (*_EXTRA[401], *pages.HEADERS))


def _refusal(error: RefusalError) -> Reply:
    status = STATUS[type(error)]
    return Reply(protocol.encode(protocol.ErrorAnswer(str(error))), status, JSON, _EXTRA.get(status, ()))


_EXTRA = {401: ((b"www-authenticate", b"Bearer"),), 503: ((b"retry-after", b"1"),)}
_LIVE = Reply(protocol.encode(protocol.Live(live=True)))
_READY = Reply(protocol.encode(protocol.Ready(ready=True)))
_NOT_READY = Reply(protocol.encode(protocol.Ready(ready=False)), 503, JSON, _EXTRA[503])
_GONE = Reply(b"", 400)


async def _not_found(_: Call) -> Reply:
    raise NotFoundError("There is no such route. /openapi.json lists those that there are.")


def _not_allowed(route: Route) -> Callable[[Call], Awaitable[Reply]]:
    async def answer(_: Call) -> Reply:
        error = protocol.ErrorAnswer(f"This route takes {route.allow.decode()} only.")
        return Reply(protocol.encode(error), 405, JSON, ((b"allow", route.allow),))

    return answer


def _media_type(header: bytes) -> bytes:
    return header.partition(b";")[0].strip().lower()


def _json_bytes(header: bytes | None) -> int | None:
    if header is None:
        return None
    if not _JSON_BYTES.fullmatch(header):
        raise InvalidRequestError("Inference-Header-Content-Length must be the number of bytes of the JSON.")
    return int(header)


def _packed(reply: Reply, accepted: bytes) -> Reply:
    body, encoding = content_encoding.packed(reply.body, accepted)
    if not encoding:
        return reply
    return reply._replace(body=body, headers=(*reply.headers, (b"content-encoding", encoding)))
