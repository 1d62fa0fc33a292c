"""The OpenAPI description of the server, derived from its list of routes."""

import functools
import re
from typing import Any

import msgspec

from wine_assets.inference.predictor import INPUT
from wine_assets.serving.data_plane import OUTPUTS, LoadedModel
from wine_assets.serving.http import protocol
from wine_assets.serving.http.routing import Route

_SHARED_TYPES = (protocol.RequestParameters, protocol.RequestOutput, protocol.ErrorAnswer)
_REF_TEMPLATE = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"{(\w+)}")
_EXAMPLE_ROWS = (1, 2)
"""Numbers of rows for which the schema of `inputs` is written out: JSON Schema can't say n * features for any n."""
_ERRORS = {
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
_UNSUPPORTED_TYPE = 415
_DESCRIPTION = (
    "The Open Inference Protocol V2 for one model. Values may also be sent as little-endian bytes after the JSON: give "
    "such an input the parameter binary_data_size in place of data, and the number of bytes of the JSON in the header "
    "Inference-Header-Content-Length, with the type application/octet-stream. Bodies may be packed: gzip or deflate."
)
_OVERFLOW = float.fromhex("0x1.ffffffp127")
"""The smallest number that float32 rounds to infinity."""
_NUMBER = {"type": "number", "exclusiveMinimum": -_OVERFLOW, "exclusiveMaximum": _OVERFLOW}
_INTEGER = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}


@functools.lru_cache(maxsize=2)
def document(routes: tuple[Route, ...], model: LoadedModel | None, security: tuple[str, ...] = ()) -> bytes:
    """Return the description as JSON: it names the features of the loaded model, and the required `security`."""
    types = (*(route.response for route in routes), *(route.request for route in routes if _has_type(route)))
    _, schemas = msgspec.json.schema_components((*types, *_SHARED_TYPES), ref_template=_REF_TEMPLATE)
    content = {
        "openapi": "3.1.0",
        "info": {"title": "wine-assets", "version": "2", "description": _DESCRIPTION},
        "paths": {route.path: _path_item(route, model) for route in routes},
        "security": [{scheme: []} for scheme in security],
        "components": {
            "schemas": schemas | _model_schemas(model.features if model else ()),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }
    return msgspec.json.encode(content)


def _has_type(route: Route) -> bool:
    return route.request is not None and not isinstance(route.request, str)


def _path_item(route: Route, model: LoadedModel | None) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": route.summary}
    if route.request is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _schema(route.request)}},
        }
    operation["responses"] = _responses(route)
    if not route.needs_token:
        operation["security"] = []
    item: dict[str, Any] = {route.method.lower(): operation}
    if parameters := [_parameter(name, model) for name in _PARAMETER.findall(route.path)]:
        item["parameters"] = parameters
    return item


def _parameter(name: str, model: LoadedModel | None) -> dict[str, Any]:
    description, value = {
        "model_name": ("The model's name.", model.name if model else None),
        "model_version": ("The version that is served.", model.version if model else None),
    }[name]
    schema = {"type": "string", "minLength": 1} if value is None else {"type": "string", "enum": [value]}
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _responses(route: Route) -> dict[str, Any]:
    content: dict[str, Any] = {route.media_type: {"schema": _schema(route.response)}}
    if route.is_binary:
        content["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    error = _schema(protocol.ErrorAnswer)
    responses = {"200": {"description": "The answer.", "content": content}} | {
        str(status): {"description": text, "content": {"application/json": {"schema": error}}}
        for status, text in _ERRORS.items()
        if route.method == "POST" or status != _UNSUPPORTED_TYPE
    }
    if route.has_unready_response:
        either = {"anyOf": [_schema(route.response), error]}
        responses["503"] = {"description": "Not ready.", "content": {"application/json": {"schema": either}}}
    return responses


def _schema(type_or_name: Any) -> dict[str, Any]:
    """Return the schema of a type, or a reference to one of `_model_schemas` by its name."""
    if isinstance(type_or_name, str):
        return {"$ref": _REF_TEMPLATE.format(name=type_or_name)}
    (schema,), _ = msgspec.json.schema_components((type_or_name,), ref_template=_REF_TEMPLATE)
    if "anyOf" in schema:
        schema["anyOf"].sort(key=lambda option: "type" in option)  # one object first: it is the example in /docs
    return schema


def _model_schemas(names: tuple[str, ...]) -> dict[str, Any]:
    """Return the schemas of requests, which depend on the features of the model."""
    row = {
        "type": "object",
        "properties": dict.fromkeys(names, _NUMBER),
        "required": list(names),
        "additionalProperties": False,
    }
    one = _schema("Row")
    rows = {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": 100}]}
    inputs = [
        _input_schema(count, len(names), datatypes, kind)
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
        "InferenceRequest": _inference_request_schema(),
    }


def _inference_request_schema() -> dict[str, Any]:
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
            "parameters": {"anyOf": [_schema("RequestParameters"), {"type": "null"}]},
            "inputs": {"type": "array", "items": _schema("RequestInput"), "minItems": 1, "maxItems": 1},
            "outputs": {"type": ["array", "null"], "items": output, "maxItems": 1},
        },
        "required": ["inputs"],
    }


def _input_schema(rows: int, width: int, datatypes: tuple[str, ...], number: dict[str, Any]) -> dict[str, Any]:
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
