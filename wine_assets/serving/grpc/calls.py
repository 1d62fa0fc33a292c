"""Handling of gRPC calls: authentication, deadlines, errors, traces, metrics and logs around a service's methods."""

import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, NamedTuple, Protocol

import grpc
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it has no types
from google.protobuf.message_factory import GetMessageClass  # type: ignore[import-untyped]  # likewise

from wine_assets.serving.auth import BearerToken
from wine_assets.serving.errors import InvalidRequestError, RequestError
from wine_assets.serving.grpc import open_inference_pb2 as pb2
from wine_assets.serving.grpc import wire
from wine_assets.serving.grpc.message_reader import MessageReader
from wine_assets.serving.grpc.metrics import OTHERS, STREAM, UNARY, GrpcMetrics, Labels
from wine_assets.serving.grpc.status_codes import CANCELLED, OK, TooManyCallsError, UnknownMethodError, status_of
from wine_assets.serving.grpc.wire import MalformedError
from wine_assets.serving.observability.logs import LOGGER, log
from wine_assets.serving.observability.telemetry import Tracing

Context = Any
"""grpcio's `ServicerContext`."""
Handler = Callable[[Any, Context], Awaitable[bytes]]


class Service(Protocol):
    """Has a coroutine for each of its methods, which takes the method's message and returns the response.

    For a method with a stream of responses it has an asynchronous generator instead.
    """

    open_methods: frozenset[str]
    """The methods that need no token."""
    traced_methods: frozenset[str]
    """The methods whose calls get a span."""


class Options(NamedTuple):
    """The settings of calls."""

    max_calls: int
    """Maximum number of concurrent calls; there may be as many again with a stream of responses."""
    deadline_s: float
    token: BearerToken | None = None
    tracing: Tracing | None = None
    access_log: bool = False


class _CallLimit:
    """The number of concurrent calls, and its maximum."""

    def __init__(self, max_calls: int) -> None:
        self._max_calls, self.running = max_calls, 0

    def check(self) -> None:
        if self.running > self._max_calls:
            raise TooManyCallsError(f"{self._max_calls} such calls run already. Try again when some have ended.")


class _Method(NamedTuple):
    labels: Labels
    limit: _CallLimit
    respond: Callable[[Context], Awaitable[bytes]]
    """Read the message, and return the response; a stream of responses is written, and the result is empty."""
    is_traced: bool = False

    @property
    def path(self) -> str:
        return f"/{self.labels[1]}/{self.labels[2]}"


class _Outcome(NamedTuple):
    """The end of a call: the encoded response, or a status code and an error message."""

    code: grpc.StatusCode
    error: str = ""
    response: bytes = b""


_NO_OUTCOME = _Outcome(CANCELLED)


class Calls:
    """Registers services; an error becomes a status code with the message that the HTTP routes send."""

    def __init__(self, metrics: GrpcMetrics, options: Options) -> None:
        self._metrics, self._options = metrics, options
        self._message_reader = MessageReader(options.deadline_s)
        self._unary_limit, self._stream_limit = _CallLimit(options.max_calls), _CallLimit(options.max_calls)

    def add(self, descriptor: Any, service: Service, server: Any) -> None:
        """Register the methods of a service that its object has.

        All are registered as methods that take a stream: on the wire, a call with one message is the same. The message
        is then read here with a deadline. grpcio itself would wait for it without limit, before any authentication.
        """
        handlers = {}
        for method in descriptor.methods:
            if hasattr(service, method.name):
                streams = method.server_streaming
                kind = grpc.stream_stream_rpc_method_handler if streams else grpc.stream_unary_rpc_method_handler
                handlers[method.name] = kind(self._create_handler(self._create_method(method, service)))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(descriptor.full_name, handlers),))

    def add_fallback(self, server: Any) -> None:
        """Register a handler for unknown methods, which counts their calls; call it after `add`."""
        method = _Method(OTHERS, self._unary_limit, _raise_unknown_method)
        server.add_generic_rpc_handlers((_Fallback(self._create_handler(method)),))

    def _create_method(self, method: Any, service: Service) -> _Method:
        name, message_class = method.name, GetMessageClass(method.input_type)
        call = (_call_stream if method.server_streaming else _call_unary)(getattr(service, name))
        token = None if name in service.open_methods else self._options.token

        async def respond(context: Context) -> bytes:
            if token is not None:
                token.check(_authorization(context))
            return await call(_decode(message_class, await self._message_reader.read(context)), context)

        kind, limit = (STREAM, self._stream_limit) if method.server_streaming else (UNARY, self._unary_limit)
        labels = (kind, method.containing_service.full_name, name)
        return _Method(labels, limit, respond, name in service.traced_methods)

    def _create_handler(self, method: _Method) -> Handler:
        async def handle(_: Any, context: Context) -> bytes:
            start, outcome = time.perf_counter(), _NO_OUTCOME
            self._metrics.count_start(method.labels)
            method.limit.running += 1
            try:
                if method.is_traced and self._options.tracing is not None:
                    outcome = await self._trace(self._options.tracing, method, context)
                else:
                    outcome = await self._run(method, context)
            finally:
                method.limit.running -= 1
                self._record_end(method, outcome.code, time.perf_counter() - start)
            if outcome.code is not OK:
                await context.abort(outcome.code, outcome.error)
            return outcome.response

        return handle

    async def _run(self, method: _Method, context: Context) -> _Outcome:
        try:
            method.limit.check()
            return _Outcome(OK, response=await method.respond(context))
        except RequestError as error:
            return _Outcome(status_of(error), str(error))
        except Exception:
            logging.getLogger(LOGGER).exception("A call failed.", extra={"fields": {"method": method.path}})
            message = "The server couldn't answer this request. Its log says why."
            return _Outcome(grpc.StatusCode.UNAVAILABLE, message)

    async def _trace(self, tracing: Tracing, method: _Method, context: Context) -> _Outcome:
        """Run a call in a span, with OpenTelemetry's attributes for RPCs."""
        _, service, name = method.labels
        metadata = context.invocation_metadata() or ()
        headers = {key.encode(): value.encode() for key, value in metadata if isinstance(value, str)}
        with tracing.span(method.path[1:], headers) as span:
            span.set_attributes({"rpc.system": "grpc", "rpc.service": service, "rpc.method": name})
            outcome = _NO_OUTCOME
            try:
                outcome = await self._run(method, context)
            finally:
                span.set_attribute("rpc.grpc.status_code", outcome.code.value[0])
            return outcome

    def _record_end(self, method: _Method, code: grpc.StatusCode, seconds: float) -> None:
        self._metrics.count_end(method.labels, code.name, seconds)
        if self._options.access_log:
            milliseconds = round(seconds * 1000, 3)
            log(logging.INFO, "call", method=method.path, code=code.name, milliseconds=milliseconds)


class _Fallback(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """Handles any method; grpcio asks the handlers in the order of their registration."""

    def __init__(self, handler: Handler) -> None:
        self._handler = grpc.stream_stream_rpc_method_handler(handler)

    def service(self, _: Any) -> Any:
        return self._handler


async def _raise_unknown_method(_: Context) -> bytes:
    raise UnknownMethodError(
        "There is no such method here. open_inference.proto and grpc.health.v1 have those that are."
    )


def _call_unary(method: Callable[[Any], Awaitable[Any]]) -> Handler:
    async def call(message: Any, _: Context) -> bytes:
        response: bytes = (await method(message)).SerializeToString()
        return response

    return call


def _call_stream(method: Callable[[Any], AsyncGenerator[Any]]) -> Handler:
    async def call(message: Any, context: Context) -> bytes:
        async with contextlib.aclosing(method(message)) as responses:
            async for response in responses:
                await context.write(response.SerializeToString())
        return b""

    return call


def _decode(message_class: Any, content: bytes) -> Any:
    try:
        if message_class is pb2.ModelInferRequest:
            wire.check(content)
        return message_class.FromString(content)
    except (DecodeError, MalformedError):
        name = message_class.DESCRIPTOR.full_name
        raise InvalidRequestError(f"The message can't be read as {name}. Send one that is.") from None


def _authorization(context: Context) -> bytes | None:
    values = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
    return str(values[0]).encode() if values else None
