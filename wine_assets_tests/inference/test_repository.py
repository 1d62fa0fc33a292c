import errno
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from wine_assets.errors import ArtifactError, ConflictError, RepositoryError
from wine_assets.inference import ModelRepository, Predictor
from wine_assets.inference.store import LocalStore
from wine_assets_tests.support.published_models import PROVENANCE, Publishable, publishable


def _promote(repository: ModelRepository, version: int) -> None:
    repository.promote(version, expected=repository.champion(), by="a test")


@pytest.fixture
def three(repository: ModelRepository) -> ModelRepository:
    """A repository of three versions, each of which was champion."""
    for C in (1.0, 0.01, 0.1):
        publishable(C).release(repository)
    return repository


# --- publishing


def test_a_published_version_is_there_and_served_by_nobody(repository: ModelRepository, first: Publishable) -> None:
    assert first.publish(repository) == 1
    assert (repository.versions(), repository.champion(), repository.history()) == ([1], None, [])
    stored = repository.read(1)
    assert (stored.model, stored.manifest.content, stored.authenticated) == (first.model, first.content, False)
    assert repository.report(1) == b"<!doctype html>"
    with pytest.raises(RepositoryError, match="has no champion"):
        repository.read()


def test_version_numbers_are_not_reused(three: ModelRepository) -> None:
    """Versions are numbered from one, and numbers of removed versions are not reused."""
    three.prune(1)
    assert publishable(1.0).publish(three) == 4
    assert three.versions() == [2, 3, 4]


def test_publishers_at_the_same_time_get_a_number_each(repository: ModelRepository, first: Publishable) -> None:
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: first.publish(ModelRepository(repository.folder)), range(24)))
    assert sorted(numbers) == repository.versions() == list(range(1, 25))
    assert {path.name for path in (repository.folder / "versions").iterdir()} == {str(n) for n in numbers}


def test_model_that_contradicts_its_manifest(
    repository: ModelRepository, first: Publishable, second: Publishable
) -> None:
    """A model that does not match its manifest is not published."""
    samples = msgspec.structs.replace(first.content, samples=second.content.samples)
    for content, sentence in ((second.content, "its manifest says"), (samples, "doesn't answer the samples")):
        with pytest.raises(ArtifactError, match=sentence):
            repository.publish(first.model, content, PROVENANCE)
    assert not repository.folder.exists()


def test_the_served_name_stays_when_the_folder_is_moved(released: ModelRepository) -> None:
    moved = ModelRepository(released.folder.rename(released.folder.with_name("other")))
    assert (moved.name, ModelRepository("/nowhere/red_wine").name) == ("wine", "red_wine")
    (moved.folder / "config.json").write_text('{"name": "../wine"}')
    with pytest.raises(ArtifactError, match=r"names the model '\.\./wine', which can't be a name"):
        _ = moved.name
    (moved.folder / "config.json").write_text("[]")
    with pytest.raises(ArtifactError, match=r'must hold \{"name": \.\.\.\}'):
        _ = moved.name


def test_a_version_may_have_no_report(repository: ModelRepository, first: Publishable) -> None:
    assert repository.report(first.publish(repository, report=None)) is None


# --- promoting


def test_the_champion_is_what_was_promoted_last(three: ModelRepository) -> None:
    assert three.read().version == 3
    assert three.read().manifest.content.parameters["C"] == 0.1
    assert [(move.serial, move.version) for move in three.history()] == [(1, 1), (2, 2), (3, 3)]
    assert all(three.read(number).authenticated for number in three.versions())


def test_promoting_the_champion_moves_nothing(three: ModelRepository) -> None:
    before, log = three.champion(), three.history()
    assert three.promote(3, expected=before, by="a test") == before
    assert three.history() == log


def test_outdated_promotion_is_rejected(three: ModelRepository) -> None:
    """A promotion that expects another champion is rejected and changes nothing."""
    seen = three.champion()
    _promote(three, 1)
    now, log = three.champion(), three.history()
    with pytest.raises(ConflictError, match=r"The champion isn't what it was: version 1 is, since 20"):
        three.promote(2, expected=seen, by="a test")
    with pytest.raises(ConflictError):
        three.promote(2, expected=None, by="a test")
    assert (three.champion(), three.history()) == (now, log)


def test_of_promoters_at_the_same_time_one_wins(three: ModelRepository) -> None:
    seen = three.champion()

    def promote(version: int) -> int | None:
        try:
            return ModelRepository(three.folder).promote(version, expected=seen, by="a test").version
        except ConflictError:
            return None

    with ThreadPoolExecutor(8) as pool:
        winners = [version for version in pool.map(promote, [1, 2] * 8) if version]
    champion = three.champion()
    assert champion is not None
    assert winners == [champion.version]
    assert [move.serial for move in three.history()] == [1, 2, 3, 4]


def test_missing_or_damaged_version_is_no_champion(three: ModelRepository) -> None:
    """A missing or damaged version is never promoted."""
    before = three.champion()
    (three.folder / "versions" / "1" / "model.onnx").write_bytes(b"")
    for version, kind in ((1, ArtifactError), (9, RepositoryError), (0, RepositoryError), (True, RepositoryError)):
        with pytest.raises(kind):
            _promote(three, version)
    assert three.champion() == before


def test_promotion_killed_before_its_log_entry(three: ModelRepository) -> None:
    """A promotion whose process was killed before its log entry is logged by the next one."""
    log = three.folder / "champion.log"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
    assert [move.serial for move in three.history()] == [1, 2, 3]
    _promote(three, 1)
    assert [json.loads(line)["serial"] for line in log.read_bytes().splitlines()] == [1, 2, 3, 4]


def test_promotion_that_cannot_be_logged(three: ModelRepository) -> None:
    """A promotion whose log entry fails is valid, and the next promotion logs it."""
    log = three.folder / "champion.log"
    whole = log.read_bytes()

    class Unlogged(LocalStore):
        def replace(self, name: str, expected: bytes | None, content: bytes, needs: str = "") -> None:
            if name == log.name:
                raise OSError(errno.ENOSPC, "No space left on device", str(log))
            super().replace(name, expected, content, needs)

    full = ModelRepository(three.folder, Unlogged(three.folder))
    moved = full.promote(1, expected=full.champion(), by="a test")
    assert (moved, log.read_bytes()) == (three.champion(), whole)
    assert [move.serial for move in full.history()] == [1, 2, 3, 4]
    with pytest.raises(OSError, match="No space left"):
        full.promote(2, expected=moved, by="a test")
    assert three.champion() == moved, "a move that would make the pointer forget is not made"
    _promote(three, 2)
    assert [json.loads(line)["serial"] for line in log.read_bytes().splitlines()] == [1, 2, 3, 4, 5]


def test_pruning_races_with_promotion(
    three: ModelRepository,
) -> None:
    """A version that becomes champion is not pruned, and a pruned version can't become it.

    Each of the two looks at what the other changes under one lock, at whichever moment the other comes.
    """

    class Between(LocalStore):
        """Lets somebody else act just before a folder is removed, or a pointer replaced."""

        def remove(self, folder: str, name: str, expected: bytes | None) -> None:
            if three.champion() == before:
                _promote(three, 1)
            super().remove(folder, name, expected)

        def replace(self, name: str, expected: bytes | None, content: bytes, needs: str = "") -> None:
            if needs:
                shutil.rmtree(self.root / needs)
            super().replace(name, expected, content, needs)

    before = three.champion()
    other = ModelRepository(three.folder, Between(three.folder))
    other.prune(1)
    champion = three.champion()
    assert champion is not None
    assert champion.version == 1
    assert three.verify(1)
    left = next(version for version in three.versions() if version != 1)
    with pytest.raises(ConflictError, match=f"Version {left} was pruned in between. Promote one that is there."):
        other.promote(left, expected=champion, by="a test")
    assert three.champion() == champion


# --- going back


def test_a_rollback_goes_back_one_champion_each_time(three: ModelRepository) -> None:
    assert [three.rollback(by="a test").version for _ in range(2)] == [2, 1]
    with pytest.raises(RepositoryError, match="There is no champion before version 1 to go back to"):
        three.rollback(by="a test")
    assert [move.rollback for move in three.history()] == [False, False, False, True, True]


def test_rollback_after_a_rollback(three: ModelRepository) -> None:
    """A promotion after a rollback can be rolled back as well."""
    three.rollback(by="a test")
    _promote(three, 3)
    _promote(three, 1)
    assert [three.rollback(by="a test").version for _ in range(3)] == [3, 2, 1]


def test_there_is_nothing_to_go_back_to_in_an_empty_repository(repository: ModelRepository) -> None:
    with pytest.raises(RepositoryError, match="has no champion"):
        repository.rollback(by="a test")


# --- pruning


def test_the_champion_and_the_one_before_it_are_never_removed(three: ModelRepository) -> None:
    for _ in range(3):
        publishable(1.0).publish(three)
    assert three.prune(2) == [1, 4]
    assert three.versions() == [2, 3, 5, 6]
    assert three.rollback(by="a test").version == 2


def test_the_newest_versions_stay(repository: ModelRepository, first: Publishable) -> None:
    for _ in range(4):
        first.publish(repository)
    assert repository.prune(3) == [1]
    assert repository.prune(3) == []
    with pytest.raises(RepositoryError, match=r"At least one version is kept, got keep=0"):
        repository.prune(0)


def test_what_another_pruner_has_removed_is_no_error(
    repository: ModelRepository, first: Publishable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have seen the same versions, and one of them comes to each first."""
    for _ in range(3):
        first.publish(repository)
    seen, other = repository.versions(), ModelRepository(repository.folder)
    assert other.prune(1) == [1, 2]
    monkeypatch.setattr(repository, "versions", lambda: seen)
    assert repository.prune(1) == [1, 2]
    assert other.versions() == [3]


def test_champion_pruned_while_it_is_read(three: ModelRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the champion moves and is pruned during a read, the new champion is read.

    The reader has seen the pointer, and then the version it named is gone.
    """
    reader, seen = ModelRepository(three.folder), three.champion()
    answers = [seen]
    original = ModelRepository.champion
    monkeypatch.setattr(
        ModelRepository, "champion", lambda self: answers.pop() if self is reader and answers else original(self)
    )
    _promote(three, 1)
    _promote(three, 2)
    three.prune(1)
    shutil.rmtree(three.folder / "versions" / "3")
    assert reader.read().version == 2


# --- reading


def test_reading_an_empty_repository_makes_nothing(tmp_path: Path) -> None:
    empty = ModelRepository(tmp_path / "nothing")
    assert (empty.versions(), empty.champion(), empty.history(), empty.name) == ([], None, [], "nothing")
    with pytest.raises(RepositoryError, match=r"has no version 1\. Its versions are: none\."):
        empty.read(1)
    assert not (tmp_path / "nothing").exists()


def test_a_version_is_verified_by_its_answers(released: ModelRepository) -> None:
    assert released.verify(1).version == 1


def test_a_file_that_is_missing_is_named(released: ModelRepository) -> None:
    (released.folder / "versions" / "1" / "model.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"versions/1/model\.onnx is missing\. Publish the version again\."):
        Predictor.load(released.folder)


def test_what_the_system_refuses_to_read_is_named(released: ModelRepository) -> None:
    pointer = released.folder / "champion"
    pointer.unlink()
    pointer.mkdir()
    with pytest.raises(ArtifactError, match=r"champion can't be read \(Is a directory\)\."):
        released.champion()
    versions = released.folder / "versions"
    versions.rename(released.folder / "elsewhere")
    versions.write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"versions can't be read \(Not a directory\)\."):
        released.versions()


def test_a_version_whose_folder_can_not_be_read_is_named(released: ModelRepository) -> None:
    version = released.folder / "versions" / "1"
    version.rename(released.folder / "elsewhere")
    version.write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"versions/1 can't be read \(Not a directory\)\."):
        released.read()


def test_a_manifest_that_can_not_be_read_is_named(released: ModelRepository, second: Publishable) -> None:
    second.publish(released)
    (released.folder / "versions" / "2" / "manifest.json").write_bytes(b"{")
    with pytest.raises(ArtifactError, match=r"versions/2/manifest\.json can't be read .*Publish the version again\."):
        released.read(2)


@pytest.mark.parametrize("damaged", [b"", b"{}", b"[]", b'{"name": "\xff"}', b"[" * 100_000])
def test_a_name_that_can_not_be_read_is_refused_in_a_sentence(released: ModelRepository, damaged: bytes) -> None:
    (released.folder / "config.json").write_bytes(damaged)
    with pytest.raises(ArtifactError, match=r"config\.json must hold .*Write it again\."):
        _ = released.name


def test_the_history_goes_on_after_a_pointer_that_was_removed(three: ModelRepository) -> None:
    """As the refusal of a damaged pointer says to do; a rollback then goes to the champion before."""
    (three.folder / "champion").unlink()
    _promote(three, 1)
    assert [(move.serial, move.version) for move in three.history()] == [(1, 1), (2, 2), (3, 3), (4, 1)]
    assert three.prune(1) == [2]
    assert three.rollback(by="a test").version == 3


def test_the_history_goes_on_after_a_pointer_that_was_restored(three: ModelRepository) -> None:
    pointer = three.folder / "champion"
    restored = (three.folder / "champion.log").read_bytes().splitlines()[0]
    pointer.write_bytes(restored)
    _promote(three, 2)
    assert [(move.serial, move.version) for move in three.history()] == [(1, 1), (2, 2), (3, 3), (4, 2)]
