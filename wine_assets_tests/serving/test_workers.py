"""Several processes on one port."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from wine_assets.inference import ModelRepository
from wine_assets_tests.support.serving.models import promote, request, rows
from wine_assets_tests.support.serving.server_process import ServerProcess, run_server, wait_until
from wine_assets_tests.support.serving.small_disk import fill, small_disk

INFER = "/v2/models/wine/infer"


@pytest.fixture
def pair(repository: ModelRepository, log: Path) -> Iterator[ServerProcess]:
    """A server of two workers."""
    promote(repository, 1)
    with run_server(repository.folder, log, "--workers", "2") as started:
        started.wait_for(lambda: _model(started) >= 2)
        yield started


def _model(server: ServerProcess, version: str = "1") -> int:
    """Return how many workers said that they serve a version."""
    return sum(line["message"] == "A model is served." and line["version"] == version for line in server.log())


def _workers(server: ServerProcess) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children()


def test_workers_answer_and_add_up_their_figures(pair: ServerProcess) -> None:
    assert len(_workers(pair)) == 2
    for _ in range(40):
        assert pair.post(INFER, request(rows()[:1])).status == 200
    pair.wait_for(lambda: pair.metric("model_infer_request_success_total") == 40)
    assert pair.metric("wine_model_info") == 1


def test_a_promotion_reaches_all_workers(pair: ServerProcess, repository: ModelRepository) -> None:
    promote(repository, 2)
    pair.wait_for(lambda: _model(pair, "2") == 2)
    versions = {pair.post(INFER, request(rows()[:1])).json["model_version"] for _ in range(20)}
    assert versions == {"2"}


def test_a_worker_that_dies_is_replaced(pair: ServerProcess) -> None:
    killed = _workers(pair)[0]
    killed.send_signal(signal.SIGKILL)
    pair.wait_for(lambda: _model(pair) == 3)
    assert killed.pid not in [worker.pid for worker in _workers(pair)]
    for _ in range(20):
        assert pair.post(INFER, request(rows()[:1])).status == 200


def test_workers_with_a_full_temporary_disk(repository: ModelRepository, log: Path, tmp_path: Path) -> None:
    """Workers answer and count requests when the disk for temporary files is full.

    Figures that workers share lie in memory: who writes to a mapped file on a full disk is killed.
    """
    promote(repository, 1)
    (tmp_path / "disk").mkdir()
    with (
        small_disk(tmp_path / "disk", "size=12m,nr_inodes=200") as disk,
        run_server(repository.folder, log, "--workers", "2", TMPDIR=str(disk)) as server,
    ):
        server.wait_for(lambda: _model(server) >= 2)
        fill(disk)
        workers = {worker.pid for worker in _workers(server)}
        for _ in range(40):
            assert server.post(INFER, request(rows()[:1])).status == 200
        server.wait_for(lambda: server.metric("model_infer_request_success_total") == 40)
        assert {worker.pid for worker in _workers(server)} == workers
        assert [line for line in server.log() if line["level"] == "error"] == []


def test_the_end_of_a_server_is_the_end_of_its_workers(pair: ServerProcess) -> None:
    workers = _workers(pair)
    assert pair.stop() == 0
    assert not any(worker.is_running() for worker in workers)
    assert sum(line["message"] == "Stopped." for line in pair.log()) == 2


def test_workers_of_the_command_line_end_silently(repository: ModelRepository, tmp_path: Path) -> None:
    """Workers that the command line started end with status 0 and without output.

    Not as a run that was interrupted, which ends with 143 and a sentence about what was kept.
    """
    program = "import sys; sys.argv[1:4] = ['serve']; from wine_assets.cli.entry import main; main()"
    within = (sys.executable, "-c", program)
    with run_server(repository.folder, tmp_path / "log", "--workers", "2", within=within) as server:
        server.wait_for(lambda: sum(line["message"] == "Listening." for line in server.log()) == 2)
        assert server.stop() == 0
        assert [line for line in server.log() if line["level"] == "error"] == []


def test_workers_do_not_outlive_a_server_that_is_killed(pair: ServerProcess) -> None:
    workers = _workers(pair)
    os.kill(pair.process.pid, signal.SIGKILL)
    pair.process.wait(30)
    wait_until(lambda: not any(worker.is_running() and worker.status() != "zombie" for worker in workers))


def _ended(*flags: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "wine_assets.serving", "--port", "0", "--workers", "2", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stderr


def test_settings_that_no_worker_can_have_end_the_server(repository: ModelRepository, tmp_path: Path) -> None:
    """Another worker would end in the same way, again and again."""
    token = tmp_path / "token"
    status, said = _ended("--model", str(repository.folder), "--grpc-port", "0", "--token-file", str(token))
    assert status == 2
    assert str(token) in said
    assert "A worker died" not in said


def test_workers_do_not_share_the_port_of_another_server(repository: ModelRepository) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        port = str(taken.getsockname()[1])
        status, said = _ended("--model", str(repository.folder), "--grpc-port", port)
    assert status == 2
    assert f"gRPC can't listen on 127.0.0.1 port {port}" in said
    assert "Give another --grpc-port, or 0 for none." in said


def test_next_server_removes_abandoned_folders(
    pair: ServerProcess, repository: ModelRepository, tmp_path: Path
) -> None:
    """The folder of metrics that a killed server left is removed by the next server."""
    [left] = {Path(worker.environ()["PROMETHEUS_MULTIPROC_DIR"]) for worker in _workers(pair)}
    workers = _workers(pair)
    os.kill(pair.process.pid, signal.SIGKILL)
    pair.process.wait(30)
    wait_until(lambda: not any(worker.is_running() and worker.status() != "zombie" for worker in workers))
    assert left.exists()
    with run_server(repository.folder, tmp_path / "next", "--workers", "2") as server:
        server.wait_for(lambda: _model(server) >= 2)
        assert not left.exists()
        [own] = {Path(worker.environ()["PROMETHEUS_MULTIPROC_DIR"]) for worker in _workers(server)}
        with run_server(repository.folder, tmp_path / "beside", "--workers", "2") as other:
            other.wait_for(lambda: _model(other) >= 2)
            assert own.exists(), "that of a living server stays"
