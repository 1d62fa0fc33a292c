"""One connection of HTTP/1.1 with an end to all that a client may send, and to the time that it may take."""

import enum
import math
import urllib.parse
from collections import deque
from collections.abc import Callable, MutableMapping
from typing import Any, NamedTuple, cast

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from wine_assets.serving.http.allowed_hosts import Hosts
from wine_assets.serving.http.body_memory import Budget
from wine_assets.serving.http.protocol import ErrorAnswer

_NEVER = math.inf
_LINGER_S = 1.0
"""How long what is still sent after a refusal is read and thrown away, so that the client gets to read the answer."""
_LINGER_BYTES = 16 << 20
_VERSIONS = ("1.0", "1.1")
_PIPELINED = 8
_TOO_LARGE = (431, "The headers of the request are larger than the server takes.")
_NO_HTTP = (400, "The request isn't well-formed HTTP/1.1.")
_ASGI = {"version": "3.0", "spec_version": "2.3"}


class Limits(NamedTuple):
    """What a client may do, and who hears of refusals."""

    header_bytes: int
    body_bytes: int
    header_deadline_s: float
    body_deadline_s: float
    idle_s: float
    connections: int
    budget: Budget
    hosts: Hosts
    refused: Callable[[int], None]


class _Waits(enum.Enum):
    """What a connection waits for until its deadline."""

    REQUEST = enum.auto()
    HEADERS = enum.auto()
    BODY = enum.auto()
    READER = enum.auto()
    END = enum.auto()


class _RefusedError(Exception):
    """Ends the parser's work; what is answered was decided before."""


class _Exchange:
    """One request that has arrived whole, and the answer to it: what an ASGI application is given."""

    __slots__ = ("body", "connection", "head", "held", "is_answered", "keep_alive", "scope")

    def __init__(
        self, connection: "LimitedConnection", scope: dict[str, Any], body: bytes, *, keep_alive: bool
    ) -> None:
        self.connection, self.scope, self.body, self.keep_alive = connection, scope, body, keep_alive
        self.head: MutableMapping[str, Any] | None = None
        self.is_answered = False
        self.held = 0
        """What it has taken of the budget for bodies."""

    async def receive(self) -> dict[str, Any]:
        """Return the body, which is whole."""
        return {"type": "http.request", "body": self.body, "more_body": False}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Write head and body together, once both are there."""
        if self.head is None:
            self.head = message
        elif not self.is_answered:
            self.is_answered = True
            await self.connection.answer(self, self.head, message["body"])


class LimitedConnection(HttpToolsProtocol):
    """uvicorn's connection over llhttp, which refuses ambiguous framing itself, with limits counted while bytes come.

    The application is asked when a request has arrived whole, and its answer is one write. Deadlines cost a request
    nothing: `deadline` is a moment, and whoever looks at all connections now and then calls `expire`. After a refusal
    the connection is closed, and nothing more of it is understood.
    """

    def __init__(self, limits: Limits, **given: Any) -> None:
        super().__init__(**given)
        self._limits = limits
        self.deadline = _NEVER
        self._waits = _Waits.REQUEST
        self._refusal = _NO_HTTP
        self._current: _Exchange | None = None
        self._next: deque[_Exchange] = deque()
        self._is_over = self._is_last = self._is_upgrade = False
        """Whether nothing more is understood; whether the request that arrives is the last one here; whether it
        asks for another protocol."""
        self._fed = self._chunk = self._announced = self._received = self._held = self._thrown_away = 0
        self._hosts: list[bytes] = []
        self._encodings: list[bytes] = []
        self._body: list[bytes] = []

    # --- what the event loop calls -------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Start the clock, or refuse a connection too many."""
        super().connection_made(transport)
        self._wait(_Waits.REQUEST, self._limits.header_deadline_s)
        if len(self.connections) > self._limits.connections:
            self._refuse(503, "The server has as many connections as it takes. Try again.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; an answer that is still made goes nowhere."""
        self._is_over = True
        self.deadline = _NEVER
        self._forget_next()
        self._let_go()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, unless nothing more is to be understood."""
        if self._is_over:
            self._throw_away(data)
            return
        if self._waits is _Waits.REQUEST:
            self._wait(_Waits.HEADERS, self._limits.header_deadline_s)
            self._fed = 0
        self._chunk = len(data)
        self._fed += self._chunk
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(*self._refusal)
        if self._waits is _Waits.HEADERS and self._fed > 2 * self._limits.header_bytes:
            self._refuse(*_TOO_LARGE)

    def _feed(self, data: bytes) -> None:
        if self._is_upgrade:
            self._take_body(data)
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._take_body(data[upgrade.args[0] :])

    def _take_body(self, data: bytes) -> None:
        """Take the body of a request that asks for another protocol, which llhttp leaves to that.

        The request is answered as if it had not asked; HTTP clients of Java do so with each first one.
        """
        if self._is_over:
            return
        self.on_body(data[: self._announced - self._received])
        if self._received == self._announced:
            self._complete(keep_alive=False)

    def shutdown(self) -> None:
        """End after the requests that have begun to arrive; now when there are none."""
        self._is_last = True
        if self._current is not None:
            self._current.keep_alive = False
        elif self._waits is _Waits.REQUEST:
            self._is_over = True
            self.transport.close()

    def pause_writing(self) -> None:
        """Wait for a client that doesn't read, but not forever."""
        super().pause_writing()
        self.flow.pause_reading()
        self._wait(_Waits.READER, self._limits.body_deadline_s)

    # --- what the parser calls -----------------------------------------------

    def on_message_begin(self) -> None:
        """Begin to count anew."""
        if self._is_over:
            raise _RefusedError
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._announced = self._received = 0
        self._hosts, self._encodings, self._body = [], [], []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take note of a header; those that say how a message is framed have to say it clearly."""
        name = name.lower()
        self.headers.append((name, value))
        if name == b"host":
            self._hosts.append(value)
        elif name == b"content-length":
            self._announced = int(value)
        elif name == b"transfer-encoding":
            self._encodings.append(value.strip().lower())
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """Refuse a request by its headers, or wait for its body."""
        limits = self._limits
        if self._fed > limits.header_bytes and self._header_bytes() > limits.header_bytes:
            self._reject(*_TOO_LARGE)
        version = self.parser.get_http_version()
        self._check_host(version)
        if self._encodings and (version == "1.0" or self._encodings != [b"chunked"]):
            self._reject(400, "Transfer-Encoding must be chunked, once, and HTTP/1.1; or left out.")
        if self._encodings and self.parser.should_upgrade():
            self._reject(400, "A request for another protocol must have a Content-Length, or no body.")
        if self._announced > limits.body_bytes:
            self._reject_body()
        self.scope = self._scope(version)  # type: ignore[assignment]  # ASGI's, as far as the application reads it
        self._wait(_Waits.BODY, limits.body_deadline_s)
        if self.expect_100_continue and self._current is None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Keep what was received and count it, whatever was announced."""
        count = len(body)
        self._received += count
        if self._received > self._limits.body_bytes:
            self._reject_body()
        self._held += count
        if not self._limits.budget.take(count, self._received):
            self._reject(503, "The server is reading as many large bodies as it can. Try again.")
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Have the request answered, unless the parser leaves its body to others."""
        self._is_upgrade = self.parser.should_upgrade()
        if not self._is_upgrade:
            is_kept = self.scope["http_version"] == "1.1" and self.parser.should_keep_alive()
            self._complete(keep_alive=is_kept and not self._is_last)

    # --- answers -------------------------------------------------------------

    def _complete(self, *, keep_alive: bool) -> None:
        """Have the request answered, after those that came before it on this connection."""
        self._is_over = not keep_alive
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        exchange = _Exchange(self, cast("dict[str, Any]", self.scope), body, keep_alive=keep_alive)
        exchange.held, self._held, self._body = self._held, 0, []
        self._fed = self._chunk
        self._waits, self.deadline = _Waits.REQUEST, _NEVER
        if self._current is None:
            self._start(exchange)
            return
        self._next.append(exchange)
        if len(self._next) >= _PIPELINED:
            self.flow.pause_reading()

    async def answer(self, exchange: _Exchange, head: MutableMapping[str, Any], body: bytes) -> None:
        """Write an answer, and go on to the next request or wait for it."""
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
        self._go_on(exchange)

    def expire(self) -> None:
        """Do what is due when what the connection waits for hasn't come in time."""
        waits = self._waits
        if waits is _Waits.HEADERS or waits is _Waits.BODY:
            self._refuse(408, f"The {waits.name.lower()} of the request didn't arrive in time.")
        elif waits is _Waits.REQUEST:
            self._is_over = True
            self.transport.close()
        else:
            self.transport.abort()

    def _start(self, exchange: _Exchange) -> None:
        self._current = exchange
        task = self.loop.create_task(self._answered(exchange))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _answered(self, exchange: _Exchange) -> None:
        try:
            await self.app(exchange.scope, exchange.receive, exchange.send)
        finally:
            self._limits.budget.give(exchange.held)
            if not exchange.is_answered:
                self.transport.abort()

    def _go_on(self, exchange: _Exchange) -> None:
        self.server_state.total_requests += 1
        self._current = None
        self.flow.resume_reading()
        if not exchange.keep_alive or (self._is_over and not self._next):
            self._is_over = True
            self._forget_next()
            self._close()
        elif self._next:
            self._start(self._next.popleft())
        elif self._waits in (_Waits.REQUEST, _Waits.READER):
            self._wait(_Waits.REQUEST, self._limits.idle_s)

    def _refuse(self, status: int, reason: str) -> None:
        """Answer with an error where an answer is due, and understand nothing more."""
        if self._is_over:
            return  # something follows the last request that is answered here
        self._is_over = True
        self._limits.refused(status)
        self._let_go()
        if self._current is not None:  # an earlier request is being answered: the connection ends with that
            self.deadline = _NEVER
            return
        content = msgspec.json.encode(ErrorAnswer(reason))
        head = (STATUS_LINE[status], b"content-type: application/json\r\nconnection: close\r\n")
        self.transport.write(b"".join((*head, b"content-length: %d\r\n\r\n" % len(content), content)))
        self._close()

    def _close(self) -> None:
        """Send the end, and read on for a moment: a client that still sends would lose the answer otherwise."""
        if not self.transport.is_closing():
            self.transport.write_eof()
            self.flow.resume_reading()
            self._wait(_Waits.END, _LINGER_S)

    def _forget_next(self) -> None:
        """Answer nothing of what has come after the present request."""
        while self._next:
            self._limits.budget.give(self._next.popleft().held)

    def _let_go(self) -> None:
        """Hold nothing more of a body; give back what it took of the budget."""
        if self._held:
            self._limits.budget.give(self._held)
            self._held = 0
        self._body = []

    def _throw_away(self, data: bytes) -> None:
        self._thrown_away += len(data)
        if self._thrown_away > _LINGER_BYTES:
            self.transport.abort()

    # --- checks --------------------------------------------------------------

    def _wait(self, what: _Waits, seconds: float) -> None:
        self._waits, self.deadline = what, self.loop.time() + seconds

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
        if version not in _VERSIONS:
            self._reject(400, "The server speaks HTTP/1.1 and HTTP/1.0.")
        if not self._hosts and version == "1.0":
            return
        if len(self._hosts) != 1:
            self._reject(400, "A request must have one Host header.")
        if not self._limits.hosts.accepts(self._hosts[0]):
            self._reject(400, "The Host header names a server that isn't this one. Its names are in --allowed-hosts.")

    def _header_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _reject_body(self) -> None:
        self._reject(413, f"The body is larger than the {self._limits.body_bytes} bytes that the server takes.")

    def _reject(self, status: int, reason: str) -> None:
        """Leave the parser with a refusal, from inside one of its callbacks."""
        self._refusal = (status, reason)
        raise _RefusedError
