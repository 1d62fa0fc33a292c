"""The ASGI application: it finds the route of a request, and adds errors, metrics, traces and logs to its handler."""

import itertools
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

from wine_assets.serving.auth import BearerToken
from wine_assets.serving.data_plane import DataPlane
from wine_assets.serving.errors import (
    DisconnectedError,
    InvalidRequestError,
    NotFoundError,
    RequestError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
    UnsupportedTypeError,
)
from wine_assets.serving.http import content_encoding, pages, protocol
from wine_assets.serving.http.content_encoding import Receive
from wine_assets.serving.http.protocol import JSON
from wine_assets.serving.http.routes import HTML, RETRY_AFTER, ROUTES, Handlers
from wine_assets.serving.http.routing import Call, Reply, Route, Router
from wine_assets.serving.observability.logs import LOGGER, log
from wine_assets.serving.observability.metrics import METHODS, OTHER, Metrics
from wine_assets.serving.observability.telemetry import Tracing

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
STATUS: dict[type[RequestError], int] = {
    InvalidRequestError: 400,
    DisconnectedError: 400,
    UnauthorizedError: 401,
    NotFoundError: 404,
    TooLargeError: 413,
    UnsupportedTypeError: 415,
    UnavailableError: 503,
}
_AUTHENTICATE = ((b"www-authenticate", b"Bearer"),)
_ERROR_HEADERS = {401: _AUTHENTICATE, 503: RETRY_AFTER}
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_CLOSE = (b"connection", b"close")
_NO_REPLY = Reply(b"", 400)


class Options(NamedTuple):
    """The settings of the application."""

    body_limit: int
    """Maximum bytes of a decompressed body."""
    token: BearerToken | None = None
    tracing: Tracing | None = None
    access_log: bool = False


class App:
    """Answers HTTP requests from the data plane."""

    def __init__(self, data_plane: DataPlane, metrics: Metrics, options: Options) -> None:
        self._data_plane, self._metrics = data_plane, metrics
        self._token, self._tracing, self._access_log = options.token, options.tracing, options.access_log
        self._handlers = Handlers(
            data_plane, metrics, body_limit=options.body_limit, needs_token=options.token is not None
        )
        self._router = Router(ROUTES)
        self._ids, self._id_prefix = itertools.count(1), secrets.token_hex(6)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        start, method = time.perf_counter(), scope["method"]
        headers = dict(scope["headers"])
        route, model, version = self._router.match(scope["path"])
        path = OTHER if route is None else route.path
        request_id = self._request_id(headers.get(b"x-request-id"))
        self._metrics.count_start(method)
        reply = _NO_REPLY
        try:
            reply = await self._reply(method, route, Call(headers, receive, model, version), request_id)
            await send(
                {"type": "http.response.start", "status": reply.status, "headers": self._headers(reply, request_id)}
            )
            await send({"type": "http.response.body", "body": reply.body})
        finally:
            seconds = time.perf_counter() - start
            self._metrics.count_end(method, path, reply.status, seconds)
            if self._access_log:
                log(
                    logging.INFO,
                    "request",
                    request_id=request_id.decode(),
                    route=path,
                    status=reply.status,
                    milliseconds=round(seconds * 1000, 3),
                )

    async def _reply(self, method: str, route: Route | None, call: Call, request_id: bytes) -> Reply:
        try:
            if self._tracing is None or route is None or route.method != "POST":
                reply = await self._handle(method, route, call)
            else:
                reply = await self._trace(self._tracing, method, route, call)
        except RequestError as error:
            return _error_reply(error, route, call)
        except Exception:
            fields = {"request_id": request_id.decode(), "route": OTHER if route is None else route.path}
            logging.getLogger(LOGGER).exception("A request failed.", extra={"fields": fields})
            failure = UnavailableError("The server couldn't answer this request. Its log says why.")
            return _error_reply(failure, route, call)
        accepted = call.headers.get(b"accept-encoding")
        return reply if accepted is None else _compress(reply, accepted)

    async def _handle(self, method: str, route: Route | None, call: Call) -> Reply:
        if self._token is not None and (route is None or route.needs_token):
            self._token.check(call.headers.get(b"authorization"))
        if route is None:
            raise NotFoundError("There is no such route. /openapi.json lists those that there are.")
        if method not in route.methods:
            allow = ", ".join(route.methods)
            error = protocol.ErrorAnswer(f"This route takes {allow} only.")
            return Reply(protocol.encode(error), 405, JSON, ((b"allow", allow.encode()),))
        return await route.handler(self._handlers, call)

    async def _trace(self, tracing: Tracing, method: str, route: Route, call: Call) -> Reply:
        """Handle a call in a span, with OpenTelemetry's attributes for HTTP."""
        with tracing.span(f"{method if method in METHODS else OTHER} {route.path}", call.headers) as span:
            try:
                reply = await self._handle(method, route, call)
            except RequestError as error:
                reply = _error_reply(error, route, call)
            span.set_attribute("http.route", route.path)
            span.set_attribute("http.response.status_code", reply.status)
            return reply

    def _request_id(self, header: bytes | None) -> bytes:
        if header is not None and _REQUEST_ID.fullmatch(header):
            return header
        return f"{self._id_prefix}-{next(self._ids)}".encode()

    def _headers(self, reply: Reply, request_id: bytes) -> list[tuple[bytes, bytes]]:
        headers = [
            (b"content-type", reply.content_type),
            (b"content-length", b"%d" % len(reply.body)),
            (b"x-request-id", request_id),
            *reply.headers,
        ]
        if self._data_plane.draining:
            headers.append(_CLOSE)
        return headers


def _error_reply(error: RequestError, route: Route | None, call: Call) -> Reply:
    status = STATUS[type(error)]
    if status == 401 and route is not None and b"text/html" in call.headers.get(b"accept", b""):  # noqa: PLR2004 - HTTP
        page = pages.without_token(route.path)
        if page is not None:  # a browser gets the page, which asks for the token
            return Reply(page, status, HTML, (*_AUTHENTICATE, *pages.HEADERS))
    return Reply(protocol.encode(protocol.ErrorAnswer(str(error))), status, JSON, _ERROR_HEADERS.get(status, ()))


def _compress(reply: Reply, accepted: bytes) -> Reply:
    body, encoding = content_encoding.compress(reply.body, accepted)
    if not encoding:
        return reply
    return reply._replace(body=body, headers=(*reply.headers, (b"content-encoding", encoding)))
