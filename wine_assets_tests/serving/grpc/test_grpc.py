import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wine_assets.serving.grpc.generate import PACKAGE, generate
from wine_assets.serving.grpc.message_reader import MAX_SLOW_READS
from wine_assets_tests.support.serving.clients import (
    CLIENT_S,
    read_line,
    run_client,
    send_line,
    serve_http_and_grpc,
    serve_without_model,
    start_client,
)
from wine_assets_tests.support.serving.models import rows
from wine_assets_tests.support.serving.server_process import ServerProcess

ROOT = Path(__file__).parents[3]
CLIENT = "grpc_client"
CALLS = 20
UNREADABLE = "INVALID_ARGUMENT: The message can't be read as inference.ModelInferRequest. Send one that is."


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, str]]:
    """A server of version 1, and the address of its gRPC side."""
    with serve_http_and_grpc(tmp_path_factory.mktemp("served"), 1, "--body-limit-bytes", "4000000") as serving:
        yield serving


@pytest.fixture(scope="module")
def hostile(both: tuple[ServerProcess, str]) -> Any:
    return run_client(CLIENT, "hostile", both[1], data=rows()[0].tolist())


@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("nothing", "INVALID_ARGUMENT: `inputs` is empty. Send one input named `features`."),
        ("NaN", "INVALID_ARGUMENT: `alcohol` is NaN in row 0."),
        ("too large", "INVALID_ARGUMENT: `alcohol` is infinite in row 0."),
        ("too few values", "INVALID_ARGUMENT: `features` of shape [1, 13] takes 13 values, got 1."),
        ("no values", "INVALID_ARGUMENT: `features` of shape [1, 13] takes 13 values, got 0."),
        ("absurd shape", "INVALID_ARGUMENT: `features` must have the shape [n, 13]"),
        ("largest shape", "INVALID_ARGUMENT: `features` must have from 1 to 10000 rows, got 9223372036854775807."),
        ("negative shape", "INVALID_ARGUMENT: `features` must have from 1 to 10000 rows, got -1."),
        ("many dimensions", "INVALID_ARGUMENT: `features` must have the shape [n, 13]"),
        ("a third dimension", "INVALID_ARGUMENT: `features` must have the shape [n, 13]"),
        ("another datatype", "INVALID_ARGUMENT: `features` must have one of the datatypes FP32, FP64, INT32, INT64"),
        ("values of another type", "INVALID_ARGUMENT: Values of datatype FP32 belong into `fp32_contents`, got `int_"),
        ("raw and typed", "INVALID_ARGUMENT: Send raw_input_contents for all 1 inputs and no `contents`"),
        ("raw of another length", "INVALID_ARGUMENT: `features` of shape [1, 13] and datatype FP32 takes 52 bytes"),
        ("raw for another input", "INVALID_ARGUMENT: Send raw_input_contents for all 1 inputs"),
        ("raw NaN", "INVALID_ARGUMENT: `alcohol` is NaN in row 0."),
        ("a name of another", "INVALID_ARGUMENT: There is no input '../features'."),
        ("an output twice", "INVALID_ARGUMENT: An output is asked for more than once."),
        ("a path for a model", "NOT_FOUND: There is no model '../../etc/passwd'."),
        ("too long", "RESOURCE_EXHAUSTED: "),
        ("good after all", "OK"),
    ],
)
def test_invalid_calls_get_status_and_sentence(hostile: Any, what: str, answer: str) -> None:
    """An invalid call gets its status code and a sentence."""
    assert hostile[what].startswith(answer)


@pytest.fixture(scope="module")
def wire(both: tuple[ServerProcess, str]) -> Any:
    return run_client(CLIENT, "wire", both[1], data=rows()[0].tolist())


@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("a million inputs", "INVALID_ARGUMENT: `inputs` holds more than there is. Send one input named `features`."),
        ("a million outputs", "INVALID_ARGUMENT: `outputs` asks for more than there is. The outputs are label, prob"),
        ("a million raw contents", "INVALID_ARGUMENT: raw_input_contents belong to more inputs than there are."),
        ("many parameters", "INVALID_ARGUMENT: The request has more than 64 parts."),
        ("many parameters of an input", "INVALID_ARGUMENT: The request has more than 64 parts."),
        ("some parameters", "OK"),
        ("an unknown field of each kind", "OK"),
        ("no message that there is", UNREADABLE),
        ("a group", UNREADABLE),
        ("half a message", UNREADABLE),
        ("a text that is none", UNREADABLE),
        ("a large one packed small", "RESOURCE_EXHAUSTED: "),
        ("a small one packed", "OK"),
        ("no message", "INVALID_ARGUMENT: The call has no message. Send one."),
        ("a method that there is not", "UNIMPLEMENTED: There is no such method here."),
        ("a service that there is not", "UNIMPLEMENTED: There is no such method here."),
        ("good after all", "OK"),
    ],
)
def test_bytes_are_looked_at_before_anything_is_made_of_them(wire: Any, what: str, answer: str) -> None:
    assert wire[what].startswith(answer)


def test_nothing_that_a_client_sends_is_worth_a_line_of_the_log(both: tuple[ServerProcess, str], wire: Any) -> None:
    """Or clients could fill a disk."""
    assert wire["good after all"] == "OK"
    assert {line["level"] for line in both[0].log()} == {"info"}


def test_requests_are_counted_as_requests_of_rest_are(both: tuple[ServerProcess, str], hostile: Any, wire: Any) -> None:
    server, _ = both
    before = {name: server.metric(f"model_infer_request_{name}_total") for name in ("success", "failure")}
    again = run_client(CLIENT, "hostile", both[1], data=rows()[0].tolist())
    refused = [what for what, answer in again.items() if answer.startswith("INVALID_ARGUMENT: ")]
    early = {"values of another type", "raw and typed", "raw for another input"}  # as JSON that can't be read
    assert server.metric("model_infer_request_success_total") == before["success"] + 1
    assert server.metric("model_infer_request_failure_total") == before["failure"] + len({*refused} - early)


def test_calls_are_counted_by_method_and_by_how_they_end(
    both: tuple[ServerProcess, str], wire: Any, hostile: Any
) -> None:
    metrics = both[0].get("/metrics").body.decode()
    names = 'grpc_method="ModelInfer",grpc_service="inference.GRPCInferenceService",grpc_type="UNARY"'
    for code in ("OK", "INVALID_ARGUMENT"):
        assert f'grpc_server_handled_total{{grpc_code="{code}",{names}}}' in metrics
    assert both[0].metric("grpc_server_started_total") == both[0].metric("grpc_server_handled_total")


def test_unknown_methods_have_fixed_labels(both: tuple[ServerProcess, str], wire: Any) -> None:
    """Calls of unknown methods are counted under labels that contain no text of the client."""
    metrics = both[0].get("/metrics").body.decode()
    others = 'grpc_code="UNIMPLEMENTED",grpc_method="other",grpc_service="other",grpc_type="other"'
    assert f"grpc_server_handled_total{{{others}}}" in metrics
    assert "Nothing" not in metrics


def test_too_large_message_counts_as_cancelled(tmp_path: Path) -> None:
    """A message that grpcio rejects as too large is counted as a cancelled call.

    It tells nobody why.
    """
    with serve_http_and_grpc(tmp_path, 1, "--body-limit-bytes", "4000000") as (server, address):
        assert run_client(CLIENT, "large", address).startswith("RESOURCE_EXHAUSTED: ")
        server.wait_for(lambda: server.metric("grpc_server_handled_total") == 1)
        assert 'grpc_server_handled_total{grpc_code="CANCELLED",' in server.get("/metrics").body.decode()


TOKEN = "a-token-of-some-length"  # noqa: S105 - opens nothing


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a server without a model, and with a token, says."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "token").write_text(f"{TOKEN}\n")
    with serve_without_model(folder, "--token-file", str(folder / "token")) as (_, address):
        return run_client(CLIENT, "health", address, data=TOKEN)


def test_health_needs_no_token_and_says_that_there_is_no_model(guarded: Any) -> None:
    not_serving = 2
    assert (guarded["server"], guarded["service"]) == (not_serving, not_serving)
    assert (guarded["live"], guarded["ready"]) == (True, False)
    assert guarded["other"].startswith("NOT_FOUND: There is no such service.")


def test_methods_check_the_token_first(guarded: Any) -> None:
    """Every other method checks the token before it waits for the message."""
    refused = "UNAUTHENTICATED: A bearer token is required, and this one isn't it. Send Authorization: Bearer."
    assert {*guarded["without"].values(), guarded["with another"]} == {refused}
    assert guarded["with the token"] == "OK"


def test_without_a_model_the_server_is_unavailable(guarded: Any) -> None:
    assert guarded["model"] is False
    assert {guarded["metadata"], guarded["infer"]} == {
        "UNAVAILABLE: No model is loaded. Try again when the server is ready.",
    }


def test_a_message_that_does_not_come_is_not_waited_for_forever(tmp_path: Path) -> None:
    with serve_without_model(tmp_path, "--body-deadline-s", "0.2") as (_, address):
        answer = run_client(CLIENT, "silent", address)
    assert answer == "DEADLINE_EXCEEDED: The message of the call has to arrive in 0.2 s, and didn't."


def test_many_messages_that_do_not_come_are_waited_for_shortly(tmp_path: Path) -> None:
    """So that they don't fill the memory together; one that comes at once is answered all the same."""
    with serve_http_and_grpc(tmp_path, 1, "--body-deadline-s", "600") as (server, address):
        with start_client(CLIENT, "slow", address) as client:
            send_line(client, {"row": rows()[0].tolist(), "calls": MAX_SLOW_READS})
            server.wait_for(lambda: _begun(server) >= MAX_SLOW_READS)
            out, errors = client.communicate("\n", timeout=CLIENT_S)
        assert client.returncode == 0, errors
    assert json.loads(out) == {
        "one more": "DEADLINE_EXCEEDED: The message of the call has to arrive in 1 s, and didn't.",
        "a good one": "OK",
        "that wait": str(MAX_SLOW_READS),
    }


def test_running_calls_survive_shutdown(tmp_path: Path) -> None:
    """Calls that run when the server is told to stop are answered.

    And health says that it isn't serving, while it still answers, and the port is closed to others after that.
    """
    with serve_http_and_grpc(tmp_path, 1, "--drain-s", "60", "--finish-s", "30") as (server, address):
        with start_client(CLIENT, "waiting", address) as client:
            send_line(client, {"row": rows()[0].tolist(), "calls": CALLS})
            server.wait_for(lambda: _begun(server) >= CALLS)
            server.process.send_signal(signal.SIGTERM)
            assert read_line(client) == "draining"
            server.process.send_signal(signal.SIGTERM)  # don't drain any longer
            server.wait_for(lambda: not _listens(address))
            out, errors = client.communicate("\n", timeout=CLIENT_S)
        assert client.returncode == 0, errors
        assert json.loads(out) == ["OK"] * CALLS
        assert server.process.wait(30) == 0


def test_a_call_whose_message_never_comes_does_not_keep_a_server(tmp_path: Path) -> None:
    with serve_http_and_grpc(tmp_path, 1, "--finish-s", "0.2") as (server, address):
        with start_client(CLIENT, "silent", address) as client:
            send_line(client, None)
            server.wait_for(lambda: _begun(server) >= 1)
            assert server.stop() == 0
            out, errors = client.communicate(timeout=CLIENT_S)
        assert client.returncode == 0, errors
    assert json.loads(out).startswith(("UNAVAILABLE: ", "CANCELLED: "))


def test_more_calls_than_may_be_at_one_time_are_refused(tmp_path: Path) -> None:
    with serve_http_and_grpc(tmp_path, 1, "--connections", str(CALLS)) as (server, address):
        with start_client(CLIENT, "crowded", address) as client:
            send_line(client, {"row": rows()[0].tolist(), "calls": CALLS})
            server.wait_for(lambda: _begun(server) >= CALLS)
            out, errors = client.communicate("\n", timeout=CLIENT_S)
        assert client.returncode == 0, errors
        assert 'grpc_server_handled_total{grpc_code="RESOURCE_EXHAUSTED",' in server.get("/metrics").body.decode()
    answers = json.loads(out)
    assert answers["one more"] == f"RESOURCE_EXHAUSTED: {CALLS} such calls run already. Try again when some have ended."
    assert (answers["those that began"], answers["afterwards"]) == ("OK", "OK")


def _begun(server: ServerProcess) -> float:
    """Return how many inference requests have begun."""
    metrics = server.get("/metrics").body.decode().splitlines()
    started_ones = [line for line in metrics if line.startswith("grpc_server_started_total") and "ModelInfer" in line]
    return sum(float(line.split()[-1]) for line in started_ones)


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=60).close()
    except ConnectionError:
        return False
    return True


def test_workers_share_the_port_and_their_figures(tmp_path: Path) -> None:
    with serve_http_and_grpc(tmp_path, 1, "--workers", "2") as (server, address):
        server.wait_for(lambda: len(_listening(server)) == 2)
        answers = [run_client(CLIENT, "good", address, data=rows()[0].tolist()) for _ in range(3)]
        assert answers == ["OK"] * 3
        server.wait_for(lambda: server.metric("model_infer_request_success_total") == len(answers))
        assert server.metric("grpc_server_handled_total") == len(answers)
        assert "A worker died." not in {line["message"] for line in server.log()}


def _listening(server: ServerProcess) -> set[int]:
    """Return the processes that listen, over HTTP as well as gRPC."""
    return {line["pid"] for line in server.log() if line["message"] == "Listening."}


def test_a_call_is_logged_where_requests_are(tmp_path: Path) -> None:
    with serve_http_and_grpc(tmp_path, 1, "--access-log", "yes") as (server, address):
        run_client(CLIENT, "good", address, data=rows()[0].tolist())
        calls = [line for line in server.log() if line["message"] == "call"]
    assert [(line["method"], line["code"]) for line in calls] == [("/inference.GRPCInferenceService/ModelInfer", "OK")]


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
    """`python -m wine_assets.serving.grpc.generate` writes it anew."""
    assert generate(ROOT, tmp_path) == 0
    made = sorted((tmp_path / PACKAGE).iterdir())
    assert [path.name for path in made] == [
        *("open_inference_pb2.py", "open_inference_pb2.pyi", "open_inference_pb2_grpc.py"),
    ]
    for path in made:
        assert (ROOT / PACKAGE / path.name).read_text() == path.read_text()
