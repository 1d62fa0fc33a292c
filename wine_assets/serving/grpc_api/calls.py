"""Calls over gRPC: each is let in, read in time, answered, and counted."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

import grpc
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from google.protobuf.message_factory import GetMessageClass  # type: ignore[import-untyped]

from wine_assets.serving.bearer import Bearer
from wine_assets.serving.grpc_api import open_inference_pb2 as pb2
from wine_assets.serving.grpc_api import wire
from wine_assets.serving.grpc_api.figures import Figures
from wine_assets.serving.grpc_api.wire import MalformedError
from wine_assets.serving.logs import LOGGER, log
from wine_assets.serving.refusals import (
    InvalidRequestError,
    NotFoundError,
    RefusalError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
)

OK = grpc.StatusCode.OK
PATIENCE, HURRY_S = 64, 1.0
"""How many messages may take their time to come, and the seconds that each has which comes beside so many.

The library holds what has come of a message and doesn't say how much that is, so this and not a number of bytes bounds
what those fill who send slowly. A message that comes at once is never kept out.
"""


class LateError(RefusalError):
    """The message of a call hasn't come in time (gRPC DEADLINE_EXCEEDED)."""


CODES: dict[type[RefusalError], grpc.StatusCode] = {
    InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    MalformedError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    TooLargeError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnauthorizedError: grpc.StatusCode.UNAUTHENTICATED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    LateError: grpc.StatusCode.DEADLINE_EXCEEDED,
}


class Service(Protocol):
    """Has a coroutine for each method that it answers: it takes the method's message and returns its answer."""

    open: frozenset[str]
    """The methods that need no token."""


class _Method(NamedTuple):
    path: str
    is_open: bool
    message: Any
    answer: Callable[[Any], Awaitable[Any]]


class _Ending(NamedTuple):
    """How a call ends: with bytes, or with a status and a sentence."""

    code: grpc.StatusCode
    sentence: str = ""
    answer: bytes = b""


class Calls:
    """What all methods share; a refusal is a status with the sentence that REST answers."""

    def __init__(self, figures: Figures, *, bearer: Bearer | None, deadline_s: float, access_log: bool) -> None:
        self._figures, self._bearer, self._deadline_s = figures, bearer, deadline_s
        self._access_log = access_log
        self._awaited = 0

    def add(self, descriptor: Any, service: Service, server: Any) -> None:
        """Let a server answer the methods of a service as its object does; it has no others."""
        handlers = {}
        for method in descriptor.methods:
            if hasattr(service, method.name):
                message = GetMessageClass(method.input_type)
                path, is_open = f"/{descriptor.full_name}/{method.name}", method.name in service.open
                known = _Method(path, is_open, message, getattr(service, method.name))
                handlers[method.name] = grpc.stream_unary_rpc_method_handler(self._handler(known))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(descriptor.full_name, handlers),))

    def _handler(self, method: _Method) -> Callable[[Any, Any], Awaitable[bytes]]:
        """Return what answers a method, bytes for bytes.

        It is registered as one that takes a stream. On the wire a call of one message is the same, and the message is
        then waited for here and not in the library, which would wait forever, whether or not there is a token.
        """

        async def handle(_: Any, context: Any) -> bytes:
            began, ending = time.perf_counter(), _CANCELLED
            self._figures.began(method.path)
            try:
                ending = await self._ending(method, context)
            finally:
                self._ended(method, ending.code, time.perf_counter() - began)
            if ending.code is not OK:
                await context.abort(ending.code, ending.sentence)
            return ending.answer

        return handle

    async def _ending(self, method: _Method, context: Any) -> _Ending:
        try:
            return _Ending(OK, answer=await self._answer(method, context))
        except RefusalError as error:
            return _Ending(CODES.get(type(error), grpc.StatusCode.UNAVAILABLE), str(error))
        except Exception:
            logging.getLogger(LOGGER).exception("A call failed.", extra={"fields": {"method": method.path}})
            sentence = "The server couldn't answer this request. Its log says why."
            return _Ending(grpc.StatusCode.UNAVAILABLE, sentence)

    def _ended(self, method: _Method, code: grpc.StatusCode, seconds: float) -> None:
        self._figures.ended(method.path, code.name, seconds)
        if self._access_log:
            milliseconds = round(seconds * 1000, 3)
            log(logging.INFO, "call", method=method.path, code=code.name, milliseconds=milliseconds)

    async def _answer(self, method: _Method, context: Any) -> bytes:
        if self._bearer is not None and not method.is_open:
            self._bearer.check(_authorization(context))
        message = _decoded(method.message, await self._read(context))
        answer: bytes = (await method.answer(message)).SerializeToString()
        return answer

    async def _read(self, context: Any) -> bytes:
        seconds = self._deadline_s if self._awaited < PATIENCE else min(HURRY_S, self._deadline_s)
        self._awaited += 1
        try:
            async with asyncio.timeout(seconds):
                content = await context.read()
                if content is not grpc.aio.EOF:  # a client that still has its end to send could lose the answer
                    rest = await context.read()
        except TimeoutError:
            raise LateError(f"The message of the call has to arrive in {seconds:g} s, and didn't.") from None
        finally:
            self._awaited -= 1
        if content is grpc.aio.EOF:
            raise InvalidRequestError("The call has no message. Send one.")
        if rest is not grpc.aio.EOF:
            raise InvalidRequestError("The call has more than one message. Send one.")
        return content  # type: ignore[no-any-return]


def _decoded(message: Any, content: bytes) -> Any:
    try:
        if message is pb2.ModelInferRequest:
            wire.check(content)
        return message.FromString(content)
    except (DecodeError, MalformedError):
        name = message.DESCRIPTOR.full_name
        raise InvalidRequestError(f"The message can't be read as {name}. Send one that is.") from None


def _authorization(context: Any) -> bytes | None:
    found = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
    return str(found[0]).encode() if found else None


_CANCELLED = _Ending(grpc.StatusCode.CANCELLED)
