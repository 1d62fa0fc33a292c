"""The examples, run as the guide says."""

import json
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
from wine_assets_tests.inference.published import publishable
from wine_assets_tests.wines import wine

EXAMPLES = Path(__file__).parents[1] / "examples"
ROWS: list[dict[str, Any]] = json.loads(wine().drop(columns="target").to_json(orient="records"))


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    repository = ModelRepository(tmp_path / "wine")
    publishable(1.0).release(repository)
    return repository


@pytest.fixture
def service(repository: ModelRepository) -> Iterator[str]:
    """The address of a running service."""
    command = [sys.executable, str(EXAMPLES / "service.py"), str(repository.folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


def _asked(url: str, body: Any) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=30) as answer:  # noqa: S310
        return json.load(answer)


def test_the_service_answers_as_the_predictor_does(service: str, repository: ModelRepository) -> None:
    predictor = Predictor.load(repository.folder)
    for row in ROWS[::40]:
        expected = predictor.predict_one(**row)
        answer = _asked(service, row)
        assert (answer["label"], answer["version"]) == (expected.label, 1)
        assert answer["probabilities"] == pytest.approx(expected.probabilities)


@pytest.mark.parametrize(("body", "sentence"), [({"alcohol": 1}, "are missing"), ([1], "must be a JSON object")])
def test_the_service_refuses_with_a_sentence(service: str, body: Any, sentence: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        _asked(service, body)
    assert refused.value.code == 400
    assert sentence in json.load(refused.value)["error"]


def test_the_service_follows_the_champion(service: str, repository: ModelRepository) -> None:
    publishable(0.01).release(repository)
    deadline = time.monotonic() + 30
    while _asked(service, ROWS[0])["version"] != 2:
        assert time.monotonic() < deadline
    expected = Predictor.load(repository.folder).predict_one(**ROWS[0])
    assert _asked(service, ROWS[0])["probabilities"] == pytest.approx(expected.probabilities)


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


def test_the_client_asks_the_server_for_many_rows_at_once(server: str, repository: ModelRepository) -> None:
    command = [sys.executable, str(EXAMPLES / "client.py"), server]
    lines = "\n".join(json.dumps(row) for row in ROWS)
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True, timeout=60)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    labels, probabilities = Predictor.load(repository.folder).predict_both(wine().drop(columns="target"))
    assert [answer["label"] for answer in answers] == labels.tolist()
    assert answers[100]["probabilities"] == pytest.approx(probabilities[100].tolist())
    assert {answer["version"] for answer in answers} == {"1"}


def test_the_client_says_what_the_server_says_and_when_there_is_none(server: str) -> None:
    command = [sys.executable, str(EXAMPLES / "client.py")]
    bad = json.dumps(ROWS[0] | {"hue": "red"})
    refused = subprocess.run([*command, server], input=bad, capture_output=True, text=True, check=False, timeout=60)
    assert (refused.returncode, refused.stderr.strip()[-1:]) == (1, ".")
    nowhere = [*command, "http://127.0.0.1:9"]
    done = subprocess.run(nowhere, input=bad, capture_output=True, text=True, check=False, timeout=60)
    assert "Start the server with: make serve." in done.stderr
