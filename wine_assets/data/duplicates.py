"""Rows that equal an earlier one, found at the cost of one pass and one sort."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_BLOCK_ROWS = 1 << 14


def duplicate_rows(frame: "pd.DataFrame") -> "np.ndarray[Any, Any]":
    """Return the positions of rows that equal an earlier row, in increasing order.

    Rows are first compared by a 64-bit hash of theirs, and only those whose hash occurs again by their values,
    so that nothing larger than two columns is held beside the frame.
    """
    import numpy as np
    import pandas as pd

    columns = [_comparable(frame[name]) for name in frame.columns]
    hashes = _row_hashes(columns, len(frame))
    ordered = np.sort(hashes)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(repeated):
        return np.empty(0, dtype=np.intp)
    candidates = np.flatnonzero(pd.Series(hashes).isin(repeated).to_numpy())
    return _repetitions(columns, hashes, candidates)


def _comparable(column: "pd.Series[Any]") -> "np.ndarray[Any, Any]":
    """Return the values as float64 or int64: text as the numbers of its distinct values."""
    import pandas as pd

    if column.dtype.kind == "f":
        return column.to_numpy(dtype="float64")
    return column.to_numpy(dtype="int64") if column.dtype.kind in "iu" else pd.factorize(column)[0].astype("int64")


def _row_hashes(columns: "list[np.ndarray[Any, Any]]", rows: int) -> "np.ndarray[Any, Any]":
    """Return a 64-bit hash of every row, computed in blocks that fit the processor's cache.

    Each column is mixed in by a bijection of the state (xor, multiplication by an odd number, xor with its own upper
    bits), so that rows that differ in one column never share a hash, and others do by chance once in 2^64 pairs.
    """
    import numpy as np

    hashes = np.zeros(rows, dtype=np.uint64)
    for start in range(0, rows, _BLOCK_ROWS):
        state = hashes[start : start + _BLOCK_ROWS]
        for column in columns:
            words = (column[start : start + _BLOCK_ROWS] + column.dtype.type(0)).view(np.uint64)  # -0.0 becomes 0.0
            words ^= words >> np.uint64(32)
            state ^= words
            state *= np.uint64(0x9E3779B97F4A7C15)
            state ^= state >> np.uint64(29)
    return hashes


def _repetitions(
    columns: "list[np.ndarray[Any, Any]]", hashes: "np.ndarray[Any, Any]", candidates: "np.ndarray[Any, Any]"
) -> "np.ndarray[Any, Any]":
    """Return the candidates that equal, value by value, the one before them with the same hash."""
    import numpy as np

    order = candidates[np.argsort(hashes[candidates], kind="stable")]
    equal = np.ones(len(order) - 1, dtype=bool)
    for column in (hashes, *columns):
        values = column[order]
        equal &= values[1:] == values[:-1]
    return np.sort(order[1:][equal])
