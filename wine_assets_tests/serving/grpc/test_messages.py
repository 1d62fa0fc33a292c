import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wine_assets.serving.errors import InvalidRequestError
from wine_assets.serving.grpc import open_inference_pb2 as pb2
from wine_assets.serving.grpc import wire
from wine_assets_tests.support.serving.clients import run_client

OURS = "wine_assets.serving.grpc.open_inference_pb2"
NUMBERS = st.integers(-(2**63), 2**63 - 1)
PARAMETERS = st.dictionaries(st.text(max_size=8), NUMBERS, max_size=9)


@pytest.fixture(scope="module")
def ours() -> Any:
    return run_client("clients_messages", OURS)


@pytest.mark.parametrize("module", ["open_inference.grpc.protocol", "tritonclient.grpc.service_pb2"])
def test_names_and_numbers_are_those_that_clients_have(module: str, ours: Any) -> None:
    """They have more of both: what the protocol leaves to implementations."""
    theirs = run_client("clients_messages", module)
    assert {name: theirs["methods"][name] for name in ours["methods"]} == ours["methods"]
    for name in ours.keys() - {"methods"}:
        assert {field: theirs[name].get(field) for field in ours[name]} == ours[name], name


@st.composite
def _requests(draw: st.DrawFn) -> Any:
    """Requests that an honest client may send, whatever is in their fields."""
    message = pb2.ModelInferRequest(
        model_name=draw(st.text(max_size=200)), model_version=draw(st.text(max_size=9)), id=draw(st.text(max_size=99))
    )
    for name, value in draw(PARAMETERS).items():
        message.parameters[name].int64_param = value
    for _ in range(draw(st.integers(0, 3))):
        tensor = message.inputs.add(name=draw(st.text(max_size=9)), datatype="FP32", shape=draw(st.lists(NUMBERS)))
        tensor.contents.fp32_contents.extend(draw(st.lists(st.floats(width=32))))
        for name, value in draw(PARAMETERS).items():
            tensor.parameters[name].string_param = str(value)
        message.raw_input_contents.append(draw(st.binary()))
    for name in draw(st.lists(st.text(max_size=9), max_size=4)):
        message.outputs.add(name=name)
    return message


@given(_requests())
def test_a_request_of_few_parts_is_let_through(message: Any) -> None:
    wire.check(message.SerializeToString())


@given(_requests(), st.data())
def test_mutated_request_passes_or_is_rejected(message: Any, data: Any) -> None:
    """A truncated or changed request either passes the check or is rejected.

    And nothing else becomes of it, least of all another kind of error.
    """
    content = bytearray(message.SerializeToString())
    if content:
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidRequestError):
        wire.check(bytes(content[: data.draw(st.integers(0, len(content)))]))


@given(st.binary())
def test_any_bytes_are_let_through_or_refused(content: bytes) -> None:
    with contextlib.suppress(InvalidRequestError):
        wire.check(content)


@pytest.mark.parametrize("field", ["inputs", "outputs", "raw_input_contents"])
def test_the_last_part_that_is_let_through_is_the_sixty_fourth(field: str) -> None:
    message = pb2.ModelInferRequest()
    for _ in range(wire.MAX_FIELDS):
        getattr(message, field).append(b"") if field.startswith("raw") else getattr(message, field).add()
    wire.check(message.SerializeToString())
    message.id = "one more"
    with pytest.raises(InvalidRequestError):
        wire.check(message.SerializeToString())


@pytest.mark.parametrize(
    "content", [b"\x0a", b"\x0a\x02a", b"\x08", b"\x80", b"\x80" * 20, b"\x0d\0", b"\x09\0", b"\x0b", b"\x0c"]
)
def test_half_a_value_is_no_value(content: bytes) -> None:
    with pytest.raises(wire.MalformedError):
        wire.check(content)
