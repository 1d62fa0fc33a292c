import json
from typing import Any

import msgspec
import pytest

from wine_assets.errors import ArtifactError
from wine_assets.inference import manifest
from wine_assets.inference.manifest import Content, Manifest, Provenance


def _encoded(content: Content, provenance: Provenance) -> bytes:
    return manifest.encode(Manifest(content, provenance))


def test_what_is_written_is_read_again(content: Content, provenance: Provenance) -> None:
    assert manifest.decode(_encoded(content, provenance)) == Manifest(content, provenance)


def test_equal_manifests_have_equal_bytes(content: Content, provenance: Provenance) -> None:
    parameters = dict(reversed(content.parameters.items()))
    again = msgspec.structs.replace(content, parameters=parameters)
    assert _encoded(again, provenance) == _encoded(content, provenance)


def test_the_hash_of_the_content_knows_nothing_of_time_and_place(content: Content) -> None:
    assert manifest.content_sha256(content) == manifest.content_sha256(msgspec.structs.replace(content))
    other = msgspec.structs.replace(content, metrics={"accuracy": 0.5})
    assert manifest.content_sha256(other) != manifest.content_sha256(content)


def test_a_manifest_of_a_later_release_is_refused_with_a_remedy(content: Content, provenance: Provenance) -> None:
    later = manifest.encode(Manifest(content, provenance, schema_version=2))
    with pytest.raises(ArtifactError, match="has schema version 2, and this release of wine-assets reads 1"):
        manifest.decode(later)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("content", "features"), "alcohol"),
        (("content", "model_bytes"), 1.5),
        (("content", "surprise"), 1),
        (("provenance", "run_id"), None),
        (("content", "parity", "tolerance"), "1e-5"),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else "",
)
def test_a_field_of_another_type_is_named(
    content: Content, provenance: Provenance, path: tuple[str, ...], value: Any
) -> None:
    parsed = json.loads(_encoded(content, provenance))
    place = parsed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ArtifactError, match=path[-1]):
        manifest.decode(json.dumps(parsed).encode())


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_what_is_no_manifest_is_refused_in_a_sentence(damaged: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"The manifest can't be read .*Publish the version again\."):
        manifest.decode(damaged)
