"""The MLServer peer: its throwaway environment, and a server of the reference model in one process."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import measure
from peer_environment import HERE, PeerEnvironment
from server_process import ServerProcess, free_ports, serving

PEER = PeerEnvironment("mlserver", ("mlserver", "mlserver-sklearn", "scikit-learn", "numpy"))
NAME = "wine"


def prepare() -> str:
    """Make the environment unless it is there already, and return the versions in it."""
    return PEER.prepare("MLServer peer")


@contextmanager
def serve(folder: Path) -> Iterator[ServerProcess]:
    """Serve the reference model from `folder`, with no logs of requests and no worker processes beside the server."""
    http, grpc, metrics = free_ports(3)
    measure.run_child([PEER.python, HERE / "mlserver_model.py", folder / "model.joblib"])
    model = {"name": NAME, "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": "./model.joblib"}}
    settings = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    (folder / "model-settings.json").write_text(json.dumps(model))
    (folder / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 0, "debug": False}))
    with serving([PEER.command("mlserver"), "start", folder], http, folder, f"/v2/models/{NAME}/ready") as server:
        yield replace(server, grpc_port=grpc)
