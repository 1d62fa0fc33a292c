"""Checks that rows must pass before anything is learned from them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wine_assets.data.dataset import TARGET
from wine_assets.data.duplicates import duplicate_rows
from wine_assets.data.findings import FINDERS, FIRST_ROWS, LARGEST, MIN_ROWS_PER_CLASS, REMEDIES, Finding, outside
from wine_assets.data.wine_columns import FEATURES, PHYSICAL_RANGES
from wine_assets.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

MIN_CLASSES = 2


@dataclass(frozen=True)
class CheckSpec:
    """A check by its name: a blocking one stops what is downstream, the others warn."""

    name: str
    description: str
    blocking: bool


CHECKS = (
    CheckSpec("readable", "The source can be read: it is there, whole, and what it says it is.", blocking=True),
    CheckSpec("columns", "Every expected column is there once, in order, and no other.", blocking=True),
    CheckSpec("types", "Features are numbers, class labels are integers or text.", blocking=True),
    CheckSpec(
        "finite", "No feature has a missing or an infinite value, or one too large for a float32.", blocking=True
    ),
    CheckSpec("classes", "Every row has a class; there are two or more, with two or more rows each.", blocking=True),
    CheckSpec("ranges", "Values of wine features are physically possible.", blocking=False),
    CheckSpec("duplicates", "No row equals an earlier one.", blocking=False),
)


@dataclass(frozen=True)
class CheckResult:
    """What one check found, as a sentence that names column, count and first rows (counted from 0)."""

    name: str
    passed: bool
    blocking: bool
    message: str
    metadata: dict[str, int | float | str] = field(default_factory=dict)


def schema(features: Sequence[str], layout: str) -> Any:
    """Return the one pandera schema of a table: numeric features in this order, then the class column `target`.

    Every check takes a whole column (or the frame) and answers with one boolean, so that a column with a million
    bad values costs no more than a good one.
    """
    import pandera.pandas as pa

    ranges = PHYSICAL_RANGES if layout == "wine" else {}
    columns = {name: pa.Column(checks=_feature_checks(ranges.get(name)), nullable=True) for name in features}
    columns[TARGET] = pa.Column(checks=[_check("types", _is_label), _check("classes", _are_classes)], nullable=True)
    return pa.DataFrameSchema(
        columns,
        checks=[_check("duplicates", lambda frame: not len(duplicate_rows(frame)))],
        strict=True,
        ordered=True,
        unique_column_names=True,
        coerce=False,
    )


def validate(frame: "pd.DataFrame", layout: str, features: Sequence[str] = ()) -> list[CheckResult]:
    """Return the outcome of every check that could be evaluated, never raising for what the rows hold.

    `layout` is "wine" or "table"; `features` are the expected ones, by default the wine's or else the frame's own.
    A check is left out when an earlier one found the columns, or their types, unfit for it.
    """
    expected = list(features) or _expected(frame, layout)
    failed = _failed_checks(schema(expected, layout), frame)
    outcomes = []
    for spec in CHECKS[1:]:
        columns = expected if spec.name == "columns" else failed.get(spec.name, [])
        outcomes.append(_failing(spec, frame, columns) if spec.name in failed else _passing(spec, frame))
        if spec.name in ("columns", "types") and spec.name in failed:
            break
    return outcomes


def failure(outcomes: Sequence[CheckResult]) -> DataError | None:
    """Return one error with the sentences of all blocking checks that failed, or None when none did."""
    sentences = [outcome.message for outcome in outcomes if outcome.blocking and not outcome.passed]
    return DataError(" ".join(sentences)) if sentences else None


def _passing(spec: CheckSpec, frame: "pd.DataFrame") -> CheckResult:
    message = f"{spec.description[:-1]} ({len(frame)} rows)."
    return CheckResult(spec.name, passed=True, blocking=spec.blocking, message=message, metadata={"rows": len(frame)})


def _failing(spec: CheckSpec, frame: "pd.DataFrame", columns: list[str]) -> CheckResult:
    findings = FINDERS[spec.name](frame, columns)
    shown = "; ".join(finding.sentence() for finding in findings[:FIRST_ROWS])
    more = f"; and {len(findings) - FIRST_ROWS} more columns" if len(findings) > FIRST_ROWS else ""
    verdict = "failed" if spec.blocking else "warns"
    message = f"Check `{spec.name}` {verdict}: {shown}{more}. {REMEDIES[spec.name]}"
    metadata = _metadata(frame, findings)
    return CheckResult(spec.name, passed=False, blocking=spec.blocking, message=message, metadata=metadata)


def _metadata(frame: "pd.DataFrame", findings: Sequence[Finding]) -> dict[str, int | float | str]:
    rows = sorted({int(row) for finding in findings for row in finding.rows[:FIRST_ROWS]})[:FIRST_ROWS]
    return {
        "rows": len(frame),
        "columns": ", ".join(finding.column for finding in findings),
        "count": sum(len(finding.rows) for finding in findings) or len(findings),
        "first_rows": ", ".join(map(str, rows)),
    }


def _check(name: str, function: Callable[[Any], bool]) -> Any:
    import pandera.pandas as pa

    return pa.Check(function, name=name, element_wise=False, ignore_na=False)


def _feature_checks(limits: tuple[float, float] | None) -> list[Any]:
    checks = [_check("types", _is_numeric), _check("finite", _is_finite)]
    return [*checks, _check("ranges", lambda column: _is_within(column, *limits))] if limits else checks


def _expected(frame: "pd.DataFrame", layout: str) -> list[str]:
    own = (str(name) for name in frame.columns if name != TARGET)
    return list(FEATURES) if layout == "wine" else list(dict.fromkeys(own))


def _failed_checks(expectations: Any, frame: "pd.DataFrame") -> dict[str, list[str]]:
    """Map each failed check to the columns it failed for. What pandera finds about the frame is check `columns`."""
    from pandera.errors import SchemaErrors

    try:
        expectations.validate(frame, lazy=True, inplace=True)
    except SchemaErrors as errors:
        failed: dict[str, list[str]] = {}
        for error in errors.schema_errors:
            name = getattr(error.check, "name", None) or "columns"
            failed.setdefault(name, []).append(str(getattr(error, "column_name", None)))
        return failed
    return {}


def _is_numeric(column: "pd.Series[Any]") -> bool:
    import numpy as np

    return isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf"


def _is_label(column: "pd.Series[Any]") -> bool:
    """Tell whether labels are integers or text; integers become floats where a label is missing."""
    from pandas.api.types import is_string_dtype

    if column.dtype.kind == "f":
        return bool((column.dropna() % 1 == 0).all())
    return column.dtype.kind in "iu" or is_string_dtype(column.dropna())


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


def _is_within(column: "pd.Series[Any]", low: float, high: float) -> bool:
    """Tell whether all values are within the limits; values that aren't finite are another check's matter."""
    if not _is_numeric(column) or not len(column):
        return True
    least, most = _extremes(column)
    return (low <= least and most <= high) or not len(outside(column, low, high))


def _are_classes(column: "pd.Series[Any]") -> bool:
    sizes = column.value_counts(dropna=False)
    return len(sizes) >= MIN_CLASSES and sizes.min() >= MIN_ROWS_PER_CLASS and not column.hasnans
