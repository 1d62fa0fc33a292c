"""An environment of its own for KServe's client, whose pins this project's aren't, made once."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CONSTRAINTS = HERE / "kserve-constraints.txt"
FOLDER = HERE.parents[2] / ".wine_assets" / "bench" / "kserve-venv"
INSTALLING_S = 240


def kserve_python() -> Path:
    """Return the interpreter of the environment; skip the test where it isn't there and REQUIRE_SYSTEM doesn't ask."""
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    with FOLDER.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the tests of its two transports may begin on two workers at once
        return _installed_python()


def _installed_python() -> Path:
    python, stamp = FOLDER / "bin" / "python", FOLDER / "constraints.sha256"
    wanted = hashlib.sha256(CONSTRAINTS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    if os.environ.get("REQUIRE_SYSTEM") != "1":
        pytest.skip("KServe's client is not installed; REQUIRE_SYSTEM=1 installs it once")
    _install(python)
    stamp.write_text(wanted)
    return python


def _install(python: Path) -> None:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    assert uv is not None, "uv was not found beside the interpreter of the tests"
    shutil.rmtree(FOLDER, ignore_errors=True)
    _run([uv, "venv", "--quiet", "--python", sys.executable, str(FOLDER)])
    _run([uv, "pip", "install", "--quiet", "--python", str(python), "--requirement", str(CONSTRAINTS)])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALLING_S)
    assert done.returncode == 0, done.stderr
