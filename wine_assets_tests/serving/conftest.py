from collections.abc import Iterator
from pathlib import Path

import pytest

from wine_assets.inference import ModelRepository
from wine_assets_tests.support.serving.models import promote, publish_models
from wine_assets_tests.support.serving.server_process import Client, ServerProcess, run_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of version 1 that all tests share which change nothing of it."""
    folder = tmp_path_factory.mktemp("served")
    promote(publish_models(folder / "wine"), 1)
    with run_server(folder / "wine", folder / "log") as started:
        started.wait_for_version(1)
        yield started


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    """A connection to the shared server."""
    with server.client() as connected:
        yield connected


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    """Two versions that were published, and no champion."""
    return publish_models(tmp_path / "wine")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where a server of the test's own logs to."""
    return tmp_path / "log"


@pytest.fixture
def own(repository: ModelRepository, log: Path) -> Iterator[ServerProcess]:
    """A server of version 1 that only this test uses."""
    promote(repository, 1)
    with run_server(repository.folder, log) as started:
        started.wait_for_version(1)
        yield started
