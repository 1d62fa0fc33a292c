import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wine_assets.errors import SearchError
from wine_assets.search.backends import registry
from wine_assets.search.backends.pool import PoolBackend

ROOT = Path(__file__).parents[3]
PRACTICE = '''
from typing import Literal
from pydantic import Field
from wine_assets.search.backends.base import TrialBackend


class HereBackend(TrialBackend):
    """This process, one trial after another."""

    kind: Literal["here"] = "here"
    pause_s: float = Field(default=0.0, ge=0, description="seconds between two trials")

    def run(self, study, context):
        objective = context.objective()
        while (trial := study.ask()) is not None:
            study.tell(objective.score(trial))
'''


@pytest.fixture
def foreign(tmp_path: Path) -> dict[str, str]:
    """The environment of a process in which a package of somebody else's is installed that adds a backend."""
    package = tmp_path / "packages"
    (package / "here-1.dist-info").mkdir(parents=True)
    (package / "here.py").write_text(PRACTICE)
    (package / "here-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: here\nVersion: 1\n")
    (package / "here-1.dist-info" / "entry_points.txt").write_text(f"[{registry.GROUP}]\nhere = here:HereBackend\n")
    home = tmp_path / "home"
    return os.environ | {"PYTHONPATH": f"{package}{os.pathsep}{ROOT}", "WINE_ASSETS_HOME": str(home)}


@pytest.mark.process
def test_foreign_backend_runs_a_search(foreign: dict[str, str]) -> None:
    """A backend of another package is a kind of the config, has its flags, and runs trials."""
    program = [sys.executable, "-c", "from wine_assets.cli.entry import main; main()"]
    arguments = ["search", "--json", "--trials", "2", "--folds", "2", "--backend", "here", "--pause-s", "0.5"]
    ended = subprocess.run([*program, *arguments], env=foreign, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["finished"] == 2


def test_unknown_kind_is_refused() -> None:
    """A kind that no backend has is refused with those that there are; without a kind it is the pool."""
    with pytest.raises(SearchError, match=r"no backend 'mars'\. The backends are: pool, steps, dask, ray\. Change"):
        registry.parse({"kind": "mars"})
    assert registry.parse({"workers": 3}) == PoolBackend(workers=3)


def test_guide_lists_every_backend() -> None:
    """The table of the guide has a row for each backend, with the sentence of its class."""
    guide = (ROOT / "docs" / "guide.md").read_text()
    for kind, backend in registry.BACKENDS.items():
        sentence = (backend.__doc__ or "").rstrip(".").replace("`chunk_trials`", "`--chunk-trials`")
        sentence = sentence.replace("`address`", "`--address`")
        assert f"| `{kind}` | {sentence[0].lower() if kind != 'ray' else 'R'}{sentence[1:]} |" in guide
