import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wine_assets.serving.grpc_api.generate import PACKAGE, generate
from wine_assets_tests.serving.models import expected, promote, published, rows
from wine_assets_tests.serving.running import Running, running

ROOT = Path(__file__).parents[2]


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, str]]:
    """A server of version 1, and the address of its gRPC side."""
    folder, port = tmp_path_factory.mktemp("served"), _free_port()
    promote(published(folder / "wine"), 1)
    flags = ("--grpc-port", str(port), "--body-limit-bytes", "4000000")
    with running(folder / "wine", folder / "log", *flags) as server:
        server.wait_for_version(1)
        yield server, f"127.0.0.1:{port}"


def _asked(client: str, address: str, given: Any) -> Any:
    command = [sys.executable, "-m", "wine_assets_tests.serving.grpc_asking", client, address]
    done = subprocess.run(
        command, input=json.dumps(given), capture_output=True, text=True, check=False, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def triton(both: tuple[Running, str]) -> Any:
    return _asked("tritonclient", both[1], rows().tolist())


def test_tritonclient_gets_the_answers_of_the_model(triton: Any) -> None:
    labels, probabilities = expected(1)
    assert (triton["labels"], triton["probabilities"]) == (labels, probabilities)
    assert (triton["id"], triton["version"], triton["limited"]) == ("mine", "1", ["label"])


def test_tritonclient_finds_the_server_and_the_model(triton: Any) -> None:
    assert (triton["live"], triton["ready"], triton["models"]) == (True, True, [True, False, False])
    assert (triton["server"], triton["inputs"]) == ("wine-assets", [["features", "FP32", [-1, 13]]])


@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("unknown model", "NOT_FOUND: There is no model 'beer'. The model served is `wine`."),
        ("unknown version", "NOT_FOUND: `wine` has no version '9' here. The version served is 1."),
        ("unknown output", "INVALID_ARGUMENT: There is no output 'x'. The outputs are label, probabilities."),
        ("bad shape", "INVALID_ARGUMENT: `features` must have the shape [n, 13]"),
    ],
)
def test_tritonclient_shows_its_user_the_sentence_of_a_refusal(triton: Any, what: str, answer: str) -> None:
    assert triton[what].startswith(answer)


def test_typed_values_are_answered_with_typed_values_whatever_their_datatype(both: tuple[Running, str]) -> None:
    answers = _asked("open_inference", both[1], rows().tolist())
    labels, probabilities = expected(1)
    for datatype in ("FP32", "FP64"):
        assert answers[datatype]["labels"] == labels
        assert answers[datatype]["probabilities"] == [value for row in probabilities for value in row]
    assert answers["INT32"]["probabilities"] == answers["INT64"]["probabilities"]
    assert {(answer["raw"], answer["id"]) for answer in answers.values()} == {(0, name) for name in answers}


@pytest.fixture(scope="module")
def hostile(both: tuple[Running, str]) -> Any:
    return _asked("hostile", both[1], rows().tolist())


@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("nothing", "INVALID_ARGUMENT: `inputs` is empty. Send one input named `features`."),
        ("NaN", "INVALID_ARGUMENT: `alcohol` is NaN in row 0."),
        ("too large", "INVALID_ARGUMENT: `alcohol` is infinite in row 0."),
        ("too few values", "INVALID_ARGUMENT: `features` of shape [1, 13] and datatype FP32 takes 52 bytes, got 4."),
        ("absurd shape", "INVALID_ARGUMENT: `features` must have the shape [n, 13]"),
        ("negative shape", "INVALID_ARGUMENT: `features` must have from 1 to 10000 rows, got -1."),
        ("another datatype", "INVALID_ARGUMENT: `features` must have one of the datatypes FP32, FP64, INT32, INT64"),
        ("values of another type", "INVALID_ARGUMENT: Values of datatype FP32 belong into `fp32_contents`, got `int_"),
        ("raw and typed", "INVALID_ARGUMENT: Send raw_input_contents for all 1 inputs and no `contents`"),
        ("raw of another length", "INVALID_ARGUMENT: `features` of shape [1, 13] and datatype FP32 takes 52 bytes"),
        ("raw for another input", "INVALID_ARGUMENT: Send raw_input_contents for all 1 inputs"),
        ("a name of another", "INVALID_ARGUMENT: There is no input '../features'."),
        ("a thousand outputs", "INVALID_ARGUMENT: An output is asked for more than once."),
        ("a path for a model", "NOT_FOUND: There is no model '../../etc/passwd'."),
        ("too long", "RESOURCE_EXHAUSTED: "),
        ("good after all", "OK"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_status_and_a_sentence(hostile: Any, what: str, answer: str) -> None:
    assert hostile[what].startswith(answer)


def test_calls_are_counted_as_requests_of_rest_are(both: tuple[Running, str], triton: Any) -> None:
    server, _ = both
    assert triton["labels"]
    assert server.metric("model_infer_request_success_total") >= 2
    assert server.metric("model_infer_request_failure_total") >= 3


def test_only_health_needs_no_token(tmp_path: Path) -> None:
    token, port = tmp_path / "token", _free_port()
    token.write_text("a-token-of-some-length\n")
    with running(tmp_path / "wine", tmp_path / "log", "--grpc-port", str(port), "--token-file", str(token)) as server:
        asked = _asked("health", f"127.0.0.1:{port}", "a-token-of-some-length")
        assert server.get("/v2/health/ready").status == 503
    refused = "UNAUTHENTICATED: A bearer token is required"
    assert (asked["server"], asked["service"], asked["live"], asked["ready"]) == (2, 2, True, False)
    assert asked["other"].startswith("NOT_FOUND: There is no such service.")
    assert (asked["model"][: len(refused)], asked["with another"][: len(refused)]) == (refused, refused)
    assert asked["with the token"] == "OK"


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        command = [sys.executable, "-m", "wine_assets.serving", "--model", str(tmp_path), "--port", "0"]
        done = subprocess.run(
            [*command, "--grpc-port", str(port)], capture_output=True, text=True, check=False, timeout=60
        )
    assert done.returncode == 2
    assert f"gRPC can't listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_generated_code_is_that_of_the_messages(tmp_path: Path) -> None:
    """`python -m wine_assets.serving.grpc_api.generate` writes it anew."""
    assert generate(ROOT, tmp_path) == 0
    made = sorted((tmp_path / PACKAGE).iterdir())
    assert [path.name for path in made] == [
        *("open_inference_pb2.py", "open_inference_pb2.pyi", "open_inference_pb2_grpc.py"),
    ]
    for path in made:
        assert (ROOT / PACKAGE / path.name).read_text() == path.read_text()
