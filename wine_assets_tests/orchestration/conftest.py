import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from wine_assets import settings
from wine_assets.definitions import build_definitions
from wine_assets_tests.support.pipeline import REFERENCE, Pipeline

_VARIABLES = [value for name, value in vars(settings).items() if name.endswith("_VARIABLE")]


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (*_VARIABLES, "DAGSTER_HOME"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _no_settings_of_the_user: None) -> settings.Home:
    """A project's home of the test's own."""
    monkeypatch.setenv(settings.HOME_VARIABLE, str(tmp_path / "home"))
    return settings.home()


@pytest.fixture(scope="session")
def definitions() -> dg.Definitions:
    """The code location as it is without any setting."""
    return build_definitions()


@pytest.fixture
def pipeline(home: settings.Home, definitions: dg.Definitions) -> Iterator[Pipeline]:
    """The definitions on an instance, and in a home, of the test's own."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield Pipeline(instance, definitions)


@pytest.fixture(scope="session")
def reference(
    tmp_path_factory: pytest.TempPathFactory, definitions: dg.Definitions
) -> Iterator[tuple[Pipeline, dg.ExecuteInProcessResult]]:
    """The reference run, made once: the pipeline after it, and its result; for tests that only look."""
    with _in_a_home(tmp_path_factory.mktemp("reference")), dg.DagsterInstance.ephemeral() as instance:
        pipeline = Pipeline(instance, definitions)
        yield pipeline, pipeline.launch("training_job", REFERENCE)


@pytest.fixture(scope="session")
def _trained_once(
    tmp_path_factory: pytest.TempPathFactory, definitions: dg.Definitions
) -> Iterator[tuple[Path, Pipeline]]:
    home = tmp_path_factory.mktemp("trained")
    with dg.DagsterInstance.ephemeral() as instance:
        pipeline = Pipeline(instance, definitions)
        with _in_a_home(home):
            assert pipeline.train().success
        yield home, pipeline


@pytest.fixture
def untouched(_trained_once: tuple[Path, Pipeline], _no_settings_of_the_user: None) -> Iterator[Pipeline]:
    """A pipeline whose every asset has been made; a test may add nothing to its records and files."""
    home, pipeline = _trained_once
    made, files = pipeline.made(), _files(home)
    with _in_a_home(home):
        yield Pipeline(pipeline.instance, pipeline.definitions)
    assert pipeline.made() == made
    assert _files(home) == files


@contextlib.contextmanager
def _in_a_home(path: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(settings.HOME_VARIABLE, str(path))
        yield


def _files(home: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def interpreter() -> str:
    """The Python that the project is installed in."""
    return sys.executable
