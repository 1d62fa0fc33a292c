"""The Flyte peer: its throwaway environment, and the command that runs the same three steps in it."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from measure import CACHE, environment

HERE = Path(__file__).resolve().parent
CONSTRAINTS = HERE / "flyte-constraints.txt"
VENV = CACHE / "flyte-venv"
DECISIVE = ("flytekit", "scikit-learn", "pandas", "numpy")
COMMAND: list[str | Path] = [
    *(VENV / "bin" / "pyflyte", "run", HERE / "flyte_workflow.py", "training_workflow"),
    *("--hyperparameters", json.dumps({"C": 0.01})),
]


def prepare() -> str:
    """Make the environment unless it is there already, and return the versions in it."""
    stamp, wanted = VENV / "constraints.sha256", hashlib.sha256(CONSTRAINTS.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        _install()
        stamp.write_text(wanted)
    return versions()


def versions() -> str:
    """Name the installed versions that decide the peer's figure, in one sentence."""
    asked = f"from importlib.metadata import version; print(', '.join(n + ' ' + version(n) for n in {DECISIVE}))"
    answer = subprocess.run([VENV / "bin" / "python", "-c", asked], check=True, capture_output=True, text=True)
    return f"Flyte peer: {answer.stdout.strip()}"


def isolated(home: Path) -> dict[str, str]:
    """Give the peer's environment variables: no user configuration, no caches and no files outside `home`."""
    return environment(HOME=str(home), TMPDIR=str(home), XDG_CONFIG_HOME=str(home))


def _install() -> None:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        raise SystemExit("uv was not found; install it with `python -m pip install uv`, then run this again")
    print(f"Making the peer's environment in {VENV} (once)", file=sys.stderr)
    CACHE.mkdir(parents=True, exist_ok=True)
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, VENV], check=True)
    python = VENV / "bin" / "python"
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "-r", CONSTRAINTS], check=True)
