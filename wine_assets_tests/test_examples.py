"""The examples, run as users run them."""

import contextlib
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
from wine_assets_tests.support.processes import PATIENCE_S
from wine_assets_tests.support.published_models import publishable
from wine_assets_tests.support.wine_frames import wine

pytestmark = pytest.mark.process

EXAMPLES = Path(__file__).parents[1] / "examples"
ROWS: list[dict[str, Any]] = json.loads(wine().drop(columns="target").to_json(orient="records"))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> ModelRepository:
    """A repository of one version, for tests that only look."""
    repository = ModelRepository(tmp_path_factory.mktemp("models") / "wine")
    publishable(1.0).release(repository)
    return repository


@pytest.fixture(scope="module")
def service(repository: ModelRepository, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running service, for tests that only ask."""
    with running_service(repository, tmp_path_factory.mktemp("service") / "messages") as address:
        yield address


@pytest.fixture
def own_repository(tmp_path: Path) -> ModelRepository:
    """A repository of one version that the test may release others in."""
    repository = ModelRepository(tmp_path / "wine")
    publishable(1.0).release(repository)
    return repository


@pytest.fixture
def messages(tmp_path: Path) -> Path:
    """The file of the messages of the test's own service."""
    return tmp_path / "messages"


@pytest.fixture
def own_service(own_repository: ModelRepository, messages: Path) -> Iterator[str]:
    """The address of a running service of the test's own."""
    with running_service(own_repository, messages) as address:
        yield address


@contextlib.contextmanager
def running_service(repository: ModelRepository, messages: Path) -> Iterator[str]:
    command = [sys.executable, str(EXAMPLES / "service.py"), str(repository.folder), "--port", "0"]
    with (
        messages.open("w") as stderr,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


def _post(url: str, body: Any) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=PATIENCE_S) as answer:  # noqa: S310
        return json.load(answer)


def test_service_port_taken(service: str, repository: ModelRepository) -> None:
    """A service whose port is taken exits with a sentence."""
    port = service.rpartition(":")[2]
    command = [sys.executable, str(EXAMPLES / "service.py"), str(repository.folder), "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 1
    assert re.fullmatch(rf"Port {port} of 127\.0\.0\.1 can't be had \(.*\)\. Give another --port\.\n", done.stderr)


def test_service_answers(service: str, repository: ModelRepository) -> None:
    """The service answers as the predictor does."""
    predictor = Predictor.load(repository.folder)
    for row in ROWS[::40]:
        expected = predictor.predict_one(**row)
        answer = _post(service, row)
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
def test_service_refuses_body(service: str, body: bytes, sentence: str) -> None:
    """A body that is no row gets status 400 and a sentence."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(service, body), timeout=PATIENCE_S)  # noqa: S310
    assert refused.value.code == 400
    assert sentence in json.load(refused.value)["error"]


def test_service_follows_champion(own_service: str, own_repository: ModelRepository) -> None:
    """The service uses a newly released version without a restart."""
    publishable(0.01).release(own_repository)
    deadline = time.monotonic() + PATIENCE_S
    while _post(own_service, ROWS[0])["version"] != 2:
        assert time.monotonic() < deadline
    expected = Predictor.load(own_repository.folder).predict_one(**ROWS[0])
    assert _post(own_service, ROWS[0])["probabilities"] == pytest.approx(expected.probabilities)


def test_service_keeps_last_champion(own_service: str, own_repository: ModelRepository, messages: Path) -> None:
    """The service keeps the champion before a damaged one, and uses the next good one."""
    second = publishable(0.01).release(own_repository)
    (own_repository.folder / "versions" / str(second) / "model.onnx").write_bytes(b"damaged")
    deadline = time.monotonic() + PATIENCE_S
    while "Version 1 goes on: " not in messages.read_text():
        assert time.monotonic() < deadline
        assert _post(own_service, ROWS[0])["version"] == 1
    publishable(0.1).release(own_repository)
    deadline = time.monotonic() + PATIENCE_S
    while _post(own_service, ROWS[0])["version"] != 3:
        assert time.monotonic() < deadline


def test_service_without_model(tmp_path: Path) -> None:
    """A service without a champion exits with a sentence."""
    command = [sys.executable, str(EXAMPLES / "service.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert (done.returncode, "has no champion" in done.stderr) == (1, True)


@pytest.fixture(scope="module")
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
    return subprocess.run(command, input=rows, capture_output=True, text=True, check=False, timeout=PATIENCE_S)


@pytest.mark.parametrize("way", [[], ["--by-name"]])
def test_client_predicts(server: str, repository: ModelRepository, way: list[str]) -> None:
    """The client predicts more rows than one batch has, and passes over blank lines."""
    done = _client("\n".join(["", *(json.dumps(row) for row in ROWS * 6)]), server, *way)
    assert (done.returncode, done.stderr) == (0, "")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    labels, probabilities = Predictor.load(repository.folder).predict_both(wine().drop(columns="target"))
    assert [answer["label"] for answer in answers] == labels.tolist() * 6
    assert [answer["probabilities"] for answer in answers[-178:]] == pytest.approx(probabilities)
    assert {answer["version"] for answer in answers} == {"1"}


def test_client_errors(server: str) -> None:
    """The client exits with the server's sentence, or with one about the wrong line."""
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


def test_client_closed_output(server: str) -> None:
    """The client ends in silence if the reader of its output has enough."""
    command = [sys.executable, str(EXAMPLES / "client.py"), server]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, stderr = process.communicate(json.dumps(ROWS[0]), timeout=PATIENCE_S)
    assert (process.returncode, stderr) == (0, "")


def test_client_without_server() -> None:
    """The client says how to start a server if it reaches none."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]  # free again in a moment
    done = _client(json.dumps(ROWS[0]), f"http://127.0.0.1:{port}")
    assert (done.returncode, "Start the server with: make serve." in done.stderr) == (1, True)


def test_client_of_another_server(service: str) -> None:
    """The client asks whether another kind of server is the right one."""
    done = _client(json.dumps(ROWS[0]), service)
    assert (done.returncode, "answers 501" in done.stderr) == (1, True)
    assert done.stderr.endswith("Is it the inference server?\n")
