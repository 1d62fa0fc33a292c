"""A Ray cluster: one that is started for a search, or one that runs and is found by its address."""

import contextlib
import logging
import math
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wine_assets.compute import signals
from wine_assets.compute.environment import environment
from wine_assets.compute.threads import granted_cores
from wine_assets.errors import FailedSearchError, MissingExtraError
from wine_assets.search.backends.ray.params import Node, RayParams, TrialRequest, WorkerNodes

NODE = "wine_assets.search.backends.ray.node"
_START_S = 120.0
"""How long a worker node may take to come up, on a machine that has too much to do."""
_STOP_S = 15.0
_REACH_S = 15.0
"""How long a host may take to answer that somebody listens there."""
_SHOWN = 300
"""How much of what a node said that didn't come up is repeated, in characters."""
_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the journal is kept here, not in CSV, JSON and TensorBoard
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends a search as it does with every other backend
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # an actor that died is an outcome
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # the journal is what a search goes on from
    "TUNE_WARN_THRESHOLD_S": "60",  # a strategy may think
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # which is to become the default, as a warning says
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one has tables even where it is to be silent
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent to anybody
    "RAY_worker_niceness": "0",  # 15 by default: beside a process that keeps a core busy, a trial would get 1/30 of it
}


@contextlib.contextmanager
def cluster(params: RayParams) -> Iterator[Any]:
    """Yield the module `ray`, connected to a cluster; one that was started for the block ends with it.

    Raise MissingExtraError without Ray, and FailedSearchError for a cluster that isn't there or doesn't come up.
    """
    try:
        import ray
        import ray.tune
    except ImportError as error:
        raise MissingExtraError("ray", "The backend `ray`") from error
    logging.getLogger("ray").setLevel(logging.ERROR)
    with (
        signals.raise_keyboard_interrupt() as stop_at_once,
        environment(_SETTINGS),
        _connected(ray, params),
    ):
        stop_at_once()  # Ray has put a handler in place, after whose exception Tune waits 10 s for its trials
        yield ray


def parallel_trials(ray: Any, params: RayParams) -> int:
    """Return how many trials the cluster can run at the same time, and at most as many as are asked for.

    Raise FailedSearchError where none of its nodes has what a trial asks for.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = sum(_room(node, params.trial) for node in nodes)
    if not room:
        raise FailedSearchError(
            f"A trial asks for {_said(params.trial.resources)}, and no node of the Ray cluster has that: "
            f"{'; '.join(_said(node) for node in nodes)}. Ask for less by {_missed(params.trial, nodes)}, or add a "
            "larger node."
        )
    return min(params.workers or room, room)


def _room(node: dict[str, float], trial: TrialRequest) -> int:
    """Return how many trials a node has room for."""
    return int(min(node.get(name, 0.0) // amount for name, amount in trial.resources.items()))


def _missed(trial: TrialRequest, nodes: list[dict[str, float]]) -> str:
    """Name the fields of a request that no node has enough for, or all of them where it is for their sum."""
    asked = trial.resources
    missed = [name for name in asked if all(node.get(name, 0.0) < asked[name] for node in nodes)]
    return " and ".join(f"`{trial.config_path}.{name.lower()}`" for name in missed or asked)


def _said(resources: dict[str, float]) -> str:
    words = {"CPU": "cores", "GPU": "GPUs"}
    said = [f"{resources.get(name, 0):g} {word}" for name, word in words.items() if name in resources or name == "CPU"]
    memory = [f"{resources['memory'] / 2**20:.0f} MiB of memory"] if "memory" in resources else []
    return ", ".join([*said, *memory])


@contextlib.contextmanager
def _connected(ray: Any, params: RayParams) -> Iterator[None]:
    if ray.is_initialized():  # within a step that Ray runs
        yield
        return
    given = {"address": params.address} if params.address else _head(params)
    try:
        _require_listener(params.address)
        ray.init(**given, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError) as error:
        raise FailedSearchError(
            f"There is no Ray cluster at {params.address!r} ({error}). Start one, or change `backend.address`."
        ) from error
    try:
        with _worker_nodes(ray, params.worker_nodes):
            yield
    finally:
        ray.shutdown()


def _require_listener(address: str) -> None:
    """Raise ConnectionError where nobody listens at a host and port: Ray would try for minutes, deaf to signals."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), _REACH_S).close()
        except (OSError, OverflowError) as error:
            raise ConnectionError(str(error)) from error


def _head(params: RayParams) -> dict[str, Any]:
    """Return what ray.init is given for a cluster of its own."""
    return {
        "address": "local",
        "include_dashboard": False,
        "num_cpus": _cores_of_the_head(params),
        "num_gpus": params.head.gpu,
        "_memory": params.head.bytes_of("memory"),
        "object_store_memory": params.head.bytes_of("object_store"),
    }


def _cores_of_the_head(params: RayParams) -> int:
    if params.head.cpu is not None:
        return params.head.cpu
    if params.worker_nodes.count:
        return 0
    return math.ceil(params.workers * params.trial.resources["CPU"]) if params.workers else granted_cores()


@contextlib.contextmanager
def _worker_nodes(ray: Any, asked: WorkerNodes) -> Iterator[None]:
    """Start worker nodes, one after another: two that start at once take the same names for their sockets."""
    with tempfile.TemporaryDirectory(prefix="wine-ray-") as folder, contextlib.ExitStack() as nodes:
        for number in range(asked.count):
            said = Path(folder) / str(number)
            with said.open("wb") as file:
                process = subprocess.Popen(_command(ray, asked), stdin=subprocess.DEVNULL, stdout=file, stderr=file)  # noqa: S603 - this interpreter, one of our modules
            nodes.callback(_end, process)
            _wait_for(ray, number + 2, process, said)
        yield


def _command(ray: Any, node: Node) -> list[str]:
    """Return the command of a worker node, at the address that the head has among those of this machine."""
    given = {
        "--address": ray.get_runtime_context().gcs_address,
        "--node-ip-address": ray.nodes()[0]["NodeManagerAddress"],
        "--min-worker-port": 0,  # any that is free: nodes on one machine would choose the same
        "--max-worker-port": 0,
        "--num-cpus": node.cpu,
        "--num-gpus": node.gpu,
        "--memory": node.bytes_of("memory"),
        "--object-store-memory": node.bytes_of("object_store"),
    }
    return [sys.executable, "-m", NODE, *(f"{name}={value}" for name, value in given.items() if value is not None)]


def _wait_for(ray: Any, count: int, process: "subprocess.Popen[bytes]", said: Path) -> None:
    until = time.monotonic() + _START_S
    while sum(node["Alive"] for node in ray.nodes()) < count:
        if process.poll() is not None or time.monotonic() > until:
            lines = said.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise FailedSearchError(
                f"A worker node of Ray did not come up: {lines[-1][:_SHOWN]} "
                "Change `backend.worker_nodes`, or give the machine less to do."
            )
        time.sleep(0.1)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a node with all its processes; where it takes its time, they end when they miss it."""
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
