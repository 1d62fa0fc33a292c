"""A store that is removed, can't be read or is full, while its model is served."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from wine_assets.inference import ModelRepository
from wine_assets_tests.support.serving.load import Load
from wine_assets_tests.support.serving.models import expected, promote, publish_models, write_pointer
from wine_assets_tests.support.serving.server_process import START_S, ServerProcess, run_server, wait_until
from wine_assets_tests.support.serving.small_disk import fill, make_room, small_disk

CLIENTS, SOAK_CLIENTS, SOAK_S = 2, 8, 60
ANSWERS = 100
DISK = "size=4m,nr_inodes=200"
TRIES_A_MINUTE = 7
"""After 0, 1, 3, 7, 15, 31 and 63 s."""

soak = [
    pytest.mark.soak,
    pytest.mark.skipif("SOAK" not in os.environ, reason="takes minutes; `make soak` runs it"),
    pytest.mark.timeout(1800),
]
forms = pytest.mark.parametrize(
    ("clients", "seconds"),
    [pytest.param(CLIENTS, 0, id="short"), pytest.param(SOAK_CLIENTS, SOAK_S, id="long", marks=soak)],
)


def _bound_by_modes() -> Sequence[str]:
    """Return the command that becomes a server whom a file's mode can keep out, as it doesn't keep out root.

    It is root still, and another user wouldn't do: the Python that runs this may lie where only root may look.
    """
    if os.geteuid() != 0:
        return ()
    dropped = "-dac_override,-dac_read_search"
    command = ("setpriv", f"--inh-caps={dropped}", f"--bounding-set={dropped}")
    if shutil.which(command[0]) is None or subprocess.run([*command, "true"], check=False).returncode:
        reason = "root can't be kept out of a folder without setpriv, or where it may not give up what it may"
        if os.environ.get("REQUIRE_SYSTEM") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return command


@pytest.fixture
def bound(repository: ModelRepository, log: Path) -> Iterator[ServerProcess]:
    """A server of version 1 that may not read what nobody may read."""
    promote(repository, 1)
    with run_server(repository.folder, log, within=_bound_by_modes()) as started:
        started.wait_for_version(1)
        yield started


# --- faults: each lasts for its block ----------------------------------------


@contextlib.contextmanager
def _removed(repository: ModelRepository) -> Iterator[None]:
    kept = repository.folder.with_name("kept")
    shutil.copytree(repository.folder, kept)
    shutil.rmtree(repository.folder)
    yield
    kept.rename(repository.folder)


@contextlib.contextmanager
def _a_file_instead(repository: ModelRepository) -> Iterator[None]:
    aside = repository.folder.with_name("aside")
    repository.folder.rename(aside)
    repository.folder.write_bytes(b"")
    yield
    repository.folder.unlink()
    aside.rename(repository.folder)


@contextlib.contextmanager
def _a_folder_for_a_pointer(repository: ModelRepository) -> Iterator[None]:
    pointer = repository.folder / "champion"
    content = pointer.read_bytes()
    pointer.unlink()
    pointer.mkdir()
    yield
    pointer.rmdir()
    pointer.write_bytes(content)


@contextlib.contextmanager
def _forbidden(path: Path) -> Iterator[None]:
    mode = path.stat().st_mode
    path.chmod(0)
    yield
    path.chmod(mode)


Fault = Callable[[ModelRepository], contextlib.AbstractContextManager[None]]
FAULTS: dict[str, tuple[Fault, str]] = {
    "removed": (_removed, "{folder} has no champion any more. Restore it"),
    "a file instead": (_a_file_instead, "{folder}/champion can't be read (Not a directory)."),
    "a folder for a pointer": (_a_folder_for_a_pointer, "{folder}/champion can't be read (Is a directory)."),
    "forbidden": (lambda store: _forbidden(store.folder), "{folder}/champion can't be read (Permission denied)."),
    "a forbidden pointer": (
        lambda store: _forbidden(store.folder / "champion"),
        "{folder}/champion can't be read (Permission denied).",
    ),
}


def _errors(server: ServerProcess) -> list[dict[str, Any]]:
    return [line for line in server.log() if line["level"] == "error"]


def _hold_out(server: ServerProcess, load: Load, seconds: float) -> None:
    """Look again and again whether the server is ready, for so long and until it gave some answers more."""
    end, answers = time.monotonic() + seconds, load.answers + ANSWERS

    def is_over() -> bool:
        assert load.wrong == []
        assert server.get("/v2/health/ready").status == 200
        return load.answers >= answers and time.monotonic() >= end

    wait_until(is_over, seconds=seconds + START_S)


@forms
@pytest.mark.parametrize("fault", FAULTS)
def test_lost_store_keeps_the_model(
    bound: ServerProcess, repository: ModelRepository, fault: str, clients: int, seconds: float
) -> None:
    """If the store is lost, the server logs it and keeps its model."""
    lose, reason = FAULTS[fault]
    reason = reason.format(folder=repository.folder)
    expected(1), expected(2)
    with Load(bound, clients, pause_s=0.01) as load:
        with lose(repository):
            bound.wait_for(lambda: any(error["reason"].startswith(reason) for error in _errors(bound)))
            _hold_out(bound, load, seconds)
            errors = _errors(bound)
        promote(repository, 2)
        bound.wait_for(lambda: "2" in load.versions or bool(load.wrong))
    assert load.wrong == []
    assert bound.metric("wine_model_reload_failure_total") >= len(errors)
    assert errors[-1]["reason"].startswith(reason)
    assert 1 <= len(errors) <= TRIES_A_MINUTE + 1, "and no disk fills with what it says"


def test_unreadable_candidate(bound: ServerProcess, repository: ModelRepository) -> None:
    """A champion without read permission is named in the log, and served once it is readable."""
    version = repository.folder / "versions" / "2"
    manifest = (version / "manifest.json").read_bytes()
    with _forbidden(version):
        write_pointer(repository, 2, manifest)
        bound.wait_for(lambda: bound.metric("wine_model_reload_failure_total") > 0)
        reason = f"{version} can't be read (Permission denied). Check it, and who may read it."
        error = _errors(bound)[0]
        assert (error["version"], error["reason"]) == (2, reason)
        assert bound.version() == "1"
    bound.wait_for_version(2)


@forms
def test_full_disk(tmp_path: Path, clients: int, seconds: float) -> None:
    """A server works on a full disk, and reloads once there is room for a promotion.

    The log and the temporary files of the server lie on that disk too.
    """
    expected(1), expected(2)
    publish_models(tmp_path / "wine")
    (tmp_path / "disk").mkdir()
    with small_disk(tmp_path / "disk", DISK) as disk:
        shutil.copytree(tmp_path / "wine", disk / "wine")
        (disk / "tmp").mkdir()
        repository = ModelRepository(disk / "wine")
        promote(repository, 1)
        with run_server(repository.folder, disk / "log", "--access-log", "yes", TMPDIR=str(disk / "tmp")) as server:
            server.wait_for_version(1)
            with Load(server, clients, pause_s=0.01) as load:
                fill(disk)
                with pytest.raises(OSError, match="No space left on device"):
                    promote(repository, 2)
                _hold_out(server, load, seconds)
                assert server.version() == "1"
                make_room(disk)
                promote(repository, 2)
                server.wait_for(lambda: "2" in load.versions or bool(load.wrong))
                server.wait_for(lambda: '"version":"2"' in (disk / "log").read_text())
                assert server.metric("wine_model_reload_failure_total") == 0
    assert load.wrong == []
