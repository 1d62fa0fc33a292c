"""An Arrow table as a pandas frame of float64, int64 and text columns."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def frame_of(table: Any) -> "pd.DataFrame":
    """Turn a pyarrow table into a frame with a plain index, and give the table's memory back on the way.

    Every kind of number becomes float64 or int64, everything else stays what it is. The table can't be used
    afterwards: each of its columns is freed as soon as it is converted, so that both never exist at once.
    Raises ArrowInvalid when text isn't UTF-8.
    """
    import pandas as pd

    columns: list[pd.Series[Any]] = []
    names = table.column_names
    while table.num_columns:
        column, table = table.column(0), table.remove_column(0)
        columns.append(_series(column))
        del column
    return pd.DataFrame(dict(enumerate(columns)), copy=False).set_axis(names, axis=1)


def _series(column: Any) -> "pd.Series[Any]":
    import pyarrow as pa

    column.validate(full=pa.types.is_unicode(column.type) or pa.types.is_large_unicode(column.type))
    converted = _plain_numbers(column)
    del column
    frame: pd.DataFrame = pa.table([converted], names=["column"]).to_pandas(self_destruct=True, split_blocks=True)
    return frame["column"]


def _plain_numbers(column: Any) -> Any:
    """Cast any number, however it is stored, to float64 or int64; leave text, dates and the rest alone."""
    import pyarrow as pa
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind):
        return _plain_numbers(column.cast(kind.value_type))
    if types.is_boolean(kind) or (types.is_integer(kind) and kind != pa.uint64()):
        return column.cast(pa.int64())
    if types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind) or kind == pa.uint64():
        return column.cast(pa.float64(), safe=False)
    return column
