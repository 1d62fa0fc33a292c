"""What is wrong with a table, in clauses that name column, count and first rows."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wine_assets.data.dataset import TARGET
from wine_assets.data.duplicates import duplicate_rows
from wine_assets.data.wine_columns import PHYSICAL_RANGES

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

FIRST_ROWS = 5
LARGEST = 3.4028234663852886e38
"""The largest number that a float32 holds, which is what models take."""
MIN_ROWS_PER_CLASS = 2

REMEDIES = {
    "columns": "Add, rename or remove columns at the source, or name the ones to use in `features`.",
    "types": "Correct these values at the source, or leave the column out with `features`.",
    "finite": "Fill these values or remove these rows at the source, or leave the column out with `features`.",
    "classes": "Every class needs two rows or more, and every row a class: correct the class column or the query.",
    "ranges": "Check their unit and the decimal point.",
    "duplicates": "Remove them at the source, unless they are measurements of their own.",
}


@dataclass(frozen=True)
class Finding:
    """What is wrong with one column, and the rows that have it, counted from 0 (none when it is the column itself)."""

    column: str
    clause: str
    rows: "np.ndarray[Any, Any] | Sequence[int]" = ()

    def sentence(self) -> str:
        """Return the clause with the numbers of the first rows."""
        if not len(self.rows):
            return self.clause
        shown = ", ".join(str(row) for row in self.rows[:FIRST_ROWS])
        return f"{self.clause} (first rows, counted from 0: {shown})"


def unfit_columns(frame: "pd.DataFrame", expected: list[str]) -> list[Finding]:
    """Return the missing, unexpected, repeated and misplaced columns."""
    there = Counter(str(name) for name in frame.columns)
    wanted = [*expected, TARGET]
    found = [Finding(name, f"the column `{name}` is missing") for name in wanted if name not in there]
    found += [Finding(name, f"the column `{name}` is not expected") for name in there if name not in wanted]
    found += [Finding(name, f"the column `{name}` occurs {count} times") for name, count in there.items() if count > 1]
    return found or _misplaced(list(there), wanted)


def wrong_types(frame: "pd.DataFrame", columns: list[str]) -> list[Finding]:
    """Return the features that aren't numbers, and the class column when its labels are neither whole nor text."""
    return [_wrong_label(frame[name]) if name == TARGET else _wrong_number(frame[name]) for name in columns]


def not_finite(frame: "pd.DataFrame", columns: list[str]) -> list[Finding]:
    """Return the columns with missing or infinite values."""
    return [_not_finite(frame[name]) for name in columns]


def unfit_classes(frame: "pd.DataFrame", _: list[str]) -> list[Finding]:
    """Return what keeps the class column from being learned: no rows, no label, one class only, a class too small."""
    if not len(frame):
        return [Finding(TARGET, "the table has no rows")]
    labels = frame[TARGET]
    found = []
    if len(missing := _positions(labels.isna())):
        found.append(Finding(TARGET, f"{_many(len(missing), 'row')} no class in `{TARGET}`", missing))
    sizes = labels.value_counts()
    if len(sizes) == 1:
        found.append(Finding(TARGET, f"`{TARGET}` has one class only, '{sizes.index[0]}'"))
    small = sizes[sizes < MIN_ROWS_PER_CLASS].index
    return found + _small_classes(labels, list(small))


def out_of_range(frame: "pd.DataFrame", columns: list[str]) -> list[Finding]:
    """Return the wine features with values that no wine can have."""
    return [_out_of_range(frame[name], *PHYSICAL_RANGES[name]) for name in columns]


def repeated_rows(frame: "pd.DataFrame", _: list[str]) -> list[Finding]:
    """Return the rows that equal an earlier one."""
    rows = duplicate_rows(frame)
    verb = "row equals" if len(rows) == 1 else "rows equal"
    return [Finding("all", f"{len(rows)} {verb} an earlier one", rows)]


def outside(column: "pd.Series[Any]", low: float, high: float) -> "np.ndarray[Any, Any]":
    """Return the positions of the finite values below `low` or above `high`."""
    import numpy as np

    values = column.to_numpy()
    return np.flatnonzero(((values < low) & (values != -np.inf)) | ((values > high) & (values != np.inf)))


def _misplaced(there: list[str], wanted: list[str]) -> list[Finding]:
    pairs = enumerate(zip(there, wanted, strict=True), start=1)
    return [
        Finding(name, f"the column `{name}` is in place {place}, where `{expected}` belongs")
        for place, (name, expected) in pairs
        if name != expected
    ]


def _wrong_number(column: "pd.Series[Any]") -> Finding:
    import pandas as pd

    text = column.astype("str")
    bad = _positions(pd.to_numeric(text, errors="coerce").isna() & column.notna())
    if not len(bad):
        return Finding(
            str(column.name), f"`{column.name}` holds its numbers as {column.dtype}, not as float64 or int64"
        )
    example = str(text.iloc[bad[0]])[:40]
    return Finding(
        str(column.name),
        f"`{column.name}` must hold numbers, and {_many(len(bad), 'row')} none, such as '{example}'",
        bad,
    )


def _wrong_label(column: "pd.Series[Any]") -> Finding:
    import numpy as np

    if column.dtype.kind != "f":
        return Finding(TARGET, f"`{TARGET}` must hold integers or text as class labels, and holds {column.dtype}")
    bad = np.flatnonzero(~((column % 1 == 0) | column.isna()).to_numpy())
    clause = f"`{TARGET}` must hold integers or text as class labels, and {_many(len(bad), 'row')} a fraction"
    return Finding(TARGET, f"{clause}, such as {column.iloc[bad[0]]:g}", bad)


def _not_finite(column: "pd.Series[Any]") -> Finding:
    import numpy as np

    values = column.to_numpy()
    rows = np.flatnonzero(~(np.abs(values) <= LARGEST))
    missing, infinite = (int(test(values[rows]).sum()) for test in (np.isnan, np.isinf))
    too_large = len(rows) - missing - infinite
    counts = {"missing (NaN)": missing, "infinite": infinite, f"too large (beyond {LARGEST:.3g})": too_large}
    found = " and ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return Finding(str(column.name), f"`{column.name}` has {found} {'value' if len(rows) == 1 else 'values'}", rows)


def _small_classes(labels: "pd.Series[Any]", small: list[Any]) -> list[Finding]:
    if not small:
        return []
    rows = _positions(labels.isin(small))
    shown = ", ".join(f"'{label}'" for label in small[:FIRST_ROWS])
    return [Finding(TARGET, f"{_many(len(small), 'class')} a single row ({shown})", rows)]


def _out_of_range(column: "pd.Series[Any]", low: float, high: float) -> Finding:
    rows = outside(column, low, high)
    values = "value" if len(rows) == 1 else "values"
    return Finding(str(column.name), f"`{column.name}` has {len(rows)} {values} outside {low:g} to {high:g}", rows)


def _positions(mask: "pd.Series[bool]") -> "np.ndarray[Any, Any]":
    import numpy as np

    return np.flatnonzero(mask.to_numpy())


def _many(count: int, noun: str) -> str:
    if count == 1:
        return f"1 {noun} has"
    return f"{count} {noun}{'es' if noun.endswith('s') else 's'} have"


FINDERS: dict[str, Callable[["pd.DataFrame", list[str]], list[Finding]]] = {
    "columns": unfit_columns,
    "types": wrong_types,
    "finite": not_finite,
    "classes": unfit_classes,
    "ranges": out_of_range,
    "duplicates": repeated_rows,
}
