"""Reading of a model repository: its versions, its champion, and the log of promotions."""

import re
from pathlib import Path
from typing import Any, Self

import msgspec

from wine_assets.errors import ArtifactError, RepositoryError
from wine_assets.files import sha256_of_bytes
from wine_assets.inference import manifest as manifests
from wine_assets.inference.manifest import Content, Manifest
from wine_assets.inference.store import LocalStore, Store

CONFIG, POINTER, LOG, VERSIONS = "config.json", "champion", "champion.log", "versions"
MODEL, MANIFEST, REPORT = "model.onnx", "manifest.json", "report.html"
MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
_VERSION_NAME = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_MAX_VERSION = 999_999_999


class Promotion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A move of the pointer: which version became champion, when, and by whose hand."""

    serial: int
    version: int
    manifest_sha256: str
    """SHA-256 of the version's manifest. The manifest holds that of the model, so the pointer vouches for both."""
    at: str
    """ISO 8601, in UTC."""
    by: str
    rollback: bool = False


class StoredModel(msgspec.Struct, frozen=True):
    """A version as it was read, with verified checksums."""

    version: int
    manifest: Manifest
    manifest_sha256: str
    model: bytes
    authenticated: bool
    """Whether the pointer or its log vouches for the manifest."""


class RepositoryReader:
    """The versions of one model, its champion, and the history of champions.

    Reading never changes a file. An error of the file system becomes an ArtifactError.
    """

    def __init__(self, folder: Path | str, store: Store | None = None) -> None:
        self.folder = Path(folder)
        self._store = store or LocalStore(self.folder)

    @classmethod
    def named(cls, folder: Path | str, name: str) -> Self:
        """Return the repository of the model `name` in `folder`; raise RepositoryError for an invalid name."""
        if not MODEL_NAME.fullmatch(name):
            raise RepositoryError(
                f"{name[:60]!r} can't be the name of a model. Use up to 63 lower-case letters, digits, '_' and '-', "
                "with a letter or digit first."
            )
        return cls(Path(folder) / name)

    @property
    def name(self) -> str:
        """The name that the model is served under."""
        content = self._read_file(CONFIG)
        if content is None:
            return self.folder.absolute().name
        path = self._path(CONFIG)
        try:
            name = msgspec.json.decode(content, type=dict[str, str])["name"]
        except (msgspec.MsgspecError, KeyError, RecursionError, ValueError) as error:
            raise ArtifactError(f'{path} must hold {{"name": ...}} ({error}). Write it again.') from error
        if not MODEL_NAME.fullmatch(name):
            raise ArtifactError(f"{path} names the model {name[:60]!r}, which can't be a name. Change it.")
        return name

    def versions(self) -> list[int]:
        """Return the numbers of all versions, ascending."""
        return sorted(int(name) for name in self._list(VERSIONS) if _VERSION_NAME.fullmatch(name))

    def champion(self) -> Promotion | None:
        """Return what the pointer says, None if there is none; raise ArtifactError if it is damaged."""
        content = self._read_file(POINTER)
        return None if content is None else self._decode_promotion(content, POINTER)

    def history(self) -> list[Promotion]:
        """Return every move of the pointer, oldest first."""
        champion = self.champion()  # before the log, which is written after the pointer
        return self._complete_log(self._decode_log(self._read_file(LOG)), champion)

    def read(self, version: int | None = None) -> StoredModel:
        """Return a version, or the champion, and verify all its checksums.

        Raise RepositoryError if there is none, ArtifactError if a file is missing or was changed.
        """
        if version is not None:
            check_version(version)
            vouched = {promotion.version: promotion.manifest_sha256 for promotion in self.history()}
            return self._read_version(version, vouched.get(version))
        promotion = self._require_champion()
        try:
            return self._read_version(promotion.version, promotion.manifest_sha256)
        except (ArtifactError, RepositoryError):
            current = self.champion()
            if current is None or current == promotion:
                raise
            # The pointer moved and the version was pruned after the pointer was read.
            return self._read_version(current.version, current.manifest_sha256)

    def report(self, version: int) -> bytes | None:
        """Return the report of a version, None if it was published without one."""
        check_version(version)
        return self._read_file(f"{VERSIONS}/{version}/{REPORT}")

    def _read_version(self, version: int, manifest_sha256: str | None) -> StoredModel:
        folder = f"{VERSIONS}/{version}"
        if not self._list(folder):
            listed = ", ".join(map(str, self.versions())) or "none"
            raise RepositoryError(f"{self.folder} has no version {version}. Its versions are: {listed}.")
        encoded, model = self._require_file(f"{folder}/{MANIFEST}"), self._require_file(f"{folder}/{MODEL}")
        digest = sha256_of_bytes(encoded)
        if manifest_sha256 is not None and digest != manifest_sha256:
            raise ArtifactError(
                f"{self._path(folder)}/{MANIFEST} isn't what was promoted (SHA-256 {digest}, not {manifest_sha256}). "
                "Roll back, or publish and promote again."
            )
        manifest = manifests.decode(encoded, f"{self._path(folder)}/{MANIFEST}")
        check_model(model, manifest.content, f"{self._path(folder)}/{MODEL}")
        return StoredModel(version, manifest, digest, model, authenticated=manifest_sha256 is not None)

    def _require_champion(self) -> Promotion:
        champion = self.champion()
        if champion is None:
            raise RepositoryError(f"{self.folder} has no champion. Publish and promote a version: make run does both.")
        return champion

    def _decode_log(self, content: bytes | None) -> list[Promotion]:
        return [self._decode_promotion(line, LOG) for line in (content or b"").splitlines()]

    @staticmethod
    def _complete_log(log: list[Promotion], champion: Promotion | None) -> list[Promotion]:
        """Add the pointer's own move if its promoter was killed before it logged the move."""
        if champion is None or (log and log[-1].serial >= champion.serial):
            return log
        return [*log, champion]

    def _decode_promotion(self, content: bytes, name: str) -> Promotion:
        try:
            return msgspec.json.decode(content, type=Promotion)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise ArtifactError(
                f"{self._path(name)} can't be read ({error}). Restore it, or remove it and promote a version again."
            ) from error

    def _read_file(self, name: str) -> bytes | None:
        """Return a file's content, None if there is no such file."""
        try:
            return self._store.read(name)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(name, error) from error

    def _require_file(self, name: str) -> bytes:
        content = self._read_file(name)
        if content is None:
            raise ArtifactError(f"{self._path(name)} is missing. Publish the version again.")
        return content

    def _list(self, folder: str) -> list[str]:
        try:
            return self._store.names(folder)
        except OSError as error:
            raise self._unreadable(folder, error) from error

    def _unreadable(self, name: str, error: OSError) -> ArtifactError:
        return ArtifactError(f"{self._path(name)} can't be read ({error.strerror}). Check it, and who may read it.")

    def _path(self, name: str) -> str:
        return f"{self.folder}/{name}"


def check_version(version: Any) -> None:
    """Raise RepositoryError unless `version` can be the number of a version."""
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= _MAX_VERSION:
        raise RepositoryError(f"A version is a whole number from 1, got {str(version)[:60]!r}.")


def check_model(model: bytes, content: Content, subject: str) -> None:
    """Raise ArtifactError, which begins with `subject`, unless a model has the checksum that its manifest says."""
    digest = sha256_of_bytes(model)
    if (digest, len(model)) != (content.model_sha256, content.model_bytes):
        raise ArtifactError(
            f"{subject} has {len(model)} bytes and the SHA-256 {digest}, and its manifest says {content.model_bytes} "
            f"and {content.model_sha256}. Publish it again."
        )
