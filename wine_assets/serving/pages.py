"""The pages for people, and the description of the routes for programs."""

from wine_assets.serving import openapi as description
from wine_assets.serving.plane import DataPlane

HEADERS = (
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
)


def index(plane: DataPlane) -> bytes:
    """Return the page at `/`."""
    state = f"Version {plane.served.version} is served." if plane.served else "No model is loaded."
    return f'<!doctype html><title>wine</title><p>{state}<p><a href="/docs">Routes</a>'.encode()


def docs() -> bytes:
    """Return the page about the routes."""
    return b'<!doctype html><title>Routes</title><p><a href="/openapi.json">openapi.json</a>'


def openapi(plane: DataPlane, security: tuple[str, ...] = ()) -> bytes:
    """Return the OpenAPI description, with the features of the model that is served and the `security` needed."""
    return description.document(plane.served, security)
