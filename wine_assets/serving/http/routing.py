"""Route, Call and Reply: the types of the list of routes, and the lookup of a path in it."""

import functools
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from wine_assets.serving.http.content_encoding import Receive
from wine_assets.serving.http.protocol import JSON

_CACHED_PATHS = 64


class Reply(NamedTuple):
    """A response before it is sent."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Call(NamedTuple):
    """A request whose route is known."""

    headers: dict[bytes, bytes]
    receive: Receive
    model: str = ""
    version: str = ""


class Route(NamedTuple):
    """A path, the handler that answers it, and what OpenAPI says about it."""

    method: str
    """GET, which includes HEAD, or POST."""
    path: str
    """A template such as `/v2/models/{model_name}`; metrics, logs and traces contain it in place of the path."""
    handler: Callable[[Any, Call], Awaitable[Reply]]
    """A method of `routes.Handlers`."""
    summary: str
    response: Any
    """The type of a response with status 200, from which OpenAPI's schema is derived."""
    media_type: str = "application/json"
    request: Any = None
    """The type of the body, or the name of a schema that depends on the model's features."""
    is_binary: bool = False
    """Whether a response may also contain binary tensors."""
    has_unready_response: bool = False
    """Whether a response with status 503 may have the type of `response`."""
    needs_token: bool = True

    @property
    def methods(self) -> tuple[str, ...]:
        """The HTTP methods that the route answers."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


class Match(NamedTuple):
    """The route of a path, and the model and version in the path."""

    route: Route | None
    model: str = ""
    version: str = ""


class Router:
    """Finds the route of a path; a path has one route."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = [(route.path.split("/"), route) for route in routes]
        self.match: Callable[[str], Match] = functools.lru_cache(_CACHED_PATHS)(self._match)

    def _match(self, path: str) -> Match:
        """Return the route of a path, with or without a final slash."""
        segments = (path if path == "/" else path.removesuffix("/")).split("/")
        for template, route in self._routes:
            if len(template) == len(segments):
                values = _parse(template, segments)
                if values is not None:
                    return Match(route, values.get("{model_name}", ""), values.get("{model_version}", ""))
        return Match(None)


def _parse(template: list[str], segments: list[str]) -> dict[str, str] | None:
    """Return the values of a template's parameters, None if the path doesn't match."""
    values = {}
    for expected, segment in zip(template, segments, strict=True):
        if expected.startswith("{") and segment:
            values[expected] = segment
        elif expected != segment:
            return None
    return values
