"""Versions of a model: published whole, and served by moving one pointer."""

import contextlib
import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec

from wine_assets.errors import ArtifactError, ConflictError, RepositoryError
from wine_assets.files import sha256_of_bytes
from wine_assets.inference import manifest as manifests
from wine_assets.inference.manifest import Content, Manifest, Provenance
from wine_assets.inference.predictor import Predictor
from wine_assets.inference.store import LocalStore, Store

CONFIG, POINTER, LOG, VERSIONS = "config.json", "champion", "champion.log", "versions"
MODEL, MANIFEST, REPORT = "model.onnx", "manifest.json", "report.html"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
_NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_LARGEST = 999_999_999
_TRIES = 100


class Promotion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A move of the pointer: which version became champion, when, and by whose hand."""

    serial: int
    version: int
    manifest_sha256: str
    """Of the version's manifest, which holds that of the model: the pointer vouches for both."""
    at: str
    """ISO 8601, in UTC."""
    by: str
    rollback: bool = False


class StoredModel(msgspec.Struct, frozen=True):
    """A version as it was read, with checksums that fit."""

    version: int
    manifest: Manifest
    manifest_sha256: str
    model: bytes
    authenticated: bool
    """Whether the pointer or its log vouches for the manifest."""


class ModelRepository:
    """The versions of one model, its champion, and how that came to be; reading never changes anything.

    A version is immutable. Errors of the file system that keep something from being read are ArtifactErrors; those
    of writing are raised as they are, and what was there stays as it was.
    """

    def __init__(self, folder: Path | str, store: Store | None = None) -> None:
        self.folder = Path(folder)
        self._store = store or LocalStore(self.folder)

    @classmethod
    def named(cls, folder: Path | str, name: str) -> Self:
        """Return the repository of the model `name` among those in `folder`; raise RepositoryError for other names."""
        if not _NAME.fullmatch(name):
            raise RepositoryError(
                f"{name[:60]!r} can't be the name of a model. Use up to 63 lower-case letters, digits, '_' and '-', "
                "with a letter or digit first."
            )
        return cls(Path(folder) / name)

    @property
    def name(self) -> str:
        """The name that the model is served under."""
        content = self._optional(CONFIG)
        if content is None:
            return self.folder.absolute().name
        try:
            name = msgspec.json.decode(content, type=dict[str, str])["name"]
        except (msgspec.MsgspecError, KeyError, RecursionError, ValueError) as error:
            raise ArtifactError(f'{self._at(CONFIG)} must hold {{"name": ...}} ({error}). Write it again.') from error
        if not _NAME.fullmatch(name):
            raise ArtifactError(f"{self._at(CONFIG)} names the model {name[:60]!r}, which can't be a name. Change it.")
        return name

    def publish(self, model: bytes, content: Content, provenance: Provenance, report: bytes | None = None) -> int:
        """Check a model and make it the next version, which nobody serves yet; return its number.

        Raise ArtifactError for a model that isn't what `content` says of it, or doesn't answer its samples.
        """
        manifest = Manifest(content, provenance)
        encoded = manifests.encode(manifest)
        _check_model(model, content, "The model")
        Predictor.of(StoredModel(0, manifest, sha256_of_bytes(encoded), model, authenticated=False))
        files = {MODEL: model, MANIFEST: encoded} | ({REPORT: report} if report is not None else {})
        version = self._create(files)
        if self._optional(CONFIG) is None:
            self._name_it()
        return version

    def versions(self) -> list[int]:
        """Return the numbers of all versions, ascending."""
        return sorted(int(name) for name in self._names(VERSIONS) if _NUMBER.fullmatch(name))

    def champion(self) -> Promotion | None:
        """Return what the pointer says, None when there is none; raise ArtifactError when it is damaged."""
        content = self._optional(POINTER)
        return None if content is None else self._promotion(content, POINTER)

    def history(self) -> list[Promotion]:
        """Return every move of the pointer, oldest first."""
        content = self._optional(POINTER)
        return self._known(self._logged(self._optional(LOG)), content)

    def read(self, version: int | None = None) -> StoredModel:
        """Return a version, or the champion, with all checksums compared.

        Raise RepositoryError when there is none, ArtifactError when a file is missing or not as it was published.
        """
        if version is not None:
            vouched = {promotion.version: promotion.manifest_sha256 for promotion in self.history()}
            return self._read(_checked(version), vouched.get(version))
        promotion = self._require_champion()
        try:
            return self._read(promotion.version, promotion.manifest_sha256)
        except (ArtifactError, RepositoryError):
            moved = self.champion()  # and the version pruned, since the pointer was read
            if moved is None or moved == promotion:
                raise
            return self._read(moved.version, moved.manifest_sha256)

    def report(self, version: int) -> bytes | None:
        """Return the page about a version, None where it was published without."""
        return self._optional(f"{VERSIONS}/{_checked(version)}/{REPORT}")

    def verify(self, version: int) -> StoredModel:
        """Read a version, load it and have it answer its samples; raise ArtifactError when anything is amiss."""
        stored = self.read(version)
        Predictor.of(stored)
        return stored

    def promote(self, version: int, *, expected: Promotion | None, by: str) -> Promotion:
        """Make a verified version the champion in place of `expected`; raise ConflictError if another one is.

        Nothing moves, and nothing is logged, where the version is the champion already.
        """
        return self._move(version, expected, by, rollback=False)

    def rollback(self, *, by: str) -> Promotion:
        """Make the version champion again that was it before; raise RepositoryError when there is none."""
        current, earlier = self._require_champion(), self._earlier()
        if not earlier:
            raise RepositoryError(
                f"There is no champion before version {current.version} to go back to. Promote a version by its number."
            )
        return self._move(earlier[-1], current, by, rollback=True)

    def prune(self, keep: int) -> list[int]:
        """Remove all but the newest `keep` versions, the champion and the one before it; return what was removed."""
        if keep < 1:
            raise RepositoryError(f"At least one version is kept, got keep={keep}. Give 1 or more.")
        pointer = self._optional(POINTER)
        champion, versions = self.champion(), self.versions()
        kept = {*versions[-keep:], *self._earlier()[-1:]} | ({champion.version} if champion else set())
        removed: list[int] = []
        for version in [version for version in versions if version not in kept]:
            try:
                with contextlib.suppress(FileNotFoundError):  # another pruner was first
                    self._store.remove(f"{VERSIONS}/{version}", POINTER, pointer)
            except ConflictError:  # the champion moved, perhaps to one of these
                return removed + self.prune(keep)
            removed.append(version)
        return removed

    def _create(self, files: dict[str, bytes]) -> int:
        for _ in range(_TRIES):
            version = max(self.versions(), default=0) + 1
            try:
                self._store.create(f"{VERSIONS}/{version}", files)
            except FileExistsError:
                continue  # another publisher took the number
            return version
        raise ConflictError(f"Other publishers took {_TRIES} numbers in a row. Try again when they are done.")

    def _name_it(self) -> None:
        name = self.folder.absolute().name
        if _NAME.fullmatch(name):
            _unless_done(lambda: self._store.replace(CONFIG, None, msgspec.json.encode({"name": name})))

    def _move(self, version: int, expected: Promotion | None, by: str, *, rollback: bool) -> Promotion:
        stored = self.verify(_checked(version))
        before = self._optional(POINTER)
        found = None if before is None else self._promotion(before, POINTER)
        if found != expected:
            now = f"version {found.version} is, since {found.at}" if found else "there is none"
            raise ConflictError(f"The champion isn't what it was: {now}. Look at it, and promote again.")
        if found is not None and found.version == version:
            return found
        known = self._known(self._logged(self._optional(LOG)), before)
        moved = Promotion(
            serial=known[-1].serial + 1 if known else 1,  # a pointer that was lost or restored is behind its log
            version=stored.version,
            manifest_sha256=stored.manifest_sha256,
            at=dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
            by=by,
            rollback=rollback,
        )
        self._log(found)  # a mover that was killed may not have; the pointer is about to forget
        try:
            self._store.replace(POINTER, before, msgspec.json.encode(moved), f"{VERSIONS}/{version}")
        except FileNotFoundError as error:
            raise ConflictError(f"Version {version} was pruned in between. Promote one that is there.") from error
        with contextlib.suppress(OSError, ArtifactError):  # it has moved; the next mover logs it, or doesn't move
            self._log(moved)
        return moved

    def _log(self, move: Promotion | None) -> None:
        """Add a move to the log, unless it is there."""
        for _ in range(_TRIES):
            before = self._optional(LOG)
            logged = self._logged(before)
            if move is None or (logged and logged[-1].serial >= move.serial):
                return
            content = b"".join(msgspec.json.encode(promotion) + b"\n" for promotion in [*logged, move])
            if _unless_done(lambda before=before, content=content: self._store.replace(LOG, before, content)):  # type: ignore[misc]
                return

    def _earlier(self) -> list[int]:
        """Return the versions that a rollback could go back to, the last one first in line, pruned ones left out."""
        stack: list[int] = []
        for promotion in self.history():
            if promotion.rollback:
                while stack and stack[-1] != promotion.version:
                    stack.pop()
            if not stack or stack[-1] != promotion.version:
                stack.append(promotion.version)
        there = {*self.versions()}
        return [version for version in stack[:-1] if version in there]

    def _read(self, version: int, vouched: str | None) -> StoredModel:
        folder = f"{VERSIONS}/{version}"
        if not self._names(folder):
            listed = ", ".join(map(str, self.versions())) or "none"
            raise RepositoryError(f"{self.folder} has no version {version}. Its versions are: {listed}.")
        encoded, model = self._required(f"{folder}/{MANIFEST}"), self._required(f"{folder}/{MODEL}")
        digest = sha256_of_bytes(encoded)
        if vouched is not None and digest != vouched:
            raise ArtifactError(
                f"{self._at(folder)}/{MANIFEST} isn't what was promoted (SHA-256 {digest}, not {vouched}). "
                "Roll back, or publish and promote again."
            )
        manifest = manifests.decode(encoded, f"{self._at(folder)}/{MANIFEST}")
        _check_model(model, manifest.content, f"{self._at(folder)}/{MODEL}")
        return StoredModel(version, manifest, digest, model, authenticated=vouched is not None)

    def _require_champion(self) -> Promotion:
        champion = self.champion()
        if champion is None:
            raise RepositoryError(f"{self.folder} has no champion. Publish and promote a version: make run does both.")
        return champion

    def _logged(self, content: bytes | None) -> list[Promotion]:
        return [self._promotion(line, LOG) for line in (content or b"").splitlines()]

    def _known(self, logged: list[Promotion], pointer: bytes | None) -> list[Promotion]:
        """Return the logged moves, and the pointer's own where its mover was killed before it logged it."""
        if pointer is None:
            return logged
        newest = self._promotion(pointer, POINTER)
        return logged if logged and logged[-1].serial >= newest.serial else [*logged, newest]

    def _promotion(self, content: bytes, name: str) -> Promotion:
        try:
            return msgspec.json.decode(content, type=Promotion)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise ArtifactError(
                f"{self._at(name)} can't be read ({error}). Restore it, or remove it and promote a version again."
            ) from error

    def _optional(self, name: str) -> bytes | None:
        try:
            return self._store.read(name)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(name, error) from error

    def _names(self, folder: str) -> list[str]:
        try:
            return self._store.names(folder)
        except OSError as error:
            raise self._unreadable(folder, error) from error

    def _required(self, name: str) -> bytes:
        content = self._optional(name)
        if content is None:
            raise ArtifactError(f"{self._at(name)} is missing. Publish the version again.")
        return content

    def _unreadable(self, name: str, error: OSError) -> ArtifactError:
        return ArtifactError(f"{self._at(name)} can't be read ({error.strerror}). Check it, and who may read it.")

    def _at(self, name: str) -> str:
        return f"{self.folder}/{name}"


def _checked(version: Any) -> int:
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= _LARGEST:
        raise RepositoryError(f"A version is a whole number from 1, got {str(version)[:60]!r}.")
    return version


def _check_model(model: bytes, content: Content, what: str) -> None:
    digest = sha256_of_bytes(model)
    if (digest, len(model)) != (content.model_sha256, content.model_bytes):
        raise ArtifactError(
            f"{what} has {len(model)} bytes and the SHA-256 {digest}, and its manifest says {content.model_bytes} and "
            f"{content.model_sha256}. Publish it again."
        )


def _unless_done(write: Callable[[], None]) -> bool:
    """Return whether a write was made that somebody else may have made first."""
    try:
        write()
    except ConflictError:
        return False
    return True
