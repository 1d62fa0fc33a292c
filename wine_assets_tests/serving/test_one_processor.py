"""A server that has one processor, whatever the machine has."""

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest

from wine_assets.inference import ModelRepository
from wine_assets_tests.support.serving.clients import run_client, serve_http_and_grpc
from wine_assets_tests.support.serving.load import Load
from wine_assets_tests.support.serving.models import expected, promote, request, rows
from wine_assets_tests.support.serving.server_process import ServerProcess, run_server, wait_until

INFER = "/v2/models/wine/infer"
CLIENTS, ANSWERS, THREADS = 4, 200, 4
GROUPS = {
    Path("/sys/fs/cgroup"): {"cpu.max": "100000 100000"},  # version 2
    Path("/sys/fs/cgroup/cpu"): {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "100000"},  # version 1
}
OF_GRPC = ("grpc_", "event_engine", "lifeguard")
JOIN = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
PIN = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); os.execv(sys.argv[2], sys.argv[2:])"


@contextlib.contextmanager
def _group() -> Iterator[Path | None]:
    """Make a control group that may use one processor's time for the block; None where nobody may."""
    for parent, limits in GROUPS.items():
        group = parent / f"wine-assets-{secrets.token_hex(8)}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if _limited(group, limits):
                yield group
                return
        finally:
            wait_until(lambda group=group: _gone(group))  # type: ignore[misc]
    yield None


def _limited(group: Path, limits: dict[str, str]) -> bool:
    """Set the limits of a group; return whether it has such, as a plain folder and groups of no processors haven't."""
    try:
        for name, value in limits.items():
            (group / name).open("r+").close()
            (group / name).write_text(value)
    except OSError:
        return False
    return True


def _gone(group: Path) -> bool:
    with contextlib.suppress(OSError):  # its last process may still be ending
        group.rmdir()
    return not group.exists()


@pytest.fixture(params=["time", "processor"])
def limit(request: pytest.FixtureRequest) -> Iterator[Sequence[str]]:
    """A command that becomes a server with the time of one processor (a quota) or with one processor (an affinity).

    A container has the first. Where this machine lets nobody make a control group, the second is what there is.
    """
    if request.param == "processor":
        if not hasattr(os, "sched_setaffinity"):
            pytest.skip("this system pins no process to a processor")
        yield (sys.executable, "-c", PIN, str(min(os.sched_getaffinity(0))))
        return
    with _group() as group:
        if group is None:
            pytest.skip("this machine lets nobody make a control group; the other form pins the server instead")
        yield ("sh", "-c", JOIN, str(group))


def _threads(server: ServerProcess) -> list[str]:
    """Return the names of a server's threads."""
    tasks = Path(f"/proc/{server.process.pid}/task")
    return [(task / "comm").read_text().strip() for task in tasks.iterdir()]


def _is_limited(server: ServerProcess, limit: Sequence[str]) -> bool:
    process = psutil.Process(server.process.pid)
    joined = Path(limit[-1], "cgroup.procs")
    return len(process.cpu_affinity()) == 1 or str(process.pid) in joined.read_text().split()


def _keep_busy(server: ServerProcess, repository: ModelRepository) -> None:
    """Have clients ask while the model changes, and have large batches computed."""
    expected(1), expected(2)
    with Load(server, CLIENTS) as load:
        promote(repository, 2)
        server.wait_for_version(2)
        server.wait_for(lambda: load.answers > ANSWERS or bool(load.wrong))
    assert load.wrong == []
    assert server.post(INFER, request(np.tile(rows(), (10, 1)))).status == 200


def test_threads_on_one_processor(repository: ModelRepository, log: Path, limit: Sequence[str]) -> None:
    """On one processor, a server has at most four threads.

    The threads are the event loop's, the one that looks for a champion, and one that onnxruntime keeps.
    """
    promote(repository, 1)
    with run_server(repository.folder, log, within=limit) as server:
        server.wait_for_version(1)
        assert _is_limited(server, limit)
        _keep_busy(server, repository)
        assert len(_threads(server)) <= THREADS


def test_threads_with_grpc_on_one_processor(tmp_path: Path, limit: Sequence[str]) -> None:
    """With gRPC on one processor, a server has at most four threads beside those of grpcio.

    The library of gRPC starts its own, as many on one processor as on two; all others are counted.
    """
    with serve_http_and_grpc(tmp_path, 1, within=limit) as (server, address):
        assert _is_limited(server, limit)
        _keep_busy(server, ModelRepository(tmp_path / "wine"))
        assert run_client("grpc_client", "good", address, data=rows()[0].tolist()) == "OK"
        assert len([name for name in _threads(server) if not name.startswith(OF_GRPC)]) <= THREADS
