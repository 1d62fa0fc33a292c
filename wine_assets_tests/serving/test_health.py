"""When a server says that it is live, and when that it is ready."""

import os
import signal
from pathlib import Path

import pytest

from wine_assets.inference import ModelRepository
from wine_assets_tests.support.serving.models import promote, request, rows
from wine_assets_tests.support.serving.server_process import Client, ServerProcess, run_server

LIVE, READY, INFER = "/v2/health/live", "/v2/health/ready", "/v2/models/wine/infer"


def assert_not_ready(server: ServerProcess) -> None:
    live, ready = server.get(LIVE), server.get(READY)
    assert (live.status, live.json) == (200, {"live": True})
    assert (ready.status, ready.json) == (503, {"ready": False})
    model = server.get("/v2/models/wine/ready")
    assert model.status == 503


def assert_ready(server: ServerProcess, version: int) -> None:
    assert (server.get(LIVE).status, server.get(LIVE).json) == (200, {"live": True})
    assert (server.get(READY).status, server.get(READY).json) == (200, {"ready": True})
    assert server.get("/v2/models/wine/ready").json == {"name": "wine", "ready": True}
    assert server.get(f"/v2/models/wine/versions/{version}/ready").status == 200
    assert server.post(INFER, request(rows()[:1])).json["model_version"] == str(version)


def test_server_without_a_model_loads_the_first(tmp_path: Path, log: Path) -> None:
    """A server without a model is live, and loads the first champion.

    Not even the folder has to be there.
    """
    from wine_assets_tests.support.serving.models import publish_models

    with run_server(tmp_path / "wine", log) as server:
        assert_not_ready(server)
        assert server.post(INFER, request(rows()[:1])).status == 503
        assert server.post("/predict", {}).status == 503
        [said] = [line for line in server.log() if line["message"].startswith("There is no model yet")]
        assert "wine-assets run releases one" in said["remedy"]
        repository = publish_models(tmp_path / "wine")
        assert_not_ready(server)
        promote(repository, 1)
        server.wait_for_version(1)
        assert_ready(server, 1)


def test_a_server_whose_first_model_is_broken_is_not_ready(repository: ModelRepository, log: Path) -> None:
    promote(repository, 1)
    model = repository.folder / "versions" / "1" / "model.onnx"
    content = model.read_bytes()
    model.write_bytes(content[:-1])
    with run_server(repository.folder, log) as server:
        server.wait_for(lambda: server.metric("wine_model_reload_failure_total") > 0)
        assert_not_ready(server)
        model.write_bytes(content)
        server.wait_for_version(1)
        assert_ready(server, 1)


def test_a_server_that_is_still_loading_is_not_ready(repository: ModelRepository, log: Path) -> None:
    """The model is a pipe that gives nothing until somebody writes into it."""
    promote(repository, 1)
    model = repository.folder / "versions" / "1" / "model.onnx"
    content = model.read_bytes()
    model.unlink()
    os.mkfifo(model)
    with run_server(repository.folder, log) as server:
        with model.open("wb") as pipe:  # which waits for the server to read
            assert_not_ready(server)
            pipe.write(content)
        server.wait_for_version(1)
        assert_ready(server, 1)


def test_a_failed_reload_leaves_a_server_ready(own: ServerProcess, repository: ModelRepository) -> None:
    (repository.folder / "champion").write_bytes(b"{")
    own.wait_for(lambda: own.metric("wine_model_reload_failure_total") > 0)
    assert_ready(own, 1)


def test_a_draining_server_is_not_ready_and_still_answers(repository: ModelRepository, log: Path) -> None:
    promote(repository, 1)
    with run_server(repository.folder, log, "--drain-s", "60") as server:
        server.wait_for_version(1)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for(lambda: server.get(READY).status == 503)
        assert_not_ready(server)
        reply = server.post(INFER, request(rows()[:1]))
        assert (reply.status, reply.json["model_version"]) == (200, "1")
        assert reply.headers["connection"] == "close"
        server.process.send_signal(signal.SIGTERM)  # once more: now
        assert server.process.wait(30) == 0


def test_a_server_says_what_it_serves(client: Client) -> None:
    server, model = client.get("/v2").json, client.get("/v2/models/wine").json
    assert server["name"] == "wine-assets"
    assert "binary_tensor_data" in server["extensions"]
    assert (model["name"], model["versions"], model["platform"]) == ("wine", ["1"], "onnxruntime_onnx")
    assert model["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 13]}]
    assert model["outputs"] == [
        {"name": "label", "datatype": "INT64", "shape": [-1]},
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]},
    ]
    assert model["parameters"]["features"][0] == "alcohol"
    assert model["parameters"]["classes"] == [0, 1]
    assert client.get("/v2/models/wine/versions/1").json == model


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/models/beer", 404),
        ("/v2/models/wine/versions/2", 404),
        ("/v2/models/wine/versions/2/ready", 404),
        ("/v2/models/wine/versions", 404),
        ("/v2/models", 404),
        ("/v2/models/", 404),
        ("/v2/models//ready", 404),
        ("/v2/repository/index", 404),
        ("/v2/../etc/passwd", 404),
        ("/v2/", 200),
        ("/v2/health/live?x=1", 200),
    ],
)
def test_paths_are_what_they_are(path: str, status: int, client: Client) -> None:
    assert client.get(path).status == status


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v2/health/live", "GET, HEAD"),
        ("DELETE", "/v2/models/wine", "GET, HEAD"),
        ("GET", "/v2/models/wine/infer", "POST"),
        ("PUT", "/predict", "POST"),
        ("OPTIONS", "/metrics", "GET, HEAD"),
        ("TRACE", "/", "GET, HEAD"),
    ],
)
def test_another_method_is_told_which_there_are(method: str, path: str, allowed: str, client: Client) -> None:
    reply = client.ask(method, path, None)
    assert (reply.status, reply.headers["allow"]) == (405, allowed)
    assert reply.json["error"].endswith(".")


@pytest.mark.parametrize("path", ["/v2/repository/models/wine/load", "/v2/repository/models/wine/unload"])
def test_no_route_loads_or_unloads_anything(path: str, client: Client) -> None:
    assert client.post(path, {}).status == 404


def test_the_head_of_an_answer_can_be_had_alone(client: Client) -> None:
    head, whole = client.ask("HEAD", LIVE, None), client.get(LIVE)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == whole.headers["content-length"]
