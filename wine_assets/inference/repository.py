"""Publishing and promoting of model versions, each verified before the champion pointer moves."""

import contextlib
import datetime as dt

import msgspec

from wine_assets.errors import ArtifactError, ConflictError, RepositoryError
from wine_assets.files import sha256_of_bytes
from wine_assets.inference import manifest as manifests
from wine_assets.inference.manifest import Content, Manifest, Provenance
from wine_assets.inference.predictor import Predictor
from wine_assets.inference.repository_reader import (
    CONFIG,
    LOG,
    MANIFEST,
    MODEL,
    MODEL_NAME,
    POINTER,
    REPORT,
    VERSIONS,
    Promotion,
    RepositoryReader,
    StoredModel,
    check_model,
    check_version,
)

_MAX_TRIES = 100


class ModelRepository(RepositoryReader):
    """The versions of one model, which can be published, promoted, rolled back and pruned.

    A version is immutable. An error while writing is raised as it is, and leaves what was there before.
    """

    def publish(self, model: bytes, content: Content, provenance: Provenance, report: bytes | None = None) -> int:
        """Verify a model and store it as the next version; return its number. The champion stays.

        Raise ArtifactError if the model does not match `content`, or does not reproduce its samples.
        """
        manifest = Manifest(content, provenance)
        encoded = manifests.encode(manifest)
        check_model(model, content, "The model")
        Predictor.of(StoredModel(0, manifest, sha256_of_bytes(encoded), model, authenticated=False))
        version = self._create({MODEL: model, MANIFEST: encoded} | ({} if report is None else {REPORT: report}))
        name = self.folder.absolute().name
        if self._read_file(CONFIG) is None and MODEL_NAME.fullmatch(name):
            self._try_replace(CONFIG, None, msgspec.json.encode({"name": name}))
        return version

    def verify(self, version: int) -> StoredModel:
        """Read a version, load it and check its samples; raise ArtifactError if anything is wrong."""
        stored = self.read(version)
        Predictor.of(stored)
        return stored

    def promote(self, version: int, *, expected: Promotion | None, by: str) -> Promotion:
        """Make a verified version the champion in place of `expected`; raise ConflictError if another one is.

        If the version is the champion already, the pointer and the log stay as they are.
        """
        return self._move_pointer(version, expected, by, rollback=False)

    def rollback(self, *, by: str) -> Promotion:
        """Make the previous champion the champion again; raise RepositoryError if there is none."""
        current, earlier = self._require_champion(), self._earlier_champions()
        if not earlier:
            raise RepositoryError(
                f"There is no champion before version {current.version} to go back to. Promote a version by its number."
            )
        return self._move_pointer(earlier[-1], current, by, rollback=True)

    def prune(self, keep: int) -> list[int]:
        """Remove all but the newest `keep` versions, the champion and the previous one; return the removed ones."""
        if keep < 1:
            raise RepositoryError(f"At least one version is kept, got keep={keep}. Give 1 or more.")
        pointer = self._read_file(POINTER)
        champion, versions = self.champion(), self.versions()
        kept = {*versions[-keep:], *self._earlier_champions()[-1:]} | ({champion.version} if champion else set())
        removed: list[int] = []
        for version in [version for version in versions if version not in kept]:
            try:
                with contextlib.suppress(FileNotFoundError):  # another process pruned it first
                    self._store.remove(f"{VERSIONS}/{version}", POINTER, pointer)
            except ConflictError:  # the champion moved, perhaps to one of these versions
                return removed + self.prune(keep)
            removed.append(version)
        return removed

    def _create(self, files: dict[str, bytes]) -> int:
        for _ in range(_MAX_TRIES):
            version = max(self.versions(), default=0) + 1
            try:
                self._store.create(f"{VERSIONS}/{version}", files)
            except FileExistsError:
                continue  # another publisher took the number
            return version
        raise ConflictError(f"Other publishers took {_MAX_TRIES} numbers in a row. Try again when they are done.")

    def _move_pointer(self, version: int, expected: Promotion | None, by: str, *, rollback: bool) -> Promotion:
        check_version(version)
        stored = self.verify(version)
        pointer = self._read_file(POINTER)
        champion = None if pointer is None else self._decode_promotion(pointer, POINTER)
        if champion != expected:
            now = f"version {champion.version} is, since {champion.at}" if champion else "there is none"
            raise ConflictError(f"The champion isn't what it was: {now}. Look at it, and promote again.")
        if champion is not None and champion.version == version:
            return champion
        history = self._complete_log(self._decode_log(self._read_file(LOG)), champion)
        promotion = Promotion(
            serial=history[-1].serial + 1 if history else 1,  # a lost or restored pointer is behind its log
            version=stored.version,
            manifest_sha256=stored.manifest_sha256,
            at=dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
            by=by,
            rollback=rollback,
        )
        if champion is not None:
            self._log(champion)  # its promoter may have been killed first, and the pointer is about to forget it
        try:
            self._store.replace(POINTER, pointer, msgspec.json.encode(promotion), f"{VERSIONS}/{version}")
        except FileNotFoundError as error:
            raise ConflictError(f"Version {version} was pruned in between. Promote one that is there.") from error
        with contextlib.suppress(OSError, ArtifactError):  # the pointer has moved; the next promoter logs it
            self._log(promotion)
        return promotion

    def _log(self, promotion: Promotion) -> None:
        """Append a promotion to the log, unless the log holds it or a later one."""
        for _ in range(_MAX_TRIES):
            content = self._read_file(LOG)
            log = self._decode_log(content)
            if log and log[-1].serial >= promotion.serial:
                return
            lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in [*log, promotion])
            if self._try_replace(LOG, content, lines):
                return

    def _earlier_champions(self) -> list[int]:
        """Return the versions that a rollback could go back to, the next one last, without pruned ones."""
        stack: list[int] = []
        for promotion in self.history():
            if promotion.rollback:
                while stack and stack[-1] != promotion.version:
                    stack.pop()
            if not stack or stack[-1] != promotion.version:
                stack.append(promotion.version)
        existing = {*self.versions()}
        return [version for version in stack[:-1] if version in existing]

    def _try_replace(self, name: str, expected: bytes | None, content: bytes) -> bool:
        """Replace a file; return False if another process replaced it first."""
        try:
            self._store.replace(name, expected, content)
        except ConflictError:
            return False
        return True
