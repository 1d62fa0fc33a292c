import gzip
import json
import math
import struct
import zlib
from typing import Any

import numpy as np
import psutil
import pytest

from wine_assets_tests.support.serving.models import expected, named_rows, request, rows
from wine_assets_tests.support.serving.server_process import Client, Reply, ServerProcess

INFER = "/v2/models/wine/infer"
WIDTH = 13


def outputs_of(reply: Reply) -> dict[str, Any]:
    assert reply.status == 200, reply.body
    return {output["name"]: output for output in reply.json["outputs"]}


def refused(reply: Reply, status: int = 400) -> str:
    """Return why: a sentence in the one field that clients read."""
    assert reply.status == status, reply
    assert reply.headers["content-type"] == "application/json"
    assert reply.json.keys() == {"error"}
    sentence = str(reply.json["error"])
    assert sentence.endswith(".")
    assert "Traceback" not in sentence
    assert "/work" not in sentence
    return sentence


@pytest.mark.parametrize("count", [1, 2, 100, 178])
@pytest.mark.parametrize("path", [INFER, "/v2/models/wine/versions/1/infer"])
def test_rows_are_answered_as_the_library_answers_them(count: int, path: str, client: Client) -> None:
    reply = client.post(path, request(rows()[:count], id="mine"))
    outputs = outputs_of(reply)
    labels, probabilities = expected(1)
    assert outputs["label"] == {"name": "label", "datatype": "INT64", "shape": [count], "data": labels[:count]}
    assert outputs["probabilities"]["shape"] == [count, 2]
    assert outputs["probabilities"]["datatype"] == "FP32"
    answered = np.array(outputs["probabilities"]["data"]).reshape(count, 2)
    np.testing.assert_allclose(answered, probabilities[:count], atol=1e-6)
    answer = reply.json
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("wine", "1", "mine")


def test_a_request_without_id_and_type_is_answered_without_id(client: Client) -> None:
    """As clients of Triton send it."""
    reply = client.post(INFER, json.dumps(request(rows()[:1])).encode())
    assert "id" not in reply.json
    assert reply.headers["content-type"] == "application/json"


def test_rows_may_be_lists_of_their_own(client: Client) -> None:
    body = request(rows()[:3])
    body["inputs"][0]["data"] = rows()[:3].tolist()
    assert outputs_of(client.post(INFER, body))["label"]["data"] == expected(1)[0][:3]


@pytest.mark.parametrize("datatype", ["FP64", "INT32", "INT64"])
def test_numbers_of_other_types_are_taken(datatype: str, client: Client) -> None:
    whole = np.round(rows()[:2])
    body = request(whole)
    body["inputs"][0]["datatype"] = datatype
    assert outputs_of(client.post(INFER, body)) == outputs_of(client.post(INFER, request(whole)))


def test_requested_outputs_in_their_order(client: Client) -> None:
    """Only the requested outputs are returned, in the requested order."""
    for names in (["probabilities"], ["label"], ["probabilities", "label"]):
        reply = client.post(INFER, request(rows()[:1], outputs=[{"name": name} for name in names]))
        assert list(outputs_of(reply)) == names


def test_fields_that_are_not_known_are_ignored(client: Client) -> None:
    body = request(rows()[:1], parameters={"priority": 3, "x": [1]}, novelty={"deep": [[]]}, outputs=None)
    body["inputs"][0] |= {"parameters": {"content_type": "np"}, "more": 1}
    assert outputs_of(client.post(INFER, body))["label"]["data"] == expected(1)[0][:1]


def test_a_server_has_few_threads_however_large_the_batches(server: ServerProcess, client: Client) -> None:
    """Whatever the machine has: a container may have one processor of many."""
    for _ in range(10):
        outputs_of(client.post(INFER, request(np.tile(rows(), (10, 1)))))
    assert psutil.Process(server.process.pid).num_threads() <= 4


# --- binary tensors ----------------------------------------------------------


def binary(values: Any, *, datatype: str = "FP32", dtype: str = "<f4", **more: Any) -> tuple[bytes, str]:
    """Return a body of JSON and bytes, and the length of the JSON."""
    content = np.asarray(values).astype(dtype).tobytes()
    tensor: dict[str, Any] = {"name": "features", "shape": list(np.shape(values)), "datatype": datatype}
    tensor["parameters"] = {"binary_data_size": len(content)}
    header = json.dumps({"inputs": [tensor], **more}).encode()
    return header + content, str(len(header))


def unpacked(reply: Reply) -> dict[str, Any]:
    """Return the outputs of an answer, whose values may follow the JSON."""
    assert reply.status == 200, reply.body
    length = int(reply.headers["inference-header-content-length"])
    header, rest = json.loads(reply.body[:length]), reply.body[length:]
    outputs = {}
    for output in header["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            outputs[output["name"]] = np.array(output["data"])
            continue
        dtype = {"INT64": "<i8", "FP32": "<f4"}[output["datatype"]]
        outputs[output["name"]] = np.frombuffer(rest[:size], dtype=dtype).reshape(output["shape"])
        rest = rest[size:]
    assert rest == b""
    return outputs


@pytest.mark.parametrize(("datatype", "dtype"), [("FP32", "<f4"), ("FP64", "<f8"), ("INT32", "<i4"), ("INT64", "<i8")])
def test_values_may_follow_the_json_as_bytes(datatype: str, dtype: str, client: Client) -> None:
    values = rows()[:5] if datatype.startswith("FP") else np.round(rows()[:5])
    body, length = binary(values, datatype=datatype, dtype=dtype)
    reply = client.post(INFER, body, Inference_Header_Content_Length=length)
    assert outputs_of(reply) == outputs_of(client.post(INFER, request(values)))


def test_all_outputs_come_back_as_bytes_when_the_request_says_so(client: Client) -> None:
    body, length = binary(rows(), parameters={"binary_data_output": True})
    reply = client.post(INFER, body, Inference_Header_Content_Length=length)
    assert reply.headers["content-type"] == "application/octet-stream"
    outputs = unpacked(reply)
    assert outputs["label"].tolist() == expected(1)[0]
    np.testing.assert_allclose(outputs["probabilities"], expected(1)[1], atol=1e-6)


def test_binary_and_json_outputs_in_one_response(client: Client) -> None:
    """One output can be binary while the other one is JSON."""
    wanted = [{"name": "label"}, {"name": "probabilities", "parameters": {"binary_data": True}}]
    outputs = unpacked(client.post(INFER, request(rows()[:4], outputs=wanted)))
    assert outputs["label"].tolist() == expected(1)[0][:4]
    np.testing.assert_allclose(outputs["probabilities"], expected(1)[1][:4], atol=1e-6)


def test_an_output_may_be_kept_out_of_the_bytes(client: Client) -> None:
    wanted = [{"name": "label", "parameters": {"binary_data": False}}]
    reply = client.post(INFER, request(rows()[:1], outputs=wanted, parameters={"binary_data_output": True}))
    assert outputs_of(reply)["label"]["data"] == expected(1)[0][:1]


@pytest.mark.parametrize("change", [-1, 1, 10_000])
def test_a_header_length_that_is_wrong_is_refused(change: int, client: Client) -> None:
    body, length = binary(rows()[:1])
    refused(client.post(INFER, body, Inference_Header_Content_Length=str(int(length) + change)))


@pytest.mark.parametrize("length", ["", "x", "-1", "1.0", "99999999999", "0"])
def test_a_header_length_that_is_no_length_is_refused(length: str, client: Client) -> None:
    refused(client.post(INFER, request(rows()[:1]), Inference_Header_Content_Length=length))


@pytest.mark.parametrize("size", [0, 51, 53, -52, 2**63])
def test_bytes_that_are_not_those_of_the_shape_are_refused(size: int, client: Client) -> None:
    tensor = {"name": "features", "shape": [1, WIDTH], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    header = json.dumps({"inputs": [tensor]}).encode()
    body = header + rows()[:1].tobytes()
    refused(client.post(INFER, body, Inference_Header_Content_Length=str(len(header))))


def test_bytes_that_are_no_numbers_are_refused(client: Client) -> None:
    body, length = binary(np.full((1, WIDTH), np.nan))
    sentence = refused(client.post(INFER, body, Inference_Header_Content_Length=length))
    assert "`alcohol` is NaN in row 0" in sentence


# --- what is refused ---------------------------------------------------------


def with_input(**changed: Any) -> bytes:
    body = request(rows()[:1])
    body["inputs"][0] |= changed
    return json.dumps({**body}).encode()


def with_value(text: str) -> bytes:
    return json.dumps(request(rows()[:1])).replace("[14.2", f"[{text}, 14.2", 1).encode()


def with_first(text: str) -> bytes:
    values = ", ".join([text] + ["1"] * (WIDTH - 1))
    return b'{"inputs": [{"name": "features", "shape": [1, 13], "datatype": "FP32", "data": [%s]}]}' % values.encode()


REFUSED = {
    "nothing": b"",
    "no object": b"[]",
    "no JSON": b"{inputs: 1}",
    "half of it": json.dumps(request(rows()[:1])).encode()[:-20],
    "no UTF-8": b'{"inputs": "\xff\xfe"}',
    "no inputs": b"{}",
    "an empty list": b'{"inputs": []}',
    "NaN": with_first("NaN"),
    "infinity": with_first("Infinity"),
    "1e999": with_first("1e999"),
    "1e39": with_first("1e39"),
    "5,000 digits": with_first("1" * 5000),
    "true": with_first("true"),
    "a string": with_first('"1"'),
    "null": with_first("null"),
    "an object": with_first("{}"),
    "another name": with_input(name="labels"),
    "another type": with_input(datatype="BYTES"),
    "a bool type": with_input(datatype="BOOL"),
    "half of a type": with_input(datatype="FP16"),
    "no type": with_input(datatype=None),
    "fractions of integers": with_input(datatype="INT64"),
    "no shape": with_input(shape=[]),
    "one dimension": with_input(shape=[13]),
    "three dimensions": with_input(shape=[1, 1, 13]),
    "ten thousand dimensions": with_input(shape=[1] * 10_000),
    "another width": with_input(shape=[1, 12]),
    "no rows": with_input(shape=[0, 13], data=[]),
    "a negative number of rows": with_input(shape=[-1, 13]),
    "more rows than there are": with_input(shape=[2, 13]),
    "2^63 rows": with_input(shape=[2**63, 13]),
    "2^64 columns": with_input(shape=[1, 2**64]),
    "a product that overflows": with_input(shape=[2**62, 2**62]),
    "a fraction of rows": with_input(shape=[1.5, 13]),
    "too many rows": with_input(shape=[10_001, 13]),
    "a missing value": with_input(data=rows()[0].tolist()[:-1]),
    "a value too many": with_input(data=[*rows()[0].tolist(), 1.0]),
    "no values": with_input(data=[]),
    "ragged rows": with_input(shape=[2, 13], data=[[1.0] * 13, [1.0] * 12]),
    "rows and numbers": with_input(shape=[2, 13], data=[[1.0] * 13, 1.0]),
    "numbers and rows": with_input(shape=[1, 13], data=[1.0] * 12 + [[1.0]]),
    "deep rows": with_input(data=[[[1.0] * 13]]),
    "deep nesting": with_first("[" * 100_000),
    "deep nesting elsewhere": b'{"x": ' + b"[" * 1_000_000,
    "deep nesting of outputs": b'{"inputs": [], "outputs": ' + b"[" * 1_000_000,
    "an unknown output": json.dumps(request(rows()[:1], outputs=[{"name": "logits"}])).encode(),
    "an output twice": json.dumps(request(rows()[:1], outputs=[{"name": "label"}] * 2)).encode(),
    "a hundred thousand outputs": json.dumps(request(rows()[:1], outputs=[{"name": "label"}] * 100_000)).encode(),
    "outputs that are none": json.dumps(request(rows()[:1], outputs=3)).encode(),
    "a number as id": json.dumps(request(rows()[:1], id=3)).encode(),
    "a class wanted": json.dumps(
        request(rows()[:1], outputs=[{"name": "label", "parameters": {"classification": 2}}])
    ).encode(),
    "shared memory": with_input(parameters={"shared_memory_region": "x"}),
    "the input twice": json.dumps({"inputs": request(rows()[:1])["inputs"] * 2}).encode(),
    "another input beside it": json.dumps(
        {"inputs": [*request(rows()[:1])["inputs"], {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}
    ).encode(),
    "bytes that don't follow": with_input(parameters={"binary_data_size": 52}),
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_what_can_not_be_predicted_is_refused_in_a_sentence(body: bytes, client: Client) -> None:
    refused(client.post(INFER, body))
    assert client.get("/v2/health/ready").status == 200


def test_a_value_that_is_no_number_is_named(client: Client) -> None:
    assert "$.inputs[0].data[0]" in refused(client.post(INFER, with_first("true")))


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/beer/infer",
        "/v2/models/wine/versions/2/infer",
        "/v2/models/wine/versions/01/infer",
        "/v2/models/wine/versions/1%2F..%2F2/infer",
        "/v2/models/..%2F..%2Fetc%2Fpasswd/infer",
        "/v2/models/WINE/infer",
    ],
)
def test_another_model_and_another_version_are_not_found(path: str, client: Client) -> None:
    refused(client.post(path, request(rows()[:1])), 404)


# --- packed bodies -----------------------------------------------------------


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_packed_body_is_unpacked(encoding: str, pack: Any, client: Client) -> None:
    reply = client.post(INFER, pack(json.dumps(request(rows())).encode()), Content_Encoding=encoding)
    assert outputs_of(reply)["label"]["data"] == expected(1)[0]


@pytest.mark.parametrize(("encoding", "unpack"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_an_answer_is_packed_for_clients_that_ask_for_it(encoding: str, unpack: Any, client: Client) -> None:
    reply = client.post(INFER, request(rows()), Accept_Encoding=encoding)
    assert reply.headers["content-encoding"] == encoding
    assert json.loads(unpack(reply.body))["outputs"][0]["data"] == expected(1)[0]


@pytest.mark.parametrize("accepted", ["identity", "br", "gzip;q=0", ""])
def test_an_answer_is_not_packed_for_others(accepted: str, client: Client) -> None:
    reply = client.post(INFER, request(rows()), Accept_Encoding=accepted)
    assert "content-encoding" not in reply.headers
    assert outputs_of(reply)["label"]["data"] == expected(1)[0]


def test_a_body_that_unpacks_to_more_than_the_limit_is_refused(client: Client) -> None:
    bomb = gzip.compress(bytes(100 << 20), compresslevel=9)
    assert len(bomb) < 200_000
    refused(client.post(INFER, bomb, Content_Encoding="gzip"), 413)


PACKED = gzip.compress(b"{}", mtime=0)


@pytest.mark.parametrize("body", [b"", b"{}", PACKED[:-1], PACKED + b"{}"])
def test_a_body_that_is_not_packed_as_it_says_is_refused(body: bytes, client: Client) -> None:
    refused(client.post(INFER, body, Content_Encoding="gzip"))


def test_an_encoding_and_a_type_that_are_not_read_are_refused(client: Client) -> None:
    refused(client.post(INFER, request(rows()[:1]), Content_Encoding="br"), 415)
    refused(client.post(INFER, request(rows()[:1]), Content_Type="text/xml"), 415)
    assert client.post(INFER, request(rows()[:1]), Content_Type="application/json; charset=utf-8").status == 200


# --- by name -----------------------------------------------------------------


def test_a_row_of_named_values_is_answered_by_name(client: Client) -> None:
    answer = client.post("/predict", named_rows()[0]).json
    labels, probabilities = expected(1)
    assert answer.keys() == {"label", "probabilities", "model_version"}
    assert (answer["label"], answer["model_version"]) == (labels[0], "1")
    assert answer["probabilities"].keys() == {"0", "1"}
    assert math.isclose(answer["probabilities"]["1"], probabilities[0][1], abs_tol=1e-6)


def test_a_list_of_rows_is_answered_by_a_list(client: Client) -> None:
    answers = client.post("/predict", named_rows()[:7]).json
    assert [answer["label"] for answer in answers] == expected(1)[0][:7]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "from 1 to"),
        ({}, "missing"),
        ({**named_rows()[0], "alcohl": 1.0}, "`alcohl` is not known"),
        ({name: value for name, value in named_rows()[0].items() if name != "alcohol"}, "`alcohol` is missing"),
        ({**named_rows()[0], "alcohol": True}, "Row 0: `alcohol` must be a number, got True"),
        ({**named_rows()[0], "alcohol": "13.2"}, "Row 0: `alcohol` must be a number, got '13.2'"),
        ([named_rows()[0], {**named_rows()[0], "hue": None}], "Row 1: `hue` must be a number, got None"),
        ({**named_rows()[0], "alcohol": [13.2]}, "array"),
        ({**named_rows()[0], "alcohol": 1e39}, "`alcohol` must be within float32's range"),
        ([named_rows()[0], {}], "Row 1"),
        (3, "int"),
    ],
)
def test_named_values_that_can_not_be_predicted_are_refused(body: Any, said: str, client: Client) -> None:
    assert said in refused(client.post("/predict", body))


def test_a_value_is_rounded_to_the_nearest_that_the_model_knows(client: Client) -> None:
    """Float32, whether it comes as JSON of more digits or as bytes."""
    nearest = struct.unpack("<f", struct.pack("<f", 13.2))[0]
    exact, long = rows()[:1].astype(float), rows()[:1].astype(float)
    exact[0, 0], long[0, 0] = nearest, 13.2
    bodies = [request(rows()[:1]) for _ in range(2)]
    for body, values in zip(bodies, (exact, long), strict=True):
        body["inputs"][0]["data"] = values.reshape(-1).tolist()
    assert outputs_of(client.post(INFER, bodies[0])) == outputs_of(client.post(INFER, bodies[1]))
