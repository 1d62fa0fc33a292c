"""The examples, run as the guide says."""

import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wine_assets.inference import ModelRepository, Predictor
from wine_assets_tests.support.published_models import publishable
from wine_assets_tests.support.wine_frames import wine

EXAMPLES = Path(__file__).parents[1] / "examples"
ROWS: list[dict[str, Any]] = json.loads(wine().drop(columns="target").to_json(orient="records"))


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    repository = ModelRepository(tmp_path / "wine")
    publishable(1.0).release(repository)
    return repository


@pytest.fixture
def said(tmp_path: Path) -> Path:
    """Where the running service's messages are."""
    return tmp_path / "messages"


@pytest.fixture
def service(repository: ModelRepository, said: Path) -> Iterator[str]:
    """The address of a running service."""
    command = [sys.executable, str(EXAMPLES / "service.py"), str(repository.folder), "--port", "0"]
    with (
        said.open("w") as messages,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=messages, text=True) as process,
    ):
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


def _asked(url: str, body: Any) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=30) as answer:  # noqa: S310
        return json.load(answer)


def test_a_service_whose_port_is_taken_says_so_in_a_sentence(service: str, repository: ModelRepository) -> None:
    port = service.rpartition(":")[2]
    command = [sys.executable, str(EXAMPLES / "service.py"), str(repository.folder), "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert re.fullmatch(rf"Port {port} of 127\.0\.0\.1 can't be had \(.*\)\. Give another --port\.\n", done.stderr)


def test_the_service_answers_as_the_predictor_does(service: str, repository: ModelRepository) -> None:
    predictor = Predictor.load(repository.folder)
    for row in ROWS[::40]:
        expected = predictor.predict_one(**row)
        answer = _asked(service, row)
        assert (answer["label"], answer["version"]) == (expected.label, 1)
        assert answer["probabilities"] == pytest.approx(expected.probabilities)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"alcohol": 1}', "are missing"),
        (json.dumps({**ROWS[0], "self": 1}).encode(), "`self` is not known"),
        (json.dumps({**ROWS[0], "hue": float("nan")}).encode(), "`hue` must be a finite number"),
        (b"[1]", "must be a JSON object"),
        (b"[" * 60_000, "The body must be JSON"),
        (b"\xff", "The body must be JSON"),
        (b"", "The body must have 1 to 65536 bytes"),
        (b"1" * 70_000, "The body must have 1 to 65536 bytes"),
    ],
)
def test_the_service_refuses_with_a_sentence(service: str, body: bytes, sentence: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(service, body), timeout=30)  # noqa: S310
    assert refused.value.code == 400
    assert sentence in json.load(refused.value)["error"]


def test_the_service_follows_the_champion(service: str, repository: ModelRepository) -> None:
    publishable(0.01).release(repository)
    deadline = time.monotonic() + 30
    while _asked(service, ROWS[0])["version"] != 2:
        assert time.monotonic() < deadline
    expected = Predictor.load(repository.folder).predict_one(**ROWS[0])
    assert _asked(service, ROWS[0])["probabilities"] == pytest.approx(expected.probabilities)


def test_the_service_goes_on_with_the_champion_before_one_that_cannot_be_loaded(
    service: str, repository: ModelRepository, said: Path
) -> None:
    """And takes the next that can."""
    second = publishable(0.01).release(repository)
    (repository.folder / "versions" / str(second) / "model.onnx").write_bytes(b"damaged")
    deadline = time.monotonic() + 30
    while "Version 1 goes on: " not in said.read_text():
        assert time.monotonic() < deadline
        assert _asked(service, ROWS[0])["version"] == 1
    publishable(0.1).release(repository)
    deadline = time.monotonic() + 30
    while _asked(service, ROWS[0])["version"] != 3:
        assert time.monotonic() < deadline


def test_the_service_says_that_there_is_no_model(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "service.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "has no champion" in done.stderr) == (1, True)


@pytest.fixture
def server(repository: ModelRepository) -> Iterator[str]:
    """The address of a running inference server."""
    command = [
        *(sys.executable, "-m", "wine_assets.serving", "--model", str(repository.folder)),
        *("--port", "0", "--grpc-port", "0", "--drain-s", "0"),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = (json.loads(line) for line in process.stderr)
        address = next(line["address"] for line in lines if line["message"] == "Listening.")
        next(line for line in lines if line["message"] == "A model is served.")
        yield str(address)
        process.terminate()


def _client(rows: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(EXAMPLES / "client.py"), *arguments]
    return subprocess.run(command, input=rows, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("way", [[], ["--by-name"]])
def test_the_client_asks_the_server_for_many_rows_at_once(
    server: str, repository: ModelRepository, way: list[str]
) -> None:
    """More than it asks for at a time, and with a blank line among them."""
    done = _client("\n".join(["", *(json.dumps(row) for row in ROWS * 6)]), server, *way)
    assert (done.returncode, done.stderr) == (0, "")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    labels, probabilities = Predictor.load(repository.folder).predict_both(wine().drop(columns="target"))
    assert [answer["label"] for answer in answers] == labels.tolist() * 6
    assert [answer["probabilities"] for answer in answers[-178:]] == pytest.approx(probabilities)
    assert {answer["version"] for answer in answers} == {"1"}


def test_the_client_says_what_the_server_says_and_what_is_wrong_with_a_row(server: str) -> None:
    row = json.dumps(ROWS[0])
    asked = {
        "The JSON of the request can't be read": _client(json.dumps(ROWS[0] | {"hue": "red"}), server),
        "`hue` is missing": _client(row.replace('"hue"', '"tone"'), server, "--by-name"),
        "A row has no 'hue'. The features are alcohol": _client(row.replace('"hue"', '"tone"'), server),
        "There is no model 'beer'": _client(row, server, "--model", "beer"),
        "Line 2 must be a JSON object of feature values (": _client(f"{row}\n{{", server),
        "Line 1 must be a JSON object of feature values, got [1].": _client("[1]", server),
        "There is no such route.": _client(row, f"{server}/elsewhere"),
    }
    for sentence, done in asked.items():
        assert sentence in done.stderr
        assert (done.returncode, done.stdout, done.stderr.strip()[-1]) == (1, "", ".")
    nothing = _client("", server)
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "", "")


def test_the_client_says_when_there_is_no_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]  # free again in a moment
    done = _client(json.dumps(ROWS[0]), f"http://127.0.0.1:{port}")
    assert (done.returncode, "Start the server with: make serve." in done.stderr) == (1, True)


def test_the_client_says_when_another_server_answers(service: str) -> None:
    done = _client(json.dumps(ROWS[0]), service)
    assert (done.returncode, "answers 501" in done.stderr) == (1, True)
    assert done.stderr.endswith("Is it the inference server?\n")
