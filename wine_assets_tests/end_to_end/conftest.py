from collections.abc import Iterator
from pathlib import Path

import pytest

from wine_assets_tests.support.command_line import variables
from wine_assets_tests.support.warm_cli import WarmCli, start_warm_cli


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in variables():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A project's home of the test's own, in which there is nothing yet."""
    return tmp_path / "home"


@pytest.fixture(scope="package")
def warm_cli() -> Iterator[WarmCli]:
    """A server that forks commands, for all tests of its xdist group."""
    with start_warm_cli() as started:
        yield started
