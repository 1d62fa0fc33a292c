"""A worker node of a Ray cluster, in processes that end with their parent.

    python -m wine_assets.execution.trials.ray_node ARGUMENTS

The arguments are those of `ray start`, which by itself outlives whoever started it.
"""

import signal
import sys

from wine_assets.execution.trials.template import end_with_parent


def main() -> None:
    """Start the node, and stay until it is told to end or its parent is gone."""
    from ray.scripts.scripts import main as ray

    sys.argv = ["ray", "start", "--block", *sys.argv[1:]]
    ray()  # type: ignore[no-untyped-call]  # click's


if __name__ == "__main__":
    end_with_parent(signal.SIGTERM)  # which `ray start` hands on to the node's own processes
    main()
