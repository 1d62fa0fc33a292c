"""Calls over gRPC: each is let in, read in time, answered, and counted."""

import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, NamedTuple, Protocol

import grpc
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from google.protobuf.message_factory import GetMessageClass  # type: ignore[import-untyped]

from wine_assets.serving.auth import Bearer
from wine_assets.serving.errors import InvalidRequestError, RefusalError
from wine_assets.serving.grpc import open_inference_pb2 as pb2
from wine_assets.serving.grpc import wire
from wine_assets.serving.grpc.message_reader import Incoming
from wine_assets.serving.grpc.metrics import OTHERS, STREAM, UNARY, Figures, Labels
from wine_assets.serving.grpc.status_codes import CANCELLED, OK, CrowdedError, NoMethodError, status_of
from wine_assets.serving.grpc.wire import MalformedError
from wine_assets.serving.observability.logs import LOGGER, log
from wine_assets.serving.observability.telemetry import Tracing

Context = Any
"""The library's `ServicerContext`."""


class Service(Protocol):
    """Has a coroutine for each method that it answers: it takes the method's message and returns its answer.

    For a method whose answer is a stream it has an asynchronous generator instead.
    """

    open: frozenset[str]
    """The methods that need no token."""
    traced: frozenset[str]
    """The methods around whose calls there are spans, where traces are wanted."""


class Options(NamedTuple):
    """What calls look at beside the services."""

    most: int
    """Calls at one time, and as many again whose answers are streams."""
    deadline_s: float
    bearer: Bearer | None = None
    tracing: Tracing | None = None
    access_log: bool = False


class _Room:
    """How many calls of a kind run, and may."""

    def __init__(self, most: int) -> None:
        self._most, self.taken = most, 0

    def check(self) -> None:
        if self.taken > self._most:
            raise CrowdedError(f"{self._most} such calls run already. Try again when some have ended.")


class _Method(NamedTuple):
    labels: Labels
    room: _Room
    answer: Callable[[Context], Awaitable[bytes]]
    is_traced: bool = False

    @property
    def path(self) -> str:
        return f"/{self.labels[1]}/{self.labels[2]}"


class _Ending(NamedTuple):
    """How a call ends: with bytes, or with a status and a sentence."""

    code: grpc.StatusCode
    sentence: str = ""
    answer: bytes = b""


class Calls:
    """What all methods share; a refusal is a status with the sentence that REST answers."""

    def __init__(self, figures: Figures, options: Options) -> None:
        self._figures, self._options = figures, options
        self._incoming = Incoming(options.deadline_s)
        self._room, self._room_of_streams = _Room(options.most), _Room(options.most)

    def add(self, descriptor: Any, service: Service, server: Any) -> None:
        """Let a server answer the methods of a service as its object does; it has no others.

        All are registered as methods that take a stream. On the wire a call of one message is the same, and the message
        is then waited for here and not in the library, which would wait forever, whether or not there is a token.
        """
        handlers = {}
        for method in descriptor.methods:
            if hasattr(service, method.name):
                streams = method.server_streaming
                kind = grpc.stream_stream_rpc_method_handler if streams else grpc.stream_unary_rpc_method_handler
                handlers[method.name] = kind(self._handler(self._method(method, service)))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(descriptor.full_name, handlers),))

    def refuse_others(self, server: Any) -> None:
        """Let a server say of methods that were not added that there is no such one, and count calls of them."""
        server.add_generic_rpc_handlers((_Others(self._handler(_Method(OTHERS, self._room, _no_method))),))

    def _method(self, method: Any, service: Service) -> _Method:
        name, handler, message = method.name, getattr(service, method.name), GetMessageClass(method.input_type)
        sent = _stream(handler) if method.server_streaming else _unary(handler)
        bearer = None if name in service.open else self._options.bearer

        async def answer(context: Context) -> bytes:
            if bearer is not None:
                bearer.check(_authorization(context))
            return await sent(_decoded(message, await self._incoming.read(context)), context)

        kind, room = (STREAM, self._room_of_streams) if method.server_streaming else (UNARY, self._room)
        return _Method((kind, method.containing_service.full_name, name), room, answer, name in service.traced)

    def _handler(self, method: _Method) -> Callable[[Any, Context], Awaitable[bytes]]:
        """Return what answers a method, bytes for bytes."""
        end: _End = self._ending
        if method.is_traced and self._options.tracing is not None:
            end = _traced(self._options.tracing, end)

        async def handle(_: Any, context: Context) -> bytes:
            began, ending = time.perf_counter(), _GONE
            self._figures.began(method.labels)
            method.room.taken += 1
            try:
                ending = await end(method, context)
            finally:
                method.room.taken -= 1
                self._ended(method, ending.code, time.perf_counter() - began)
            if ending.code is not OK:
                await context.abort(ending.code, ending.sentence)
            return ending.answer

        return handle

    async def _ending(self, method: _Method, context: Context) -> _Ending:
        try:
            method.room.check()
            return _Ending(OK, answer=await method.answer(context))
        except RefusalError as error:
            return _Ending(status_of(error), str(error))
        except Exception:
            logging.getLogger(LOGGER).exception("A call failed.", extra={"fields": {"method": method.path}})
            sentence = "The server couldn't answer this request. Its log says why."
            return _Ending(grpc.StatusCode.UNAVAILABLE, sentence)

    def _ended(self, method: _Method, code: grpc.StatusCode, seconds: float) -> None:
        self._figures.ended(method.labels, code.name, seconds)
        if self._options.access_log:
            milliseconds = round(seconds * 1000, 3)
            log(logging.INFO, "call", method=method.path, code=code.name, milliseconds=milliseconds)


_GONE = _Ending(CANCELLED)
_End = Callable[[_Method, Context], Awaitable[_Ending]]
_Sent = Callable[[Any, Context], Awaitable[bytes]]


class _Others(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers whichever method no service has; the library asks it last when it was added last."""

    def __init__(self, handle: Callable[[Any, Context], Awaitable[bytes]]) -> None:
        self._handler = grpc.stream_stream_rpc_method_handler(handle)

    def service(self, _: Any) -> Any:
        return self._handler


async def _no_method(_: Context) -> bytes:
    raise NoMethodError("There is no such method here. open_inference.proto and grpc.health.v1 have those that are.")


def _unary(handler: Callable[[Any], Awaitable[Any]]) -> _Sent:
    async def sent(message: Any, _: Context) -> bytes:
        answer: bytes = (await handler(message)).SerializeToString()
        return answer

    return sent


def _stream(handler: Callable[[Any], AsyncGenerator[Any]]) -> _Sent:
    async def sent(message: Any, context: Context) -> bytes:
        async with contextlib.aclosing(handler(message)) as answers:
            async for answer in answers:
                await context.write(answer.SerializeToString())
        return b""

    return sent


def _traced(tracing: Tracing, end: _End) -> _End:
    """Put a span around the calls of a method, with OpenTelemetry's names for what it says."""

    async def traced(method: _Method, context: Context) -> _Ending:
        _, service, name = method.labels
        with tracing.span(method.path[1:], _headers(context)) as span:
            span.set_attributes({"rpc.system": "grpc", "rpc.service": service, "rpc.method": name})
            ending = _GONE
            try:
                ending = await end(method, context)
            finally:
                span.set_attribute("rpc.grpc.status_code", ending.code.value[0])
            return ending

    return traced


def _decoded(message: Any, content: bytes) -> Any:
    try:
        if message is pb2.ModelInferRequest:
            wire.check(content)
        return message.FromString(content)
    except (DecodeError, MalformedError):
        name = message.DESCRIPTOR.full_name
        raise InvalidRequestError(f"The message can't be read as {name}. Send one that is.") from None


def _headers(context: Context) -> dict[bytes, bytes]:
    metadata = context.invocation_metadata() or ()
    return {key.encode(): value.encode() for key, value in metadata if isinstance(value, str)}


def _authorization(context: Context) -> bytes | None:
    found = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
    return str(found[0]).encode() if found else None
