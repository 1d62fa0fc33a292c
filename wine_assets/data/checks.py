"""The checks that rows must pass before a model learns from them, each of which is one object."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wine_assets.data.dataset import TARGET
from wine_assets.data.duplicates import duplicate_rows
from wine_assets.data.wine_columns import PHYSICAL_RANGES

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

FIRST_ROWS = 5
"""How many rows, columns and labels a sentence lists."""
LARGEST = 3.4028234663852886e38
"""The largest number that a float32 holds, which is what models take."""
MIN_CLASSES = 2
MIN_ROWS_PER_CLASS = 2
_EXAMPLE_LENGTH = 40


@dataclass(frozen=True)
class CheckSpec:
    """What a check is called and what it promises; a blocking one stops what is downstream, the others warn."""

    name: str
    description: str
    blocking: bool


@dataclass(frozen=True)
class CheckResult:
    """What one check found, as a sentence that names column, count and first rows (counted from 0)."""

    name: str
    passed: bool
    blocking: bool
    message: str
    metadata: dict[str, int | float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """What is wrong with one column, and in which rows, counted from 0; no rows if it is the column itself."""

    column: str
    clause: str
    rows: "np.ndarray[Any, Any] | Sequence[int]" = ()

    def sentence(self) -> str:
        """Return the clause with the numbers of the first rows."""
        if not len(self.rows):
            return self.clause
        shown = ", ".join(str(row) for row in self.rows[:FIRST_ROWS])
        return f"{self.clause} (first rows, counted from 0: {shown})"


@dataclass(frozen=True, kw_only=True)
class DataCheck(CheckSpec):
    """A check of rows: fast tests of whole columns, and a slower finder of what is wrong, where a test fails."""

    find: "Callable[[pd.DataFrame, list[str]], list[Finding]]"
    """Takes the frame and the columns whose test failed."""
    remedy: str
    """A sentence that says what to do."""
    feature_test: "Callable[[pd.Series[Any]], bool] | None" = None
    """Takes a feature; True if it passes."""
    label_test: "Callable[[pd.Series[Any]], bool] | None" = None
    """Takes the class column."""
    frame_test: "Callable[[pd.DataFrame], bool] | None" = None
    """Takes the whole frame."""
    for_wine_alone: bool = False
    """Whether features of other tables than the wine data are not tested."""
    is_required_by_others: bool = False
    """Whether the checks after it are left out if it fails."""


# --- columns: there is no test, because the schema itself compares the columns


def _unfit_columns(frame: "pd.DataFrame", expected: list[str]) -> list[Finding]:
    counts = Counter(str(name) for name in frame.columns)
    wanted = [*expected, TARGET]
    findings = [Finding(name, f"the column `{name}` is missing") for name in wanted if name not in counts]
    findings += [Finding(name, f"the column `{name}` is not expected") for name in counts if name not in wanted]
    findings += [Finding(name, f"the column `{name}` occurs {n} times") for name, n in counts.items() if n > 1]
    return findings or [
        Finding(name, f"the column `{name}` is in place {place}, where `{right}` belongs")
        for place, (name, right) in enumerate(zip(counts, wanted, strict=True), start=1)
        if name != right
    ]


COLUMNS = DataCheck(
    name="columns",
    description="Every expected column is there once, in order, and no other.",
    blocking=True,
    find=_unfit_columns,
    remedy="Add, rename or remove columns at the source, or name the ones to use in `features`.",
    is_required_by_others=True,
)


# --- types


def _is_numeric(column: "pd.Series[Any]") -> bool:
    import numpy as np

    return isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf"


def _is_label(column: "pd.Series[Any]") -> bool:
    """Tell whether labels are integers or text; integers become floats where a label is missing."""
    from pandas.api.types import is_string_dtype

    if column.dtype.kind == "f":
        return bool((column.dropna() % 1 == 0).all())
    return column.dtype.kind in "iu" or is_string_dtype(column.dropna())


def _wrong_number(column: "pd.Series[Any]") -> Finding:
    import pandas as pd

    name, text = str(column.name), column.astype("str")
    bad = _positions(pd.to_numeric(text, errors="coerce").isna() & column.notna())
    if not len(bad):
        return Finding(name, f"`{name}` holds its numbers as {column.dtype}, not as float64 or int64")
    example = str(text.iloc[bad[0]])[:_EXAMPLE_LENGTH]
    return Finding(name, f"`{name}` must hold numbers, and {_many(len(bad), 'row')} none, such as '{example}'", bad)


def _wrong_label(column: "pd.Series[Any]") -> Finding:
    import numpy as np

    if column.dtype.kind != "f":
        return Finding(TARGET, f"`{TARGET}` must hold integers or text as class labels, and holds {column.dtype}")
    bad = np.flatnonzero(~((column % 1 == 0) | column.isna()).to_numpy())
    clause = f"`{TARGET}` must hold integers or text as class labels, and {_many(len(bad), 'row')} a fraction"
    return Finding(TARGET, f"{clause}, such as {column.iloc[bad[0]]:g}", bad)


TYPES = DataCheck(
    name="types",
    description="Features are numbers, class labels are integers or text.",
    blocking=True,
    feature_test=_is_numeric,
    label_test=_is_label,
    find=lambda frame, columns: [
        _wrong_label(frame[name]) if name == TARGET else _wrong_number(frame[name]) for name in columns
    ],
    remedy="Correct these values at the source, or leave the column out with `features`.",
    is_required_by_others=True,
)


# --- finite


def _extremes(column: "pd.Series[Any]") -> tuple[float, float]:
    """Return minimum and maximum, which are NaN when any value is; so neither needs a copy of the column."""
    import numpy as np

    values = column.to_numpy()
    with np.errstate(invalid="ignore"):
        return float(values.min()), float(values.max())


def _is_finite(column: "pd.Series[Any]") -> bool:
    if not _is_numeric(column) or not len(column):
        return True
    return all(abs(extreme) <= LARGEST for extreme in _extremes(column))  # False for NaN


def _not_finite(column: "pd.Series[Any]") -> Finding:
    import numpy as np

    values = column.to_numpy()
    rows = np.flatnonzero(~(np.abs(values) <= LARGEST))
    missing, infinite = (int(test(values[rows]).sum()) for test in (np.isnan, np.isinf))
    too_large = len(rows) - missing - infinite
    counts = {"missing (NaN)": missing, "infinite": infinite, f"too large (beyond {LARGEST:.3g})": too_large}
    kinds = " and ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return Finding(str(column.name), f"`{column.name}` has {kinds} {'value' if len(rows) == 1 else 'values'}", rows)


FINITE = DataCheck(
    name="finite",
    description="No feature has a missing or an infinite value, or one too large for a float32.",
    blocking=True,
    feature_test=_is_finite,
    find=lambda frame, columns: [_not_finite(frame[name]) for name in columns],
    remedy="Fill these values or remove these rows at the source, or leave the column out with `features`.",
)


# --- classes


def _are_classes(column: "pd.Series[Any]") -> bool:
    sizes = column.value_counts(dropna=False)
    return len(sizes) >= MIN_CLASSES and sizes.min() >= MIN_ROWS_PER_CLASS and not column.hasnans


def _unfit_classes(frame: "pd.DataFrame", _: list[str]) -> list[Finding]:
    """Find no rows, rows without a class, one class only, and classes that are too small."""
    if not len(frame):
        return [Finding(TARGET, "the table has no rows")]
    labels, findings = frame[TARGET], []
    if len(missing := _positions(labels.isna())):
        findings.append(Finding(TARGET, f"{_many(len(missing), 'row')} no class in `{TARGET}`", missing))
    sizes = labels.value_counts()
    if len(sizes) == 1:
        findings.append(Finding(TARGET, f"`{TARGET}` has one class only, '{sizes.index[0]}'"))
    if small := list(sizes[sizes < MIN_ROWS_PER_CLASS].index):
        shown = ", ".join(f"'{label}'" for label in small[:FIRST_ROWS])
        rows = _positions(labels.isin(small))
        findings.append(Finding(TARGET, f"{_many(len(small), 'class')} a single row ({shown})", rows))
    return findings


CLASSES = DataCheck(
    name="classes",
    description="Every row has a class; there are two or more, with two or more rows each.",
    blocking=True,
    label_test=_are_classes,
    find=_unfit_classes,
    remedy="Every class needs two rows or more, and every row a class: correct the class column or the query.",
)


# --- ranges


def _outside(column: "pd.Series[Any]") -> "np.ndarray[Any, Any]":
    """Return the positions of the finite values that no wine can have."""
    import numpy as np

    low, high = PHYSICAL_RANGES[str(column.name)]
    values = column.to_numpy()
    return np.flatnonzero(((values < low) & (values != -np.inf)) | ((values > high) & (values != np.inf)))


def _is_within_range(column: "pd.Series[Any]") -> bool:
    """Tell whether all values are physically possible; values that aren't finite are another check's matter."""
    if column.name not in PHYSICAL_RANGES or not _is_numeric(column) or not len(column):
        return True
    low, high = PHYSICAL_RANGES[str(column.name)]
    least, most = _extremes(column)
    return (low <= least and most <= high) or not len(_outside(column))


def _out_of_range(column: "pd.Series[Any]") -> Finding:
    low, high = PHYSICAL_RANGES[str(column.name)]
    rows = _outside(column)
    values = "value" if len(rows) == 1 else "values"
    return Finding(str(column.name), f"`{column.name}` has {len(rows)} {values} outside {low:g} to {high:g}", rows)


RANGES = DataCheck(
    name="ranges",
    description="Values of wine features are physically possible.",
    blocking=False,
    feature_test=_is_within_range,
    for_wine_alone=True,
    find=lambda frame, columns: [_out_of_range(frame[name]) for name in columns],
    remedy="Check their unit and the decimal point.",
)


# --- duplicates


def _repeated_rows(frame: "pd.DataFrame", _: list[str]) -> list[Finding]:
    rows = duplicate_rows(frame)
    verb = "row equals" if len(rows) == 1 else "rows equal"
    return [Finding("all", f"{len(rows)} {verb} an earlier one", rows)]


DUPLICATES = DataCheck(
    name="duplicates",
    description="No row equals an earlier one.",
    blocking=False,
    frame_test=lambda frame: not len(duplicate_rows(frame)),
    find=_repeated_rows,
    remedy="Remove them at the source, unless they are measurements of their own.",
)


# --- all of them, in the order in which they are made


READABLE = CheckSpec("readable", "The source can be read: it is there, whole, and what it says it is.", blocking=True)
"""Made by reading, before there are rows."""
DATA_CHECKS = (COLUMNS, TYPES, FINITE, CLASSES, RANGES, DUPLICATES)
CHECKS: tuple[CheckSpec, ...] = (READABLE, *DATA_CHECKS)


def _positions(mask: "pd.Series[bool]") -> "np.ndarray[Any, Any]":
    import numpy as np

    return np.flatnonzero(mask.to_numpy())


def _many(count: int, noun: str) -> str:
    if count == 1:
        return f"1 {noun} has"
    return f"{count} {noun}{'es' if noun.endswith('s') else 's'} have"
