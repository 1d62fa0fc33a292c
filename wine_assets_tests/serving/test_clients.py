"""Clients that others wrote, each in a process of its own."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wine_assets.inference import Predictor
from wine_assets.models.reference import REFERENCE
from wine_assets_tests.support.serving.clients import run_client, serve_http_and_grpc
from wine_assets_tests.support.serving.kserve_environment import INSTALLING_S, kserve_python
from wine_assets_tests.support.serving.models import rows
from wine_assets_tests.support.serving.server_process import ServerProcess
from wine_assets_tests.support.wine_frames import SAMPLED_LABELS, SAMPLED_ROWS, exported

pytestmark = [pytest.mark.xdist_group("clients"), pytest.mark.timeout(INSTALLING_S + 300)]  # one makes an environment
REFERENCE_VERSION = 2
TRITON_HTTP, TRITON_GRPC = "tritonclient over HTTP", "tritonclient over gRPC"
OPEN_HTTP, OPEN_GRPC = "open-inference-openapi", "open-inference-grpc"
KSERVE_HTTP, KSERVE_GRPC = "KServe over HTTP", "KServe over gRPC"
SCRIPTS = {
    TRITON_HTTP: ("clients_triton", "http"),
    TRITON_GRPC: ("clients_triton", "grpc"),
    OPEN_HTTP: ("clients_open_inference_http",),
    OPEN_GRPC: ("clients_open_inference_grpc",),
    KSERVE_HTTP: ("clients_kserve", "http"),
    KSERVE_GRPC: ("clients_kserve", "grpc"),
}
WAYS = {TRITON_HTTP: 18, TRITON_GRPC: 3, OPEN_HTTP: 4, OPEN_GRPC: 8, KSERVE_HTTP: 2, KSERVE_GRPC: 2}
"""How many ways to send the same rows each has: values as bytes or numbers, datatypes, and compressions."""
KNOW_NO_METADATA = (KSERVE_HTTP, KSERVE_GRPC)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, str]]:
    """A server of the reference model, and the address of its gRPC side."""
    with serve_http_and_grpc(tmp_path_factory.mktemp("served"), REFERENCE_VERSION) as started:
        yield started


@pytest.fixture(scope="module", params=SCRIPTS)
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def findings(client: str, both: tuple[ServerProcess, str]) -> Any:
    """What a client found when it had asked for everything that it can ask for."""
    server, grpc = both
    http = f"127.0.0.1:{server.port}"
    address = grpc if "grpc" in client.lower() else http
    python = kserve_python() if client.startswith("KServe") else Path(sys.executable)
    return run_client(*SCRIPTS[client], address, data=_reference_rows().tolist(), python=python)


def _reference_rows() -> Any:
    return rows()[SAMPLED_ROWS]


def test_it_finds_the_server_and_the_model_ready(findings: Any) -> None:
    assert (findings["live"], findings["ready"], findings["model ready"]) == (True, True, True)
    assert findings["other model ready"] is False


def test_it_learns_what_the_model_takes_and_gives(client: str, findings: Any) -> None:
    if client in KNOW_NO_METADATA:
        assert "server" not in findings
        return
    assert (findings["server"], findings["versions"]) == ("wine-assets", ["2"])
    assert findings["inputs"] == [["features", "FP32", -1, 13]]
    assert findings["outputs"] == ["label", "probabilities"]


def test_third_party_client_gets_our_predictions(client: str, findings: Any) -> None:
    """A third-party client gets a predictor's results, whichever way it sends the rows.

    To the last bit: what is sent as whole numbers is compared with the answers to whole numbers.
    """
    predictor = Predictor(exported(REFERENCE))
    assert len(findings["answers"]) == WAYS[client]
    for way, answer in findings["answers"].items():
        asked = np.rint(_reference_rows()) if "INT" in way else _reference_rows()
        labels, probabilities = predictor.predict_both(asked)
        assert answer["labels"] == labels.tolist(), way
        assert np.array_equal(np.array(answer["probabilities"], dtype=np.float32), probabilities), way
        if "INT" not in way:
            assert answer["labels"] == SAMPLED_LABELS


def test_it_reads_its_own_id_and_the_version_that_answered(client: str, findings: Any) -> None:
    """KServe's client reads no version from JSON."""
    version = None if client == KSERVE_HTTP else "2"
    assert {(answer["id"], answer["version"]) for answer in findings["answers"].values()} == {("mine", version)}


def test_it_gets_the_outputs_that_it_asks_for_alone(findings: Any) -> None:
    assert findings["limited"] == ["label"]


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("unknown model", "There is no model 'beer'. The model served is `wine`."),
        ("unknown version", "`wine` has no version '9' here. The version served is 2."),
        ("unknown output", "There is no output 'x'. The outputs are label, probabilities."),
        ("bad shape", "`features` must have the shape [n, 13], a column for each of alcohol, malic_acid,"),
    ],
)
def test_it_shows_its_user_why_a_request_failed(client: str, what: str, sentence: str, findings: Any) -> None:
    if what == "unknown version" and client in KNOW_NO_METADATA:
        assert what not in findings  # it can't ask for one
        return
    assert sentence in findings[what]


def test_raw_values_are_answered_raw_and_typed_ones_typed(both: tuple[ServerProcess, str]) -> None:
    answers = run_client(*SCRIPTS[OPEN_GRPC], both[1], data=_reference_rows().tolist())["answers"]
    assert {way: answer["raw"] for way, answer in answers.items()} == {
        way: 2 if way.startswith("raw ") else 0 for way in answers
    }
