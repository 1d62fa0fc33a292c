"""A throwaway environment with a peer's pinned packages, made once and again when the pins change."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from measure import CACHE

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class PeerEnvironment:
    """Where a peer lives, and what of it decides its figures."""

    name: str
    decisive: Sequence[str]

    @property
    def constraints(self) -> Path:
        """The file with its pins."""
        return HERE / f"{self.name}-constraints.txt"

    @property
    def folder(self) -> Path:
        """The environment's own folder."""
        return CACHE / f"{self.name}-venv"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.command("python")

    def command(self, name: str) -> Path:
        """Return one of its commands."""
        return self.folder / "bin" / name

    def prepare(self, title: str) -> str:
        """Make the environment unless it is there already; return the versions in it, in one sentence."""
        stamp, wanted = self.folder / "constraints.sha256", hashlib.sha256(self.constraints.read_bytes()).hexdigest()
        if not stamp.exists() or stamp.read_text() != wanted:
            self._install()
            stamp.write_text(wanted)
        return f"{title}: {self._versions()}"

    def _versions(self) -> str:
        names = tuple(self.decisive)
        asked = f"from importlib.metadata import version; print(', '.join(n + ' ' + version(n) for n in {names}))"
        return subprocess.run([self.python, "-c", asked], check=True, capture_output=True, text=True).stdout.strip()

    def _install(self) -> None:
        uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
        if uv is None:
            raise SystemExit("uv was not found; install it with `python -m pip install uv`, then run this again")
        print(f"Making the peer's environment in {self.folder} (once)", file=sys.stderr)
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, self.folder], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", self.python, "-r", self.constraints], check=True)
