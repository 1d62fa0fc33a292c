"""A worker node of a Ray cluster, in processes that end with their parent.

    python -m wine_assets.search.backends.ray.node ARGUMENTS

The arguments are those of `ray start`, which by itself outlives whoever started it.
"""

import os
import signal
import sys

from wine_assets.search.workers.fork_server import end_with_parent


def main() -> None:
    """Start the node, and stay until it is told to end or its parent is gone."""
    from ray.scripts.scripts import main as ray

    sys.argv = ["ray", "start", "--block", *sys.argv[1:]]
    ray()  # type: ignore[no-untyped-call]  # click's


def _end_all(*_: object) -> None:
    """Kill the node, which would wait for a head that is gone; its agents, which are apart, end within a minute."""
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    os.setsid()
    signal.signal(signal.SIGUSR1, _end_all)
    end_with_parent(signal.SIGUSR1)  # SIGTERM is Ray's, which ends a node in peace
    main()
