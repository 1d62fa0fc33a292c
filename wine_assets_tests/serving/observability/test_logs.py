"""What a server writes down, and the ids by which requests are found again."""

import re
from pathlib import Path
from typing import Any

import pytest

from wine_assets.inference import ModelRepository
from wine_assets_tests.support.serving.models import promote, request, rows
from wine_assets_tests.support.serving.server_process import Client, ServerProcess, run_server


@pytest.mark.parametrize("given", ["a", "A-b_c.9", "x" * 64])
def test_the_id_of_a_request_comes_back(given: str, client: Client) -> None:
    assert client.get("/v2", X_Request_Id=given).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\tb", "ü", "<script>", "a;b"])
def test_an_id_that_is_none_is_replaced(given: str, client: Client) -> None:
    first = client.get("/v2", X_Request_Id=given).headers["x-request-id"]
    second = client.get("/nothing", X_Request_Id=given).headers["x-request-id"]
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", first)
    assert first != second


def test_a_request_is_not_logged_unless_that_is_asked_for(own: ServerProcess) -> None:
    before = len(own.log())
    own.post("/v2/models/wine/infer", request(rows()[:1]))
    own.post("/v2/models/wine/infer", b"{")
    own.get("/nothing")
    assert own.log()[before:] == []


def test_requests_are_logged_without_what_they_say(repository: ModelRepository, log: Path) -> None:
    promote(repository, 1)
    with run_server(repository.folder, log, WINE_SERVE_ACCESS_LOG="yes") as server:
        server.wait_for_version(1)
        server.post("/v2/models/wine/infer", request(rows()[:1]), X_Request_Id="mine")
        server.get("/v2/models/secret-name", X_Request_Id="other")
        server.wait_for(lambda: {"mine", "other"} <= _by_id(server).keys())  # the answer comes before the line
        lines = _by_id(server)
    assert lines["mine"]["status"] == 200
    assert lines["mine"]["route"] == "/v2/models/{model_name}/infer"
    assert lines["mine"]["milliseconds"] > 0
    assert lines["other"]["status"] == 404
    assert "secret-name" not in log.read_text()


def _by_id(server: ServerProcess) -> dict[str, dict[str, Any]]:
    return {line["request_id"]: line for line in server.log() if line["message"] == "request"}


def test_a_server_says_where_it_listens_and_what_it_serves(own: ServerProcess) -> None:
    listening, model = own.log()[:2]
    assert (listening["message"], listening["address"]) == ("Listening.", own.address)
    assert (model["message"], model["version"], len(model["sha256"])) == ("A model is served.", "1", 64)
    for line in own.log():
        assert line.keys() >= {"time", "level", "logger", "message"}
        assert line["time"].endswith("+00:00")


def test_a_server_whose_log_can_not_be_written_serves_on(repository: ModelRepository) -> None:
    """The disk that it goes to is full."""
    import os
    import socket
    import subprocess
    import sys

    from wine_assets_tests.support.serving.server_process import wait_until

    promote(repository, 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "wine_assets.serving", "--model", str(repository.folder), "--port", str(port)]
    with Path("/dev/full").open("wb") as full:
        process = subprocess.Popen([*command, "--grpc-port", "0", "--drain-s", "0"], stderr=full, env=os.environ)
    server = ServerProcess(process, Path(os.devnull))
    server.port = port
    try:
        wait_until(lambda: _is_ready(server))
        promote(repository, 2)
        server.wait_for_version(2)
    finally:
        assert server.stop() == 0


def _is_ready(server: ServerProcess) -> bool:
    try:
        return server.get("/v2/health/ready").status == 200
    except OSError:
        return False
