"""Arbitrary bodies, most of them invalid."""

import copy
import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wine_assets_tests.support.serving.models import named_rows, request, rows
from wine_assets_tests.support.serving.server_process import Client, Reply, ServerProcess

EXAMPLES, SOAK_EXAMPLES = 200, 20_000
ALLOWED = {200, 400, 404, 405, 408, 413, 415, 422, 503}
PATHS = ("/v2/models/wine/infer", "/v2/models/wine/versions/1/infer", "/predict")
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [0, -1, 13, 12, 2**31, 2**63, 2**64, 1.5, 1e39, -0.0, True, None, "1", "", [], [1], {}]
)
JSON = st.recursive(
    ODD | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=10), inner, max_size=6),
    max_leaves=15,
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.sampled_from(["application/json", "application/octet-stream", "text/plain", "x", ""]),
        "Content-Encoding": st.sampled_from(["gzip", "deflate", "br", "identity", ""]),
        "Accept-Encoding": st.sampled_from(["gzip", "deflate", "gzip;q=0", "*", ",;q="]),
        "Inference-Header-Content-Length": st.sampled_from(["0", "1", "10", "170", "9999999", "-1", "x"]),
        "X-Request-Id": st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80),
    },
)


@st.composite
def almost_right(draw: Any) -> bytes:
    """Return a good request in which something was replaced, removed or added."""
    body: Any = draw(st.sampled_from([request(rows()[:2]), named_rows()[0], named_rows()[:2]]))
    body = json.loads(json.dumps(body))
    for _ in range(draw(st.integers(1, 3))):
        place = body
        while isinstance(place, dict | list) and place:
            key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            inner = place[key]
            if not isinstance(inner, dict | list) or draw(st.booleans()):
                place[key] = copy.deepcopy(draw(JSON))  # which another turn may change
                break
            place = inner
    return json.dumps(body).encode()


BODIES = st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()) | almost_right()


def check(reply: Reply) -> None:
    assert reply.status in ALLOWED, reply
    if reply.status != 200:
        sentence = reply.json["error"]
        assert sentence.endswith(".")
        for leak in ("Traceback", "/work/", "site-packages", ".py", "0x7f"):
            assert leak not in sentence


def _ask(server: ServerProcess, examples: int) -> None:
    with server.client() as client:

        @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(st.sampled_from(PATHS), BODIES, HEADERS)
        def ask(path: str, body: bytes, headers: dict[str, str]) -> None:
            check(client.ask("POST", path, body, **headers))

        ask()


def test_any_body_gets_a_documented_answer(server: ServerProcess, client: Client) -> None:
    """No body leads to an unexpected status, a traceback or an error in the log."""
    _ask(server, EXAMPLES)
    assert client.get("/v2/health/ready").status == 200
    assert [line for line in server.log() if line["level"] == "error"] == []


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.skipif("SOAK" not in os.environ, reason="takes minutes; `make soak` runs it")
def test_many_bodies_get_documented_answers(server: ServerProcess) -> None:
    """The long form of `test_any_body_gets_a_documented_answer`."""
    _ask(server, SOAK_EXAMPLES)
    assert [line for line in server.log() if line["level"] == "error"] == []
