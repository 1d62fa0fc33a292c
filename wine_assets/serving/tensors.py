"""Conversion of the tensors in requests to the rows that a model takes."""

import math
from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from wine_assets.errors import InputError
from wine_assets.inference import features
from wine_assets.inference.features import Rows
from wine_assets.inference.predictor import INPUT
from wine_assets.serving.errors import InvalidRequestError

DATATYPES: dict[str, np.dtype[Any]] = {
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
}
"""The datatypes of `features`; the model computes with FP32, to which the others are rounded."""
_MATRIX_DIMENSIONS = 2
_FEW_VALUES = 256
_MAX_QUOTED = 60


class Tensor(NamedTuple):
    """One input of a request: its values are numbers, flat or a list for each row, or little-endian bytes."""

    name: str
    datatype: str
    shape: Sequence[int]
    values: Sequence[Any] | memoryview


def rows_of(inputs: Sequence[Tensor], names: tuple[str, ...], rows_limit: int) -> Rows:
    """Return the one input tensor as finite float32 rows [n, features]; raise InvalidRequestError if it is invalid.

    Shape, datatype and the number of values are checked before memory is allocated for them.
    """
    tensor = _require_one(inputs)
    dtype = DATATYPES.get(tensor.datatype)
    if dtype is None:
        raise InvalidRequestError(
            f"`{INPUT}` must have one of the datatypes {', '.join(DATATYPES)}, got {quote(tensor.datatype)}. Send FP32."
        )
    _check_shape(tensor.shape, names, rows_limit)
    if isinstance(tensor.values, memoryview):
        return _from_bytes(tensor, dtype, names)
    return _from_numbers(tensor, dtype, names)


def quote(value: Any) -> str:
    """Return a client's value for an error message: quoted, and shortened."""
    text = repr(value)
    return text if len(text) <= _MAX_QUOTED else f"{text[: _MAX_QUOTED - 3]}..."


def _require_one(inputs: Sequence[Tensor]) -> Tensor:
    if len(inputs) == 1 and inputs[0].name == INPUT:
        return inputs[0]
    if not inputs:
        raise InvalidRequestError(f"`inputs` is empty. Send one input named `{INPUT}`.")
    if len(inputs) > 1 and all(tensor.name == INPUT for tensor in inputs):
        raise InvalidRequestError(f"The input `{INPUT}` is there {len(inputs)} times. Send it once.")
    unknown = next(tensor.name for tensor in inputs if tensor.name != INPUT)
    raise InvalidRequestError(f"There is no input {quote(unknown)}. Send one input named `{INPUT}`.")


def _check_shape(shape: Sequence[int], names: tuple[str, ...], rows_limit: int) -> None:
    if len(shape) != _MATRIX_DIMENSIONS or shape[1] != len(names):
        raise InvalidRequestError(
            f"`{INPUT}` must have the shape [n, {len(names)}], a column for each of {', '.join(names)}, "
            f"got {quote(list(shape[:4]))}{' and more dimensions' if len(shape) > 4 else ''}."  # noqa: PLR2004 - as quoted
        )
    if not 1 <= shape[0] <= rows_limit:
        remedy = "several requests" if shape[0] > rows_limit else "at least one row"
        raise InvalidRequestError(
            f"`{INPUT}` must have from 1 to {rows_limit} rows, got {quote(shape[0])}. Send {remedy}."
        )


def _from_bytes(tensor: Tensor, dtype: "np.dtype[Any]", names: tuple[str, ...]) -> Rows:
    rows, width = tensor.shape
    expected = rows * width * dtype.itemsize
    content: Any = tensor.values
    if len(content) != expected:
        raise InvalidRequestError(
            f"`{INPUT}` of shape [{rows}, {width}] and datatype {tensor.datatype} takes {expected} bytes, "
            f"got {len(content)}."
        )
    values = np.frombuffer(content, dtype=dtype).reshape(rows, width)
    if values.dtype != np.float32:
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
    return _check_finite(np.ascontiguousarray(values), names)


def _from_numbers(tensor: Tensor, dtype: "np.dtype[Any]", names: tuple[str, ...]) -> Rows:
    values: Any = tensor.values
    rows, width = tensor.shape
    if values and type(values[0]) is list:
        values = _flatten(values, rows, width)
    if len(values) != rows * width:
        raise InvalidRequestError(
            f"`{INPUT}` of shape [{rows}, {width}] takes {rows * width} values, got {len(values)}."
        )
    try:
        numbers = array("f", values)
    except TypeError:
        raise InvalidRequestError(f"`{INPUT}` mixes rows and numbers. Send all rows as lists, or none.") from None
    if dtype.kind != "f":
        _check_integers(values, dtype, tensor.datatype)
    matrix: Rows = np.frombuffer(numbers, dtype=np.float32).reshape(rows, width)
    if len(numbers) <= _FEW_VALUES and math.isfinite(sum(numbers)):
        return matrix
    return _check_finite(matrix, names)


def _flatten(values: list[Any], rows: int, width: int) -> list[float]:
    if len(values) != rows:
        raise InvalidRequestError(f"`{INPUT}` of shape [{rows}, {width}] takes {rows} rows, got {len(values)}.")
    for at, row in enumerate(values):
        if type(row) is not list or len(row) != width:
            actual = f"{len(row)} values" if type(row) is list else "a number"
            raise InvalidRequestError(f"Row {at} of `{INPUT}` must be a list of {width} numbers, got {actual}.")
    return [value for row in values for value in row]


def _check_integers(values: Sequence[float], dtype: "np.dtype[Any]", datatype: str) -> None:
    limits = np.iinfo(dtype)
    for value in values:
        if not (value.is_integer() and limits.min <= value <= limits.max):
            raise InvalidRequestError(
                f"`{INPUT}` has the datatype {datatype} and holds {quote(value)}, which isn't one. "
                "Send FP32 for measurements."
            )


def _check_finite(rows: Rows, names: tuple[str, ...]) -> Rows:
    try:
        features.check_finite(rows, names)
    except InputError as error:
        raise InvalidRequestError(str(error)) from None
    return rows
