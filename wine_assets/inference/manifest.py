"""The manifest of a model version: its content and its provenance."""

from typing import Any

import msgspec

from wine_assets.errors import ArtifactError
from wine_assets.files import sha256_of_bytes

SCHEMA_VERSION = 1


class Histogram(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Distribution of one feature in training: counts [b] between edges [b + 1]."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column of the input: its name, and its values in training in the unit of the data."""

    name: str
    low: float
    high: float
    median: float
    histogram: Histogram


class Parity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Comparison of the exported model with the estimator that it came from."""

    max_difference: float
    """The largest measured difference of a probability, absolute."""
    tolerance: float
    """The largest accepted difference, in this comparison and whenever the samples are checked."""
    rows: int
    batch_invariant: bool
    """Whether a row gets the same bits alone, in any batch, and with any number of threads."""


class Samples(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows [n, features] with the predictions of the model at the time of publishing."""

    rows: tuple[tuple[float, ...], ...]
    labels: tuple[int, ...]
    probabilities: tuple[tuple[float, ...], ...]


class Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The part of the manifest that is equal for equal inputs."""

    features: tuple[Feature, ...]
    classes: tuple[int, ...]
    family: str
    parameters: dict[str, Any]
    data_fingerprint: str
    metrics: dict[str, float]
    parity: Parity
    samples: Samples
    model_sha256: str
    model_bytes: int


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Origin of a version: time, run, code, machine and packages."""

    created_at: str
    """ISO 8601, in UTC."""
    run_id: str
    git_revision: str
    machine: str
    packages: dict[str, str]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file beside a model that describes its content and its origin."""

    content: Content
    provenance: Provenance
    schema_version: int = SCHEMA_VERSION


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as indented JSON with its keys in a fixed order."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=1)


def decode(content: bytes, subject: str = "The manifest") -> Manifest:
    """Return the manifest that `encode` wrote; raise ArtifactError, which begins with `subject`, if it is invalid."""
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise ArtifactError(f"{subject} can't be read ({error}). Publish the version again.") from error
    if manifest.schema_version != SCHEMA_VERSION:
        raise ArtifactError(
            f"{subject} has schema version {manifest.schema_version}, and this release of wine-assets reads "
            f"{SCHEMA_VERSION}. Install the release that published it, or publish the version again."
        )
    return manifest


def content_sha256(content: Content) -> str:
    """Return a hash that is equal for equal contents on every machine."""
    return sha256_of_bytes(msgspec.json.encode(content, order="deterministic"))
