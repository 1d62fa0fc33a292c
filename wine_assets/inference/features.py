"""What callers have, turned into the float32 rows that a model takes."""

import math
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from wine_assets.errors import InputError

Rows = np.ndarray[Any, np.dtype[np.float32]]
Extra = Literal["forbid", "ignore"]
"""What happens to columns that the model has no use for."""
LARGEST = float(np.finfo(np.float32).max)
_NUMBERS, _TEXTS = "fiu", "US"
_SWITCHES = frozenset({bool, np.bool_})
_MATRIX = 2
_FEW_VALUES = 64
"""Up to which Python's own sum takes less time than to call numpy."""
_SHOWN = 5


def rows_of(data: Any, names: tuple[str, ...], extra: Extra = "forbid") -> Rows:
    """Return `data` as finite float32 rows [n, features] in C order, features in the order of `names`.

    Takes an array [n, features], a DataFrame, an Arrow table, a mapping of columns, or a sequence of rows, each a
    mapping or the values in order. Columns are found by name, in whatever order they come. Raise InputError for a
    feature that is missing, unknown (unless `extra` is "ignore") or no number, and for values that are missing, NaN,
    infinite or too large for float32.
    """
    if type(data) is np.ndarray and data.dtype == np.float32 and data.shape[1:] == (len(names),):
        rows = np.ascontiguousarray(data)  # in short what _matrix does: this is how services ask again and again
    else:
        columns = _columns(data, names, extra)
        rows = _matrix(data, names) if columns is None else columns
    finite(rows, names)
    return rows


def finite(rows: Rows, names: Sequence[str]) -> None:
    """Raise InputError when a value of float32 `rows` [n, features] is NaN or infinite."""
    flat = rows.reshape(-1)
    if flat.size <= _FEW_VALUES and math.isfinite(sum(flat.tolist())):
        return  # no sum of so few of them is infinite where none is
    # One pass without a copy: the sum of squares is finite only where every value is, and seldom infinite otherwise.
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.dot(flat, flat)
    if not np.isfinite(squares) and not np.isfinite(flat).all():
        row, place = np.argwhere(~np.isfinite(rows))[0]
        raise InputError(
            f"`{names[place]}` is {_spelled(rows[row, place])} in row {row}. Give a finite number or leave the row out."
        )


def number(value: Any, name: str) -> float:
    """Return one value of a feature as a float; raise InputError for what is no finite number of float32's range."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise InputError(f"`{name}` must be a number, got {_shown(value)}. Give a finite number.")
    try:
        converted = float(value)
    except OverflowError:
        converted = float("inf")
    if not abs(converted) <= LARGEST:
        raise InputError(f"`{name}` must be a finite number of at most {LARGEST:.3g}, got {_shown(value)}.")
    return converted


def check_names(given: Collection[str], names: Sequence[str], extra: Extra) -> None:
    """Raise InputError when a feature is missing, or one is given that the model doesn't have."""
    missing = [name for name in names if name not in given]
    if missing:
        raise InputError(f"{_quoted(missing)} {_is(missing)} missing. The features are {', '.join(names)}.")
    unknown = [name for name in given if name not in names] if extra == "forbid" else []
    if unknown:
        raise InputError(
            f"{_quoted(unknown)} {_is(unknown)} not known. The features are {', '.join(names)}; leave others out, "
            'or have them ignored with extra="ignore".'
        )


def _matrix(data: Any, names: tuple[str, ...]) -> Rows:
    _refuse_masks(data)
    _refuse_switches(data)
    try:
        values = np.asarray(data)
    except (ValueError, TypeError) as error:
        raise InputError(f"Rows must all have the {len(names)} features, and these can't be put together.") from error
    if values.ndim != _MATRIX or values.shape[1] != len(names):
        raise InputError(
            f"Rows must be [n, {len(names)}], one column a feature ({', '.join(names)}), got {_shape(values, data)}."
        )
    if values.dtype.kind == "O":
        return np.ascontiguousarray(np.column_stack([_numbers(values[:, at], name) for at, name in enumerate(names)]))
    return np.ascontiguousarray(_cast(values, "Rows"))


def _columns(data: Any, names: tuple[str, ...], extra: Extra) -> Rows | None:
    """Return the rows of data whose columns have names, None for data without names."""
    if _is_rows_with_names(data):
        return _stacked(_transposed(data, names, extra), names)
    given = _names(data)
    if given is None:
        return None
    check_names(given, names, extra)
    _refuse_doubles([name for name in given if name in names])
    return _stacked({name: data[name] for name in names}, names)


def _names(data: Any) -> list[Any] | None:
    """Return the names of the columns, None where there are none; a frame's numbers of columns are no names."""
    if isinstance(data, Mapping):
        return list(data)
    for attribute in ("column_names", "columns"):  # Arrow's and the data frames' word for it
        names = getattr(data, attribute, None)
        if names is not None and not callable(names) and hasattr(data, "__getitem__"):
            listed = list(names)
            return listed if not listed or any(isinstance(name, str) for name in listed) else None
    return None


def _is_rows_with_names(data: Any) -> bool:
    return isinstance(data, list | tuple) and len(data) > 0 and isinstance(data[0], Mapping)


def _transposed(data: Sequence[Any], names: tuple[str, ...], extra: Extra) -> dict[str, list[Any]]:
    for at, row in enumerate(data):
        if not isinstance(row, Mapping):
            raise InputError(f"Row {at} must be a mapping of features as row 0 is, got {_shown(row)}.")
        try:
            check_names(row.keys(), names, extra)
        except InputError as error:
            raise InputError(f"Row {at}: {error}") from None
    return {name: [row[name] for row in data] for name in names}


def _stacked(columns: Mapping[str, Any], names: tuple[str, ...]) -> Rows:
    numbers = [_numbers(columns[name], name) for name in names]
    lengths = {len(column) for column in numbers}
    if len(lengths) > 1:
        sizes = ", ".join(f"`{name}` {len(column)}" for name, column in zip(names, numbers, strict=True))
        raise InputError(f"Every column must have the same number of values, got {sizes}.")
    rows = np.empty((len(numbers[0]), len(names)), dtype=np.float32)
    for at, column in enumerate(numbers):
        rows[:, at] = column
    return rows


def _numbers(column: Any, name: str) -> Rows:
    """Return the values of one column as float32 [n]."""
    _refuse_masks(column)
    _refuse_categories(column, name)
    try:
        values = np.asarray(column)
    except (ValueError, TypeError) as error:
        raise InputError(f"`{name}` must be a column of numbers, got {_shown(column)}.") from error
    if values.ndim != 1:
        raise InputError(f"`{name}` must be one column of numbers, got {_shape(values, column)}.")
    if values.dtype.kind == "O" or _has_switches(column) or (isinstance(column, list) and values.dtype.kind in _TEXTS):
        return np.array([_number_in(value, name, row) for row, value in enumerate(column)], dtype=np.float32)
    return _cast(values, f"`{name}`")


def _number_in(value: Any, name: str, row: int) -> float:
    try:
        return number(value, name)
    except InputError as error:
        raise InputError(f"Row {row}: {error}") from None


def _cast(values: Any, what: str) -> Rows:
    """Return numbers as float32; raise InputError for other types, and for what only float32 makes infinite."""
    if values.dtype.kind not in _NUMBERS:
        raise InputError(f"{what} must hold numbers, got {values.dtype}. Give float or integer values.")
    if values.dtype == np.float32:
        return values  # type: ignore[no-any-return]
    with np.errstate(over="ignore"):
        cast: Rows = values.astype(np.float32)
    too_large = np.isinf(cast) & np.isfinite(values) if values.dtype.kind == "f" else np.isinf(cast)
    if too_large.any():
        place = tuple(np.argwhere(too_large)[0])
        raise InputError(
            f"{what} must be within float32's range (at most {LARGEST:.3g}), got {_shown(values[place].item())} in row "
            f"{place[0]}. Give a smaller number or leave the row out."
        )
    return cast


def _refuse_masks(data: Any) -> None:
    if type(data) is np.ndarray or "numpy.ma" not in sys.modules:
        return  # nobody could have made one
    if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
        raise InputError("Rows must have a value for every feature, got a masked array. Fill the masked values first.")


def _refuse_switches(data: Any) -> None:
    """Raise InputError for rows in lists of which one holds a switch, that numpy would take for 0 or 1."""
    for row, values in enumerate(data) if isinstance(data, list | tuple) else ():
        if _has_switches(values):
            raise InputError(f"Row {row} must hold numbers, and holds True or False. Give finite numbers.")


def _has_switches(values: Any) -> bool:
    return isinstance(values, list | tuple) and not _SWITCHES.isdisjoint(map(type, values))


def _refuse_categories(column: Any, name: str) -> None:
    """Raise InputError for a column of categories of a data frame, even where they are spelled as numbers."""
    if getattr(getattr(column, "dtype", None), "name", None) == "category":
        raise InputError(f"`{name}` must hold numbers, got categories. Give float or integer values.")


def _refuse_doubles(given: list[Any]) -> None:
    doubles = sorted({name for name in given if given.count(name) > 1}) if len({*given}) < len(given) else []
    if doubles:
        raise InputError(f"{_quoted(doubles)} {_is(doubles)} there more than once. Name each column once.")


def _shape(values: Any, data: Any) -> str:
    return f"shape {list(values.shape)}" if values.ndim else _shown(data)


def _spelled(value: Any) -> str:
    return "NaN" if np.isnan(value) else "infinite"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - enough to recognize a value by


def _quoted(names: Iterable[str]) -> str:
    listed = [str(name)[:60] for name in names]
    shown = ", ".join(f"`{name}`" for name in listed[:_SHOWN])
    return shown if len(listed) <= _SHOWN else f"{shown} and {len(listed) - _SHOWN} more"


def _is(names: Collection[str]) -> str:
    return "is" if len(names) == 1 else "are"
