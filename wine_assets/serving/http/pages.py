"""The HTML pages: each is one document that contains its styles and scripts."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import msgspec

from wine_assets.serving.data_plane import LoadedModel

_STATIC = Path(__file__).with_name("static")
_STYLE = re.compile(r'<link rel="stylesheet" href="([\w.]+)">')
_SCRIPT = re.compile(r'<script src="([\w.]+)"></script>')
_EMPTY_BLOCK = b'<script id="model" type="application/json">null</script>'
_HTML_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


class Page:
    """A page with inline styles and scripts, whose hashes the Content-Security-Policy allows."""

    def __init__(self, name: str) -> None:
        self.hashes: dict[str, list[str]] = {"style": [], "script": []}
        text = (_STATIC / name).read_text(encoding="utf-8")
        text = _STYLE.sub(lambda match: self._inline("style", match[1]), text)
        self.content = _SCRIPT.sub(lambda match: self._inline("script", match[1]), text).encode()

    def _inline(self, tag: str, name: str) -> str:
        text = (_STATIC / name).read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        self.hashes[tag].append(f"'sha256-{digest}'")
        return f"<{tag}>{text}</{tag}>"


_INDEX, _DOCS = Page("index.html"), Page("docs.html")
_SOURCES = {tag: " ".join(dict.fromkeys((*_INDEX.hashes[tag], *_DOCS.hashes[tag]))) for tag in ("script", "style")}
_POLICY = (
    f"default-src 'none'; script-src {_SOURCES['script']}; style-src {_SOURCES['style']}; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


def index(model: LoadedModel | None) -> bytes:
    """Return the page at `/`: a form for predictions, and a description of the loaded model."""
    text = msgspec.json.encode(None if model is None else _describe(model)).decode()
    for character, escape in _HTML_ESCAPES.items():
        text = text.replace(character, escape)
    return _INDEX.content.replace(_EMPTY_BLOCK, _EMPTY_BLOCK.replace(b"null", text.encode()), 1)


def docs() -> bytes:
    """Return the page about the routes, which reads their description."""
    return _DOCS.content


def without_token(path: str) -> bytes | None:
    """Return a page that asks for the token and contains nothing about the model, None if the path has no page."""
    return {"/": _INDEX.content, "/docs": _DOCS.content}.get(path)


def _describe(model: LoadedModel) -> dict[str, Any]:
    """Return what the page shows of a model; without a manifest, the ranges of the features are unknown."""
    description = {"name": model.name, "version": model.version, "sha256": model.sha256, "classes": model.classes}
    manifest = model.predictor.manifest
    if manifest is None:
        return description | {"features": []}
    content = manifest.content
    features = [
        {
            "name": feature.name,
            "low": feature.low,
            "high": feature.high,
            "median": feature.median,
            "edges": feature.histogram.edges,
            "counts": feature.histogram.counts,
        }
        for feature in content.features
    ]
    return description | {
        "family": content.family,
        "metrics": content.metrics,
        "published": manifest.provenance.created_at,
        "features": features,
    }
