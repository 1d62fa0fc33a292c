"""Conversion of arrays, tables and mappings to the float32 rows that a model takes."""

import math
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from wine_assets.errors import InputError

Rows = np.ndarray[Any, np.dtype[np.float32]]
Extra = Literal["forbid", "ignore"]
"""What happens with columns that are no features of the model."""
LARGEST = float(np.finfo(np.float32).max)
_NUMERIC_KINDS, _TEXT_KINDS = "fiu", "US"
_BOOLEANS = frozenset({bool, np.bool_})
_MATRIX_DIMENSIONS = 2
_FEW_VALUES = 64
"""Number of values up to which Python's sum is faster than a call of numpy."""
_MAX_LISTED = 5
_MAX_QUOTED = 60


def rows_of(data: Any, names: tuple[str, ...], extra: Extra = "forbid") -> Rows:
    """Return `data` as finite float32 rows [n, features] in C order, features in the order of `names`.

    `data` is an array [n, features], a DataFrame, an Arrow table, a mapping of columns, or a sequence of rows, each a
    mapping or the values in order. Named columns may come in any order. Raise InputError for a feature that is
    missing, unknown (unless `extra` is "ignore") or not numeric. Raise it too for values that are missing, NaN,
    infinite or too large for float32.
    """
    if type(data) is np.ndarray and data.dtype == np.float32 and data.shape[1:] == (len(names),):
        rows = np.ascontiguousarray(data)  # the most frequent case, without the checks that it doesn't need
    else:
        columns = _named_columns(data, names, extra)
        rows = _from_matrix(data, names) if columns is None else _stack(columns, names)
    check_finite(rows, names)
    return rows


def check_finite(rows: Rows, names: Sequence[str]) -> None:
    """Raise InputError if a value of float32 `rows` [n, features] is NaN or infinite."""
    flat = rows.reshape(-1)
    if flat.size <= _FEW_VALUES and math.isfinite(sum(flat.tolist())):
        return  # so few float32 values can't overflow a sum of doubles
    # One pass without a copy: the sum of squares is finite only if every value is, and it rarely overflows.
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.dot(flat, flat)
    if not np.isfinite(squares) and not np.isfinite(flat).all():
        row, place = np.argwhere(~np.isfinite(rows))[0]
        value = "NaN" if np.isnan(rows[row, place]) else "infinite"
        raise InputError(f"`{names[place]}` is {value} in row {row}. Give a finite number or leave the row out.")


def to_number(value: Any, name: str) -> float:
    """Return one value of a feature as a float; raise InputError unless it is finite and within float32's range."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise InputError(f"`{name}` must be a number, got {_quote(value)}. Give a finite number.")
    try:
        converted = float(value)
    except OverflowError:
        converted = float("inf")
    if not abs(converted) <= LARGEST:
        raise InputError(f"`{name}` must be a finite number of at most {LARGEST:.3g}, got {_quote(value)}.")
    return converted


def check_names(columns: Collection[str], names: Sequence[str], extra: Extra) -> None:
    """Raise InputError if a feature is missing, or if a column is no feature of the model."""
    missing = [name for name in names if name not in columns]
    if missing:
        raise InputError(f"{_list(missing)} {_is(missing)} missing. The features are {', '.join(names)}.")
    unknown = [name for name in columns if name not in names] if extra == "forbid" else []
    if unknown:
        raise InputError(
            f"{_list(unknown)} {_is(unknown)} not known. The features are {', '.join(names)}; leave others out, "
            'or have them ignored with extra="ignore".'
        )


def _from_matrix(data: Any, names: tuple[str, ...]) -> Rows:
    """Convert rows without names."""
    _refuse_masks(data)
    for row, row_values in enumerate(data) if isinstance(data, list | tuple) else ():
        if _has_booleans(row_values):  # numpy would convert them to 0 and 1
            raise InputError(f"Row {row} must hold numbers, and holds True or False. Give finite numbers.")
    try:
        values = np.asarray(data)
    except (ValueError, TypeError) as error:
        raise InputError(f"Rows must all have the {len(names)} features, and these can't be put together.") from error
    if values.ndim != _MATRIX_DIMENSIONS or values.shape[1] != len(names):
        raise InputError(
            f"Rows must be [n, {len(names)}], one column a feature ({', '.join(names)}), got "
            f"{_describe_shape(values, data)}."
        )
    if values.dtype.kind == "O":
        return np.ascontiguousarray(
            np.column_stack([_to_numbers(values[:, at], name) for at, name in enumerate(names)])
        )
    return np.ascontiguousarray(_cast(values, "Rows"))


def _named_columns(data: Any, names: tuple[str, ...], extra: Extra) -> Mapping[str, Any] | None:
    """Return the columns by name, None if they have no names."""
    if isinstance(data, list | tuple) and len(data) > 0 and isinstance(data[0], Mapping):
        return _transpose(data, names, extra)
    columns = _column_names(data)
    if columns is None:
        return None
    check_names(columns, names, extra)
    duplicates = sorted({name for name in names if columns.count(name) > 1}) if len({*columns}) < len(columns) else []
    if duplicates:
        raise InputError(f"{_list(duplicates)} {_is(duplicates)} there more than once. Name each column once.")
    return {name: data[name] for name in names}


def _column_names(data: Any) -> list[Any] | None:
    """Return the names of the columns, None if there are none; a data frame's default numbers are no names."""
    if isinstance(data, Mapping):
        return list(data)
    for attribute in ("column_names", "columns"):  # of Arrow tables, and of data frames
        names = getattr(data, attribute, None)
        if names is not None and not callable(names) and hasattr(data, "__getitem__"):
            listed = list(names)
            return listed if not listed or any(isinstance(name, str) for name in listed) else None
    return None


def _transpose(data: Sequence[Any], names: tuple[str, ...], extra: Extra) -> dict[str, list[Any]]:
    for at, row in enumerate(data):
        if not isinstance(row, Mapping):
            raise InputError(f"Row {at} must be a mapping of features as row 0 is, got {_quote(row)}.")
        try:
            check_names(row.keys(), names, extra)
        except InputError as error:
            raise InputError(f"Row {at}: {error}") from None
    return {name: [row[name] for row in data] for name in names}


def _stack(columns: Mapping[str, Any], names: tuple[str, ...]) -> Rows:
    """Return the columns as one matrix."""
    numbers = [_to_numbers(columns[name], name) for name in names]
    lengths = {len(column) for column in numbers}
    if len(lengths) > 1:
        sizes = ", ".join(f"`{name}` {len(column)}" for name, column in zip(names, numbers, strict=True))
        raise InputError(f"Every column must have the same number of values, got {sizes}.")
    rows = np.empty((len(numbers[0]), len(names)), dtype=np.float32)
    for at, column in enumerate(numbers):
        rows[:, at] = column
    return rows


def _to_numbers(column: Any, name: str) -> Rows:
    """Return the values of one column as float32 [n]."""
    _refuse_masks(column)
    if getattr(getattr(column, "dtype", None), "name", None) == "category":  # even if its categories are numbers
        raise InputError(f"`{name}` must hold numbers, got categories. Give float or integer values.")
    try:
        values = np.asarray(column)
    except (ValueError, TypeError) as error:
        raise InputError(f"`{name}` must be a column of numbers, got {_quote(column)}.") from error
    if values.ndim != 1:
        raise InputError(f"`{name}` must be one column of numbers, got {_describe_shape(values, column)}.")
    is_text = isinstance(column, list) and values.dtype.kind in _TEXT_KINDS
    if values.dtype.kind == "O" or is_text or _has_booleans(column):
        return np.array([_to_number_in_row(value, name, row) for row, value in enumerate(column)], dtype=np.float32)
    return _cast(values, f"`{name}`")


def _to_number_in_row(value: Any, name: str, row: int) -> float:
    try:
        return to_number(value, name)
    except InputError as error:
        raise InputError(f"Row {row}: {error}") from None


def _cast(values: Any, subject: str) -> Rows:
    """Return numbers as float32; raise InputError for other types, and for finite numbers that overflow float32."""
    if values.dtype.kind not in _NUMERIC_KINDS:
        raise InputError(f"{subject} must hold numbers, got {values.dtype}. Give float or integer values.")
    if values.dtype == np.float32:
        return values  # type: ignore[no-any-return]  # `values` is an array of any type
    with np.errstate(over="ignore"):
        cast: Rows = values.astype(np.float32)
    too_large = np.isinf(cast) & np.isfinite(values) if values.dtype.kind == "f" else np.isinf(cast)
    if too_large.any():
        place = tuple(np.argwhere(too_large)[0])
        raise InputError(
            f"{subject} must be within float32's range (at most {LARGEST:.3g}), got {_quote(values[place].item())} in "
            f"row {place[0]}. Give a smaller number or leave the row out."
        )
    return cast


def _refuse_masks(data: Any) -> None:
    if type(data) is np.ndarray or "numpy.ma" not in sys.modules:
        return  # without the module, there can't be a masked array
    if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
        raise InputError("Rows must have a value for every feature, got a masked array. Fill the masked values first.")


def _has_booleans(values: Any) -> bool:
    return isinstance(values, list | tuple) and not _BOOLEANS.isdisjoint(map(type, values))


def _describe_shape(values: Any, data: Any) -> str:
    return f"shape {list(values.shape)}" if values.ndim else _quote(data)


def _quote(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_QUOTED else f"{text[: _MAX_QUOTED - 3]}..."


def _list(names: Iterable[str]) -> str:
    quoted = [f"`{str(name)[:_MAX_QUOTED]}`" for name in names]
    listed = ", ".join(quoted[:_MAX_LISTED])
    return listed if len(quoted) <= _MAX_LISTED else f"{listed} and {len(quoted) - _MAX_LISTED} more"


def _is(names: Collection[str]) -> str:
    return "is" if len(names) == 1 else "are"
