"""The run of all data checks on a table, as one pandera schema."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from wine_assets.data.checks import COLUMNS, DATA_CHECKS, FIRST_ROWS, CheckResult, DataCheck, Finding
from wine_assets.data.dataset import TARGET, feature_names
from wine_assets.data.wine_columns import FEATURES

if TYPE_CHECKING:
    import pandas as pd


def schema(features: Sequence[str], layout: str) -> Any:
    """Return the pandera schema of a table: numeric features in this order, then the class column `target`.

    Every test takes a whole column (or the frame) and answers with one boolean. So a column with a million bad values
    costs no more than a good one.
    """
    import pandera.pandas as pa

    checks = [check for check in DATA_CHECKS if layout == "wine" or not check.for_wine_alone]
    feature_tests = [(check.name, check.feature_test) for check in checks]
    columns = {name: pa.Column(checks=_pandera_checks(feature_tests), nullable=True) for name in features}
    label_tests = [(check.name, check.label_test) for check in checks]
    columns[TARGET] = pa.Column(checks=_pandera_checks(label_tests), nullable=True)
    return pa.DataFrameSchema(
        columns,
        checks=_pandera_checks([(check.name, check.frame_test) for check in checks]),
        strict=True,
        ordered=True,
        unique_column_names=True,
        coerce=False,
    )


def validate(frame: "pd.DataFrame", layout: str, features: Sequence[str] = ()) -> list[CheckResult]:
    """Return the result of every check that could be made, never raising for what the rows hold.

    `layout` is "wine" or "table"; `features` are the expected ones, by default the wine's or else the frame's own.
    A check is left out when an earlier one found the columns, or their types, unfit for it.
    """
    expected = [*features] or ([*FEATURES] if layout == "wine" else [*dict.fromkeys(feature_names(frame))])
    failed = _failed_checks(schema(expected, layout), frame)
    results = []
    for check in DATA_CHECKS:
        if check.name not in failed:
            results.append(_pass(check, frame))
            continue
        results.append(_fail(check, frame, expected if check is COLUMNS else failed[check.name]))
        if check.is_required_by_others:
            break
    return results


def _pandera_checks(tests: Sequence[tuple[str, Callable[[Any], bool] | None]]) -> list[Any]:
    import pandera.pandas as pa

    return [pa.Check(test, name=name, element_wise=False, ignore_na=False) for name, test in tests if test is not None]


def _failed_checks(expectations: Any, frame: "pd.DataFrame") -> dict[str, list[str]]:
    """Map each failed check to the columns it failed for. What pandera finds about the frame is check `columns`."""
    from pandera.errors import SchemaErrors

    try:
        expectations.validate(frame, lazy=True, inplace=True)
    except SchemaErrors as errors:
        failed: dict[str, list[str]] = {}
        for error in errors.schema_errors:
            name = getattr(error.check, "name", None) or COLUMNS.name
            failed.setdefault(name, []).append(str(getattr(error, "column_name", None)))
        return failed
    return {}


def _pass(check: DataCheck, frame: "pd.DataFrame") -> CheckResult:
    message = f"{check.description[:-1]} ({len(frame)} rows)."
    return CheckResult(check.name, passed=True, blocking=check.blocking, message=message, metadata={"rows": len(frame)})


def _fail(check: DataCheck, frame: "pd.DataFrame", columns: list[str]) -> CheckResult:
    findings = check.find(frame, columns)
    shown = "; ".join(finding.sentence() for finding in findings[:FIRST_ROWS])
    more = f"; and {len(findings) - FIRST_ROWS} more columns" if len(findings) > FIRST_ROWS else ""
    verdict = "failed" if check.blocking else "warns"
    message = f"Check `{check.name}` {verdict}: {shown}{more}. {check.remedy}"
    metadata = _metadata(frame, findings)
    return CheckResult(check.name, passed=False, blocking=check.blocking, message=message, metadata=metadata)


def _metadata(frame: "pd.DataFrame", findings: Sequence[Finding]) -> dict[str, int | float | str]:
    rows = sorted({int(row) for finding in findings for row in finding.rows[:FIRST_ROWS]})[:FIRST_ROWS]
    return {
        "rows": len(frame),
        "columns": ", ".join(finding.column for finding in findings),
        "count": sum(len(finding.rows) for finding in findings) or len(findings),
        "first_rows": ", ".join(map(str, rows)),
    }
