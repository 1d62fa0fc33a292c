"""The pages for people, and the description of the routes for programs."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import msgspec

from wine_assets.inference.manifest import Feature
from wine_assets.serving.data_plane import DataPlane, Served
from wine_assets.serving.http import openapi as description

_STATIC = Path(__file__).with_name("static")
_STYLE = re.compile(r'<link rel="stylesheet" href="([\w.]+)">')
_SCRIPT = re.compile(r'<script src="([\w.]+)"></script>')
_EMPTY_BLOCK = b'<script id="model" type="application/json">null</script>'
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


class Page:
    """A page in one piece: its styles and scripts are in it, and the policy names each of them by its hash."""

    def __init__(self, name: str) -> None:
        self._hashes: dict[str, list[str]] = {"style": [], "script": []}
        text = (_STATIC / name).read_text(encoding="utf-8")
        text = _STYLE.sub(lambda found: self._inlined("style", found[1]), text)
        self.content = _SCRIPT.sub(lambda found: self._inlined("script", found[1]), text).encode()

    def sources(self, tag: str) -> list[str]:
        """Return what a policy allows of a kind, "style" or "script"."""
        return self._hashes[tag]

    def _inlined(self, tag: str, name: str) -> str:
        text = (_STATIC / name).read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        self._hashes[tag].append(f"'sha256-{digest}'")
        return f"<{tag}>{text}</{tag}>"


_INDEX, _DOCS = Page("index.html"), Page("docs.html")


def _allowed(tag: str) -> str:
    return " ".join(dict.fromkeys((*_INDEX.sources(tag), *_DOCS.sources(tag))))


_POLICY = (
    f"default-src 'none'; script-src {_allowed('script')}; style-src {_allowed('style')}; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


def index(plane: DataPlane) -> bytes:
    """Return the page at `/`, which asks the model that is served, and holds what the page says of it."""
    return _INDEX.content.replace(_EMPTY_BLOCK, _block(plane.served), 1)


def docs() -> bytes:
    """Return the page about the routes, which reads their description."""
    return _DOCS.content


def locked() -> dict[str, bytes]:
    """Return the pages by route as somebody without the token gets them: they ask for it, and tell nothing else."""
    return {"/": _INDEX.content, "/docs": _DOCS.content}


def openapi(plane: DataPlane, security: tuple[str, ...] = ()) -> bytes:
    """Return the OpenAPI description, with the features of the model that is served and the `security` needed."""
    return description.document(plane.served, security)


def _block(served: Served | None) -> bytes:
    text = msgspec.json.encode(None if served is None else _model(served)).decode()
    for character, escaped in _UNSAFE.items():
        text = text.replace(character, escaped)
    return _EMPTY_BLOCK.replace(b"null", text.encode())


def _model(served: Served) -> dict[str, Any]:
    """Return what the page knows of a model; one without a manifest has no known ranges, so no features to move."""
    known = {"name": served.name, "version": served.version, "sha256": served.sha256, "classes": served.classes}
    manifest = served.predictor.manifest
    if manifest is None:
        return known | {"features": []}
    content = manifest.content
    return known | {
        "family": content.family,
        "metrics": content.metrics,
        "published": manifest.provenance.created_at,
        "features": [_feature(feature) for feature in content.features],
    }


def _feature(feature: Feature) -> dict[str, Any]:
    return {
        "name": feature.name,
        "low": feature.low,
        "high": feature.high,
        "median": feature.median,
        "edges": feature.histogram.edges,
        "counts": feature.histogram.counts,
    }
