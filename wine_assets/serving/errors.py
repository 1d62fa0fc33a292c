"""Why a request isn't answered: kinds of errors that every transport turns into its own codes."""

from wine_assets.errors import WineAssetsError


class RefusalError(WineAssetsError):
    """A request that isn't answered; its message is fit for the client, and names no path."""


class InvalidRequestError(RefusalError):
    """The client has to change something in what it sends (HTTP 400, gRPC INVALID_ARGUMENT)."""


class NotFoundError(RefusalError):
    """No such model, version or route is served here (HTTP 404, gRPC NOT_FOUND)."""


class UnavailableError(RefusalError):
    """The server can't answer now, and may soon (HTTP 503, gRPC UNAVAILABLE)."""


class UnsupportedTypeError(RefusalError):
    """The body is in a form that the server doesn't read (HTTP 415)."""


class TooLargeError(RefusalError):
    """The body is larger than the server accepts (HTTP 413, gRPC RESOURCE_EXHAUSTED)."""


class UnauthorizedError(RefusalError):
    """The bearer token is missing or wrong (HTTP 401, gRPC UNAUTHENTICATED)."""


class DisconnectedError(RefusalError):
    """The client went away before it had sent all of its request; nobody reads an answer."""
