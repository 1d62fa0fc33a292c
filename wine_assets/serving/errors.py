"""Errors of requests, which each transport maps to its status codes."""

from wine_assets.errors import WineAssetsError


class RequestError(WineAssetsError):
    """A request failed; the message is written for the client and contains no path."""


class InvalidRequestError(RequestError):
    """The client has to change the request (HTTP 400, gRPC INVALID_ARGUMENT)."""


class NotFoundError(RequestError):
    """There is no such model, version or route (HTTP 404, gRPC NOT_FOUND)."""


class UnavailableError(RequestError):
    """The server can't answer now, but may soon (HTTP 503, gRPC UNAVAILABLE)."""


class UnsupportedTypeError(RequestError):
    """The body has a type or an encoding that the server doesn't read (HTTP 415)."""


class TooLargeError(RequestError):
    """The body is larger than the server accepts (HTTP 413, gRPC RESOURCE_EXHAUSTED)."""


class UnauthorizedError(RequestError):
    """The bearer token is missing or wrong (HTTP 401, gRPC UNAUTHENTICATED)."""


class DisconnectedError(RequestError):
    """The client disconnected before it had sent the whole request; nobody reads the response."""
