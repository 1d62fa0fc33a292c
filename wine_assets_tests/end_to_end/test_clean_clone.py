"""The project as a newcomer gets it: cloned, and run with one command."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wine_assets_tests.support.command_line import Ended, variables

ROOT = Path(__file__).parents[2]
OFFLINE = re.compile("failed to fetch|dns error|could not connect|connection (refused|error)", re.IGNORECASE)
OWN_TO_THIS_PROCESS = ("VIRTUAL_ENV", "PYTHONPATH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "COVERAGE_PROCESS_START")
INSTALLING_S = 900


def make(clone: Path, target: str) -> Ended:
    """Run make as somebody does who has nothing but Python, make and git."""
    left_out = {*variables(), *OWN_TO_THIS_PROCESS}
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    command = ["make", target, f"PYTHON={Path(sys.base_prefix) / 'bin' / 'python3'}"]
    ended = subprocess.run(
        command, cwd=clone, env=environment, capture_output=True, text=True, check=False, timeout=INSTALLING_S
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("git") or not shutil.which("make") or not (ROOT / ".git").exists():
        _missing("git, make and a checkout of the project are needed to clone it")
    folder = tmp_path_factory.mktemp("clone") / "wine_assets"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True, capture_output=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def first(clone: Path) -> Ended:
    """How the first `make run` in a clone ended."""
    ended = make(clone, "run")
    if ended.status != 0 and OFFLINE.search(ended.out + ended.err):
        _missing("a package index is needed to install the pipeline, and none can be reached")
    return ended


def _missing(reason: str) -> None:
    if os.environ.get("REQUIRE_SYSTEM") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _installed(clone: Path) -> dict[str, int]:
    """Return when each part of the environment was last changed."""
    packages = next((clone / ".venv" / "lib").glob("python*/site-packages"))
    places = [clone / ".venv" / ".pipeline", packages, *packages.iterdir(), *(clone / ".venv" / "bin").iterdir()]
    return {str(place): place.lstat().st_mtime_ns for place in places if place.name != "__pycache__"}


@pytest.mark.timeout(2 * INSTALLING_S)
def test_one_command_makes_everything_in_a_clean_clone_and_the_second_time_nothing(clone: Path, first: Ended) -> None:
    """Both in one test, because the environment is made once."""
    assert first.status == 0, first.err
    assert "Installing the pipeline" in first.out
    assert "[7/7] wine_predictions" in first.out
    assert re.search(rf"^Model +{clone}/\.wine_assets/models/wine, version 1$", first.out, re.MULTILINE)
    before = _installed(clone)
    second = make(clone, "run")
    assert (second.status, second.err) == (0, "")
    assert "Nothing to do" in second.out
    assert not re.search(r"Making|Installing|/7\]", second.out)
    assert _installed(clone) == before
    assert _git_sees_nothing_new(clone), "what a run writes is ignored by git"


def _git_sees_nothing_new(clone: Path) -> bool:
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True, timeout=60
    )
    return status.stdout == ""
