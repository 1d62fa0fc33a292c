"""The gRPC status of each refusal, with the refusals that calls alone have."""

import grpc

from wine_assets.serving.errors import (
    InvalidRequestError,
    NotFoundError,
    RefusalError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
)

OK = grpc.StatusCode.OK
CANCELLED = grpc.StatusCode.CANCELLED


class LateError(RefusalError):
    """The message of a call hasn't come in time (gRPC DEADLINE_EXCEEDED)."""


class CrowdedError(RefusalError):
    """As many calls run as may (gRPC RESOURCE_EXHAUSTED)."""


class NoMethodError(RefusalError):
    """No such method is answered here (gRPC UNIMPLEMENTED)."""


_CODES: dict[type[RefusalError], grpc.StatusCode] = {
    InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    TooLargeError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    CrowdedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnauthorizedError: grpc.StatusCode.UNAUTHENTICATED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    LateError: grpc.StatusCode.DEADLINE_EXCEEDED,
    NoMethodError: grpc.StatusCode.UNIMPLEMENTED,
}


def status_of(error: RefusalError) -> grpc.StatusCode:
    """Return the status that a refused call ends with."""
    return _CODES.get(type(error), grpc.StatusCode.UNAVAILABLE)
