"""What a model version says of itself."""

from typing import Any

import msgspec

from wine_assets.errors import ArtifactError
from wine_assets.files import sha256_of_bytes

SCHEMA_VERSION = 1


class Histogram(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the values of one feature were spread in training: counts [b] between edges [b + 1]."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One feature in its place: its name, and its values in training in the unit of the data."""

    name: str
    low: float
    high: float
    median: float
    histogram: Histogram


class Parity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the exported model compares with the estimator that it came from."""

    max_difference: float
    """The largest absolute difference of a probability that was found."""
    tolerance: float
    """The largest that is accepted, here and when the samples are answered again."""
    rows: int
    batch_invariant: bool
    """Whether a row has the same bits alone, in any batch and with any number of threads."""


class Samples(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows [n, features] with the answers that were right when the model was published."""

    rows: tuple[tuple[float, ...], ...]
    labels: tuple[int, ...]
    probabilities: tuple[tuple[float, ...], ...]


class Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the version is: equal for equal inputs."""

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
    """Where the version comes from: when, by which run, from which code, on which machine, with which packages."""

    created_at: str
    """ISO 8601, in UTC."""
    run_id: str
    git_revision: str
    machine: str
    packages: dict[str, str]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file beside a model that says what the model is and where it comes from."""

    content: Content
    provenance: Provenance
    schema_version: int = SCHEMA_VERSION


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as JSON for people and machines, its keys in a fixed order."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=1)


def decode(content: bytes, what: str = "The manifest") -> Manifest:
    """Return the manifest that `encode` wrote; raise ArtifactError, which calls it `what`, for anything else."""
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise ArtifactError(f"{what} can't be read ({error}). Publish the version again.") from error
    if manifest.schema_version != SCHEMA_VERSION:
        raise ArtifactError(
            f"{what} has schema version {manifest.schema_version}, and this release of wine-assets reads "
            f"{SCHEMA_VERSION}. Install the release that published it, or publish the version again."
        )
    return manifest


def content_sha256(content: Content) -> str:
    """Return a hash that is equal for equal contents, whenever and wherever they were made."""
    return sha256_of_bytes(msgspec.json.encode(content, order="deterministic"))
