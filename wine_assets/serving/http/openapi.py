"""The description of the routes in OpenAPI's words, made from the types that requests and answers are made of."""

import functools
from typing import Any

import msgspec

from wine_assets.inference.predictor import INPUT
from wine_assets.serving.data_plane import OUTPUTS, ModelMetadata, Served
from wine_assets.serving.http import protocol

_TYPES = (
    protocol.Live,
    protocol.Ready,
    protocol.ModelReady,
    protocol.ServerMetadata,
    ModelMetadata,
    protocol.RequestParameters,
    protocol.RequestOutput,
    protocol.InferenceResponse,
    protocol.Prediction,
    protocol.ErrorAnswer,
)
_EXAMPLE_ROWS = (1, 2)
"""The numbers of rows that the schema of `inputs` spells out; JSON Schema can't say n * features for any n."""
_REFUSALS = {
    400: "The request can't be understood or predicted.",
    401: "The bearer token is missing or wrong.",
    404: "There is no such route, model or version.",
    405: "The route doesn't take this method; the Allow header says which it takes.",
    408: "The request didn't arrive in time.",
    413: "The body is too large.",
    415: "The body has a type or an encoding that isn't read.",
    431: "The headers are too large.",
    503: "The server can't answer now: no model is loaded, or it has too much to do.",
}
_OF_ALL = (400, 401, 404, 405, 408, 413, 431, 503)
_ABOUT = (
    "The Open Inference Protocol V2 for one model. Values may also be sent as little-endian bytes after the JSON: give "
    "such an input the parameter binary_data_size in place of data, and the number of bytes of the JSON in the header "
    "Inference-Header-Content-Length, with the type application/octet-stream. Bodies may be packed: gzip or deflate."
)


@functools.lru_cache(maxsize=2)
def document(served: Served | None, security: tuple[str, ...] = ()) -> bytes:
    """Return the description as JSON: it names the features of the model that is served, and the `security` needed."""
    names = served.features if served else ()
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    schemas |= _requests(names)
    described = {
        "openapi": "3.1.0",
        "info": {"title": "wine-assets", "version": "2", "description": _ABOUT},
        "paths": _paths(served),
        "security": [{scheme: []} for scheme in security],
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }
    return msgspec.json.encode(described)


def _paths(served: Served | None) -> dict[str, Any]:
    name = _in_path("model_name", "The model's name.", served.name if served else None)
    version = _in_path("model_version", "The version that is served.", served.version if served else None)
    model, of_a_version = "/v2/models/{model_name}", "/v2/models/{model_name}/versions/{model_version}"
    paths = {
        "/v2/health/live": _public(_get("Whether the process answers", _json("Live"), 200)),
        "/v2/health/ready": _public(_get("Whether requests should be sent here", _json("Ready"), 200, unready="Ready")),
        "/v2": _get("What the server is", _json("ServerMetadata"), 200),
        "/metrics": _get("Figures for Prometheus", {"text/plain": {"schema": {"type": "string"}}}, 200),
        "/": _get("A page for people", {"text/html": {"schema": {"type": "string"}}}, 200),
        "/docs": _get("The routes, for people", {"text/html": {"schema": {"type": "string"}}}, 200),
        "/openapi.json": _get("This description", {"application/json": {"schema": {"type": "object"}}}, 200),
        "/predict": _post("Answer rows of values by name", "Rows", _predictions()),
    }
    for path, parameters in ((model, [name]), (of_a_version, [name, version])):
        paths[path] = _get("What the model takes and returns", _json("ModelMetadata"), 200)
        paths[f"{path}/ready"] = _get("Whether the model can be asked", _json("ModelReady"), 200, unready="ModelReady")
        paths[f"{path}/infer"] = _post("Answer an inference request", "InferenceRequest", _inferred())
        for suffix in ("", "/ready", "/infer"):
            paths[path + suffix]["parameters"] = parameters
    return paths


def _in_path(name: str, text: str, value: str | None) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1} if value is None else {"type": "string", "enum": [value]}
    return {"name": name, "in": "path", "required": True, "description": text, "schema": schema}


def _get(summary: str, content: dict[str, Any], status: int, unready: str = "") -> dict[str, Any]:
    responses = {str(status): {"description": "The answer.", "content": content}} | _refusals(_OF_ALL)
    if unready:
        either = {"anyOf": [_ref(unready), _ref("ErrorAnswer")]}
        responses["503"] = {"description": "Not ready.", "content": {"application/json": {"schema": either}}}
    return {"get": {"summary": summary, "responses": responses}}


def _public(item: dict[str, Any]) -> dict[str, Any]:
    """Return a route's description with the note that it needs no token."""
    return {"get": item["get"] | {"security": []}}


def _post(summary: str, request: str, content: dict[str, Any]) -> dict[str, Any]:
    responses = {"200": {"description": "The answer.", "content": content}} | _refusals((*_OF_ALL, 415))
    body = {"required": True, "content": _json(request)}
    return {"post": {"summary": summary, "requestBody": body, "responses": responses}}


def _refusals(statuses: tuple[int, ...]) -> dict[str, Any]:
    return {
        str(status): {"description": _REFUSALS[status], "content": _json("ErrorAnswer")} for status in sorted(statuses)
    }


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": _ref(name)}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _inferred() -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    return _json("InferenceResponse") | {"application/octet-stream": binary}


def _predictions() -> dict[str, Any]:
    one = _ref("Prediction")
    return {"application/json": {"schema": {"anyOf": [one, {"type": "array", "items": one}]}}}


def _requests(names: tuple[str, ...]) -> dict[str, Any]:
    """Return the schemas of what is sent, which depend on the features of the model."""
    row = {
        "type": "object",
        "properties": dict.fromkeys(names, _NUMBER),
        "required": list(names),
        "additionalProperties": False,
    }
    rows = {"anyOf": [_ref("Row"), {"type": "array", "items": _ref("Row"), "minItems": 1, "maxItems": 100}]}
    inputs = [
        _input(count, len(names), datatypes, kind)
        for count in _EXAMPLE_ROWS
        for datatypes, kind in ((("FP32", "FP64"), _NUMBER), (("INT32", "INT64"), _INTEGER))
    ]
    return {
        "Row": row,
        "Rows": rows,
        "RequestInput": {
            "description": f"n rows have the shape [n, {len(names)}] and n * {len(names)} values, flat or in lists.",
            "anyOf": inputs,
        },
        "InferenceRequest": _inference_request(),
    }


_BEYOND = float.fromhex("0x1.ffffffp127")
"""The least number that float32 rounds to infinity."""
_NUMBER = {"type": "number", "exclusiveMinimum": -_BEYOND, "exclusiveMaximum": _BEYOND}
_INTEGER = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}


def _inference_request() -> dict[str, Any]:
    output = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "enum": list(OUTPUTS)},
            "parameters": {"type": ["object", "null"], "properties": {"binary_data": {"type": ["boolean", "null"]}}},
        },
        "required": ["name"],
    }
    return {
        "type": "object",
        "properties": {
            "id": {"type": ["string", "null"]},
            "parameters": {"anyOf": [_ref("RequestParameters"), {"type": "null"}]},
            "inputs": {"type": "array", "items": _ref("RequestInput"), "minItems": 1, "maxItems": 1},
            "outputs": {"type": ["array", "null"], "items": output, "maxItems": 1},
        },
        "required": ["inputs"],
    }


def _input(rows: int, width: int, datatypes: tuple[str, ...], number: dict[str, Any]) -> dict[str, Any]:
    flat = {"type": "array", "items": number, "minItems": rows * width, "maxItems": rows * width}
    row = {"type": "array", "items": number, "minItems": width, "maxItems": width}
    nested = {"type": "array", "items": row, "minItems": rows, "maxItems": rows}
    return {
        "type": "object",
        "properties": {
            "name": {"type": "string", "const": INPUT},
            "shape": {"type": "array", "const": [rows, width]},
            "datatype": {"type": "string", "enum": list(datatypes)},
            "data": {"anyOf": [flat, nested]},
        },
        "required": ["name", "shape", "datatype", "data"],
    }
