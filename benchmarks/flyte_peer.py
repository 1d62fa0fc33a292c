"""The Flyte peer: its throwaway environment, and the command that runs the same three steps in it."""

import json
from pathlib import Path

from measure import environment
from peer_environment import HERE, PeerEnvironment

PEER = PeerEnvironment("flyte", ("flytekit", "scikit-learn", "pandas", "numpy"))
COMMAND: list[str | Path] = [
    *(PEER.command("pyflyte"), "run", HERE / "flyte_workflow.py", "training_workflow"),
    *("--hyperparameters", json.dumps({"C": 0.01})),
]


def prepare() -> str:
    """Make the environment unless it is there already, and return the versions in it."""
    return PEER.prepare("Flyte peer")


def isolated(home: Path) -> dict[str, str]:
    """Give the peer's environment variables: no user configuration, no caches and no files outside `home`."""
    return environment(HOME=str(home), TMPDIR=str(home), XDG_CONFIG_HOME=str(home))
