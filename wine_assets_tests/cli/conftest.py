import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from wine_assets import settings
from wine_assets_tests.support.command_line import QUICK, called, variables
from wine_assets_tests.support.fresh_definitions import fresh_definitions


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in variables():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _no_settings_of_the_user: None) -> Path:
    """A project's home of the test's own, in which there is nothing yet."""
    monkeypatch.setenv(settings.HOME_VARIABLE, str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which every asset was made, for tests that copy it."""
    folder = tmp_path_factory.mktemp("made") / "home"
    with pytest.MonkeyPatch.context() as patch:
        for variable in variables():
            patch.delenv(variable, raising=False)
        patch.setenv(settings.HOME_VARIABLE, str(folder))
        assert called("run", *QUICK).status == 0
    return folder


@pytest.fixture
def made(home: Path, made_once: Path) -> Path:
    """A home of the test's own, in which every asset was made with `QUICK`."""
    shutil.copytree(made_once, home)
    return home


@pytest.fixture
def compute(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Change the compute requests as WINE_ASSETS_COMPUTE does in a new process."""

    def change(requests: str) -> None:
        monkeypatch.setenv(settings.COMPUTE_VARIABLE, requests)
        fresh_definitions(monkeypatch)

    return change


@pytest.fixture
def without_retries(compute: Callable[[str], None]) -> None:
    """Read a source once, so that a test doesn't wait for the second time."""
    compute('{"raw_wine": {"retries": 0}}')
