"""The gRPC status code of each error, and the errors that only gRPC has."""

import grpc

from wine_assets.serving.errors import (
    InvalidRequestError,
    NotFoundError,
    RequestError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
)

OK = grpc.StatusCode.OK
CANCELLED = grpc.StatusCode.CANCELLED


class DeadlineError(RequestError):
    """The message of a call didn't arrive in time (gRPC DEADLINE_EXCEEDED)."""


class TooManyCallsError(RequestError):
    """Too many calls run at the same time (gRPC RESOURCE_EXHAUSTED)."""


class UnknownMethodError(RequestError):
    """There is no such method (gRPC UNIMPLEMENTED)."""


_CODES: dict[type[RequestError], grpc.StatusCode] = {
    InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    TooLargeError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    TooManyCallsError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnauthorizedError: grpc.StatusCode.UNAUTHENTICATED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    DeadlineError: grpc.StatusCode.DEADLINE_EXCEEDED,
    UnknownMethodError: grpc.StatusCode.UNIMPLEMENTED,
}


def status_of(error: RequestError) -> grpc.StatusCode:
    """Return the status code of a failed call."""
    return _CODES.get(type(error), grpc.StatusCode.UNAVAILABLE)
