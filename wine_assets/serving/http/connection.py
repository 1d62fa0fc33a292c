"""A connection of HTTP/1.1 with limits for what a client may send, and for the time that it may take."""

import enum
import math
import urllib.parse
from collections import deque
from collections.abc import Callable, MutableMapping
from typing import Any, NamedTuple, cast

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from wine_assets.serving.http.allowed_hosts import AllowedHosts
from wine_assets.serving.http.body_memory import BodyMemory
from wine_assets.serving.http.protocol import ErrorAnswer

_NEVER = math.inf
_LINGER_S = 1.0
"""Time for which data after a rejection is read and discarded, so that the client can read the response."""
_LINGER_BYTES = 16 << 20
_HTTP_VERSIONS = ("1.0", "1.1")
_MAX_PIPELINED = 8
_HEADERS_TOO_LARGE = (431, "The headers of the request are larger than the server takes.")
_INVALID_HTTP = (400, "The request isn't well-formed HTTP/1.1.")
_ASGI = {"version": "3.0", "spec_version": "2.3"}


class Limits(NamedTuple):
    """The limits of connections, and the callback that counts rejections."""

    header_bytes: int
    body_bytes: int
    header_deadline_s: float
    body_deadline_s: float
    idle_s: float
    connections: int
    body_memory: BodyMemory
    allowed_hosts: AllowedHosts
    on_rejection: Callable[[int], None]


class _Phase(enum.Enum):
    """The event that a connection waits for until its deadline."""

    REQUEST = enum.auto()
    HEADERS = enum.auto()
    BODY = enum.auto()
    READER = enum.auto()
    END = enum.auto()


class _RejectedError(Exception):
    """Stops the parser; the response is set before."""


class _Exchange:
    """A complete request and its response: the `receive` and `send` of the ASGI application."""

    __slots__ = ("body", "body_memory", "connection", "head", "is_answered", "keep_alive", "scope")

    def __init__(
        self, connection: "LimitedConnection", scope: dict[str, Any], body: bytes, *, keep_alive: bool
    ) -> None:
        self.connection, self.scope, self.body, self.keep_alive = connection, scope, body, keep_alive
        self.head: MutableMapping[str, Any] | None = None
        self.is_answered = False
        self.body_memory = 0
        """Bytes of the body memory that it holds."""

    async def receive(self) -> dict[str, Any]:
        """Return the whole body."""
        return {"type": "http.request", "body": self.body, "more_body": False}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Write head and body together, after both have arrived."""
        if self.head is None:
            self.head = message
        elif not self.is_answered:
            self.is_answered = True
            await self.connection.answer(self, self.head, message["body"])


class LimitedConnection(HttpToolsProtocol):
    """uvicorn's connection, with limits that are checked while data arrives; llhttp rejects ambiguous framing.

    The application is called after a request has arrived completely, and its response is one write. Deadlines need no
    timers: the server compares the `deadline` of all connections periodically, and calls `expire`. After a rejection
    the connection is closed, and further data is discarded.
    """

    def __init__(self, limits: Limits, **options: Any) -> None:
        super().__init__(**options)
        self._limits = limits
        self.deadline = _NEVER
        self._phase = _Phase.REQUEST
        self._rejection = _INVALID_HTTP
        self._current: _Exchange | None = None
        self._pipelined: deque[_Exchange] = deque()
        self._is_over = self._is_last = self._is_upgrade = False
        """Whether further data is discarded; whether the arriving request is the last one of the connection; whether
        it asks for another protocol."""
        self._bytes_fed = self._chunk_size = self._content_length = self._body_size = 0
        self._body_memory = self._discarded = 0
        self._host_headers: list[bytes] = []
        self._encodings: list[bytes] = []
        self._body: list[bytes] = []

    # --- callbacks of the event loop -----------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Start the deadline, or reject a connection beyond the limit."""
        super().connection_made(transport)
        self._wait(_Phase.REQUEST, self._limits.header_deadline_s)
        if len(self.connections) > self._limits.connections:
            self._reject(503, "The server has as many connections as it takes. Try again.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Free what the connection holds; a response that is not ready is lost."""
        self._is_over = True
        self.deadline = _NEVER
        self._drop_pipelined()
        self._free_body()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, or discard the data after the last request."""
        if self._is_over:
            self._discard(data)
            return
        if self._phase is _Phase.REQUEST:
            self._wait(_Phase.HEADERS, self._limits.header_deadline_s)
            self._bytes_fed = 0
        self._chunk_size = len(data)
        self._bytes_fed += self._chunk_size
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._reject(*self._rejection)
        if self._phase is _Phase.HEADERS and self._bytes_fed > 2 * self._limits.header_bytes:
            self._reject(*_HEADERS_TOO_LARGE)

    def _feed(self, data: bytes) -> None:
        if self._is_upgrade:
            self._read_upgrade_body(data)
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._read_upgrade_body(data[upgrade.args[0] :])

    def _read_upgrade_body(self, data: bytes) -> None:
        """Read the body of a request that asks for another protocol; llhttp leaves it to that protocol.

        The upgrade is ignored. Java's HTTP client asks for one with its first request.
        """
        if self._is_over:
            return
        self.on_body(data[: self._content_length - self._body_size])
        if self._body_size == self._content_length:
            self._finish_request(keep_alive=False)

    def shutdown(self) -> None:
        """Close the connection after the requests that have begun to arrive; at once if there are none."""
        self._is_last = True
        if self._current is not None:
            self._current.keep_alive = False
        elif self._phase is _Phase.REQUEST:
            self._is_over = True
            self.transport.close()

    def pause_writing(self) -> None:
        """Stop reading, and wait for the client to read until a deadline."""
        super().pause_writing()
        self.flow.pause_reading()
        self._wait(_Phase.READER, self._limits.body_deadline_s)

    # --- callbacks of the parser ---------------------------------------------

    def on_message_begin(self) -> None:
        """Reset the state of the previous request."""
        if self._is_over:
            raise _RejectedError
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._content_length = self._body_size = 0
        self._host_headers, self._encodings, self._body = [], [], []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header, and the headers that define the framing separately."""
        name = name.lower()
        self.headers.append((name, value))
        if name == b"host":
            self._host_headers.append(value)
        elif name == b"content-length":
            self._content_length = int(value)
        elif name == b"transfer-encoding":
            self._encodings.append(value.strip().lower())
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """Reject a request by its headers, or wait for its body."""
        limits = self._limits
        if self._bytes_fed > limits.header_bytes:  # which may include a part of the body
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > limits.header_bytes:
                self._abort(*_HEADERS_TOO_LARGE)
        version = self.parser.get_http_version()
        self._check_host(version)
        if self._encodings and (version == "1.0" or self._encodings != [b"chunked"]):
            self._abort(400, "Transfer-Encoding must be chunked, once, and HTTP/1.1; or left out.")
        if self._encodings and self.parser.should_upgrade():
            self._abort(400, "A request for another protocol must have a Content-Length, or no body.")
        if self._content_length > limits.body_bytes:
            self._abort_body()
        self.scope = self._scope(version)  # type: ignore[assignment]  # without keys that the application doesn't read
        self._wait(_Phase.BODY, limits.body_deadline_s)
        if self.expect_100_continue and self._current is None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Store a part of the body, and check the limits against the received bytes."""
        count = len(body)
        self._body_size += count
        if self._body_size > self._limits.body_bytes:
            self._abort_body()
        self._body_memory += count
        if not self._limits.body_memory.allocate(count, self._body_size):
            self._abort(503, "The server is reading as many large bodies as it can. Try again.")
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Start the request, unless its body follows outside of the parser."""
        self._is_upgrade = self.parser.should_upgrade()
        if not self._is_upgrade:
            is_kept = self.scope["http_version"] == "1.1" and self.parser.should_keep_alive()
            self._finish_request(keep_alive=is_kept and not self._is_last)

    # --- responses -----------------------------------------------------------

    def _finish_request(self, *, keep_alive: bool) -> None:
        """Start the request, or queue it after earlier requests of this connection."""
        self._is_over = not keep_alive
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        exchange = _Exchange(self, cast("dict[str, Any]", self.scope), body, keep_alive=keep_alive)
        exchange.body_memory, self._body_memory, self._body = self._body_memory, 0, []
        self._bytes_fed = self._chunk_size
        self._phase, self.deadline = _Phase.REQUEST, _NEVER
        if self._current is None:
            self._start(exchange)
            return
        self._pipelined.append(exchange)
        if len(self._pipelined) >= _MAX_PIPELINED:
            self.flow.pause_reading()

    async def answer(self, exchange: _Exchange, head: MutableMapping[str, Any], body: bytes) -> None:
        """Write a response, and start the next request or wait for it."""
        if self.transport.is_closing():
            return
        parts = [STATUS_LINE[head["status"]]]
        for name, value in (*self.server_state.default_headers, *head["headers"]):
            parts += (name, b": ", value, b"\r\n")
            if name == b"connection":
                exchange.keep_alive = False
        if not exchange.keep_alive and parts[-4] != b"connection":
            parts.append(b"connection: close\r\n")
        parts += (b"\r\n", b"" if exchange.scope["method"] == "HEAD" else body)
        self.transport.write(b"".join(parts))
        if self.flow.write_paused:
            await self.flow.drain()
        self._start_next(exchange)

    def expire(self) -> None:
        """Reject the request or close the connection, because its deadline has passed."""
        phase = self._phase
        if phase is _Phase.HEADERS or phase is _Phase.BODY:
            self._reject(408, f"The {phase.name.lower()} of the request didn't arrive in time.")
        elif phase is _Phase.REQUEST:
            self._is_over = True
            self.transport.close()
        else:
            self.transport.abort()

    def _start(self, exchange: _Exchange) -> None:
        self._current = exchange
        task = self.loop.create_task(self._run_app(exchange))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _run_app(self, exchange: _Exchange) -> None:
        try:
            await self.app(exchange.scope, exchange.receive, exchange.send)
        finally:
            self._limits.body_memory.free(exchange.body_memory)
            if not exchange.is_answered:
                self.transport.abort()

    def _start_next(self, exchange: _Exchange) -> None:
        self.server_state.total_requests += 1
        self._current = None
        self.flow.resume_reading()
        if not exchange.keep_alive or (self._is_over and not self._pipelined):
            self._is_over = True
            self._drop_pipelined()
            self._close()
        elif self._pipelined:
            self._start(self._pipelined.popleft())
        elif self._phase in (_Phase.REQUEST, _Phase.READER):
            self._wait(_Phase.REQUEST, self._limits.idle_s)

    def _reject(self, status: int, reason: str) -> None:
        """Respond with an error if a response is due, and discard further data."""
        if self._is_over:
            return  # data after the last request of the connection
        self._is_over = True
        self._limits.on_rejection(status)
        self._free_body()
        if self._current is not None:  # an earlier request runs: the connection ends with its response
            self.deadline = _NEVER
            return
        content = msgspec.json.encode(ErrorAnswer(reason))
        head = (STATUS_LINE[status], b"content-type: application/json\r\nconnection: close\r\n")
        self.transport.write(b"".join((*head, b"content-length: %d\r\n\r\n" % len(content), content)))
        self._close()

    def _close(self) -> None:
        """Send the end of the stream, and read for a moment: a client that still sends could lose the response."""
        if not self.transport.is_closing():
            self.transport.write_eof()
            self.flow.resume_reading()
            self._wait(_Phase.END, _LINGER_S)

    def _drop_pipelined(self) -> None:
        """Drop the requests after the current one."""
        while self._pipelined:
            self._limits.body_memory.free(self._pipelined.popleft().body_memory)

    def _free_body(self) -> None:
        """Drop the incomplete body, and free its memory."""
        if self._body_memory:
            self._limits.body_memory.free(self._body_memory)
            self._body_memory = 0
        self._body = []

    def _discard(self, data: bytes) -> None:
        self._discarded += len(data)
        if self._discarded > _LINGER_BYTES:
            self.transport.abort()

    # --- checks --------------------------------------------------------------

    def _wait(self, phase: _Phase, seconds: float) -> None:
        self._phase, self.deadline = phase, self.loop.time() + seconds

    def _scope(self, version: str) -> dict[str, Any]:
        url = self.url
        if not url.startswith(b"/"):
            url = httptools.parse_url(url).path or b"/"
        raw_path, _, query = url.partition(b"?")
        path = raw_path.decode("ascii")
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": self.parser.get_method().decode("ascii"),
            "scheme": self.scheme,
            "path": urllib.parse.unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": self.headers,
            "client": self.client,
            "server": self.server,
        }

    def _check_host(self, version: str) -> None:
        if version not in _HTTP_VERSIONS:
            self._abort(400, "The server speaks HTTP/1.1 and HTTP/1.0.")
        if not self._host_headers and version == "1.0":
            return
        if len(self._host_headers) != 1:
            self._abort(400, "A request must have one Host header.")
        if not self._limits.allowed_hosts.accepts(self._host_headers[0]):
            self._abort(400, "The Host header names a server that isn't this one. Its names are in --allowed-hosts.")

    def _abort_body(self) -> None:
        self._abort(413, f"The body is larger than the {self._limits.body_bytes} bytes that the server takes.")

    def _abort(self, status: int, reason: str) -> None:
        """Stop the parser with a rejection, from one of its callbacks."""
        self._rejection = (status, reason)
        raise _RejectedError
