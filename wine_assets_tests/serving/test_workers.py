"""Several processes on one port."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from wine_assets.inference import ModelRepository
from wine_assets_tests.serving.models import promote, request, rows
from wine_assets_tests.serving.running import Running, running, wait_until
from wine_assets_tests.serving.small_disk import fill, small_disk

INFER = "/v2/models/wine/infer"


@pytest.fixture
def pair(repository: ModelRepository, log: Path) -> Iterator[Running]:
    """A server of two workers."""
    promote(repository, 1)
    with running(repository.folder, log, "--workers", "2") as started:
        started.wait_for(lambda: _served(started) >= 2)
        yield started


def _served(server: Running, version: str = "1") -> int:
    """Return how many workers said that they serve a version."""
    return sum(line["message"] == "A model is served." and line["version"] == version for line in server.log())


def _workers(server: Running) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children()


def test_workers_answer_and_add_up_their_figures(pair: Running) -> None:
    assert len(_workers(pair)) == 2
    for _ in range(40):
        assert pair.post(INFER, request(rows()[:1])).status == 200
    pair.wait_for(lambda: pair.metric("model_infer_request_success_total") == 40)
    assert pair.metric("wine_model_info") == 1


def test_a_promotion_reaches_all_workers(pair: Running, repository: ModelRepository) -> None:
    promote(repository, 2)
    pair.wait_for(lambda: _served(pair, "2") == 2)
    versions = {pair.post(INFER, request(rows()[:1])).json["model_version"] for _ in range(20)}
    assert versions == {"2"}


def test_a_worker_that_dies_is_replaced(pair: Running) -> None:
    killed = _workers(pair)[0]
    killed.send_signal(signal.SIGKILL)
    pair.wait_for(lambda: _served(pair) == 3)
    assert killed.pid not in [worker.pid for worker in _workers(pair)]
    for _ in range(20):
        assert pair.post(INFER, request(rows()[:1])).status == 200


def test_workers_answer_and_count_when_the_disk_for_temporary_files_is_full(
    repository: ModelRepository, log: Path, tmp_path: Path
) -> None:
    """Figures that workers share lie in memory: who writes to a mapped file on a full disk is killed."""
    promote(repository, 1)
    (tmp_path / "disk").mkdir()
    with (
        small_disk(tmp_path / "disk", "size=12m,nr_inodes=200") as disk,
        running(repository.folder, log, "--workers", "2", TMPDIR=str(disk)) as server,
    ):
        server.wait_for(lambda: _served(server) >= 2)
        fill(disk)
        workers = {worker.pid for worker in _workers(server)}
        for _ in range(40):
            assert server.post(INFER, request(rows()[:1])).status == 200
        server.wait_for(lambda: server.metric("model_infer_request_success_total") == 40)
        assert {worker.pid for worker in _workers(server)} == workers
        assert [line for line in server.log() if line["level"] == "error"] == []


def test_the_end_of_a_server_is_the_end_of_its_workers(pair: Running) -> None:
    workers = _workers(pair)
    assert pair.stop() == 0
    assert not any(worker.is_running() for worker in workers)
    assert sum(line["message"] == "Stopped." for line in pair.log()) == 2


def test_workers_that_the_command_line_started_end_without_a_word_and_with_0(
    repository: ModelRepository, tmp_path: Path
) -> None:
    """Not as a run that was interrupted, which ends with 143 and a sentence about what was kept."""
    program = "import sys; sys.argv[1:4] = ['serve']; from wine_assets.cli.entry import main; main()"
    within = (sys.executable, "-c", program)
    with running(repository.folder, tmp_path / "log", "--workers", "2", within=within) as server:
        server.wait_for(lambda: sum(line["message"] == "Listening." for line in server.log()) == 2)
        assert server.stop() == 0
        assert [line for line in server.log() if line["level"] == "error"] == []


def test_workers_do_not_outlive_a_server_that_is_killed(pair: Running) -> None:
    workers = _workers(pair)
    os.kill(pair.process.pid, signal.SIGKILL)
    pair.process.wait(30)
    wait_until(lambda: not any(worker.is_running() and worker.status() != "zombie" for worker in workers))
