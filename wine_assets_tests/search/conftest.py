import os
from pathlib import Path

import pytest

from wine_assets.models import registry
from wine_assets_tests.support import fake_family

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the tests' own family known in this process, and its module found by others."""
    monkeypatch.setitem(registry.families(), fake_family.NAME, fake_family.FAMILY)


@pytest.fixture(autouse=True, scope="session")
def _importable() -> None:
    """Let processes of other schedulers find the modules of the tests."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """The file to which fits append a line each."""
    return tmp_path / "trace"
