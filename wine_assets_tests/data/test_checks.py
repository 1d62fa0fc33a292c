from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wine_assets.data.checks import CHECKS, CheckResult
from wine_assets.data.validation import validate
from wine_assets.data.wine_columns import FEATURES, PHYSICAL_RANGES

NAMES = [spec.name for spec in CHECKS]
BAD_NUMBERS = [float("nan"), float("inf"), float("-inf")]


def failed(frame: pd.DataFrame, layout: str = "wine", **options: Any) -> dict[str, CheckResult]:
    return {result.name: result for result in validate(frame, layout, **options) if not result.passed}


def only_failure(frame: pd.DataFrame, layout: str = "wine", **options: Any) -> CheckResult:
    (result,) = failed(frame, layout, **options).values()
    return result


def changed(frame: pd.DataFrame, row: int, column: str, value: Any) -> pd.DataFrame:
    frame = frame.copy()
    frame.loc[row, column] = value
    return frame


def test_the_bundled_data_pass_every_check(bundled: pd.DataFrame) -> None:
    results = validate(bundled, "wine")
    assert [result.name for result in results] == NAMES[1:]
    assert all(result.passed and result.metadata == {"rows": 178} for result in results)


def test_only_ranges_and_duplicates_are_warnings() -> None:
    assert [spec.name for spec in CHECKS if not spec.blocking] == ["ranges", "duplicates"]
    assert NAMES == ["readable", "columns", "types", "finite", "classes", "ranges", "duplicates"]


def test_the_frame_is_left_as_it_was(bundled: pd.DataFrame) -> None:
    before = bundled.copy()
    validate(bundled, "wine")
    pd.testing.assert_frame_equal(bundled, before)


@settings(max_examples=50, deadline=None)
@given(
    values=arrays(
        np.float64,
        st.tuples(st.integers(4, 30), st.integers(1, 4)),
        elements=st.floats(allow_nan=False, allow_infinity=False, width=32),
    )
)
def test_any_finite_frame_of_two_classes_passes(values: np.ndarray[Any, Any]) -> None:
    frame = pd.DataFrame(values, columns=[f"x{place}" for place in range(values.shape[1])])
    frame["target"] = [place % 2 for place in range(len(frame))]
    assert set(failed(frame, "table")) <= {"duplicates"}


@pytest.mark.parametrize("value", [1e39, -1e300])
def test_a_number_that_no_float32_holds_is_named(bundled: pd.DataFrame, value: float) -> None:
    result = only_failure(changed(bundled, 7, "ash", value), "table", features=FEATURES)
    assert result.blocking
    assert "`ash` has 1 too large (beyond 3.4e+38) value (first rows, counted from 0: 7)" in result.message


@settings(max_examples=50, deadline=None)
@given(row=st.integers(0, 177), column=st.sampled_from(FEATURES), value=st.sampled_from(BAD_NUMBERS))
def test_a_bad_number_anywhere_is_reported_with_its_column_count_and_row(
    bundled: pd.DataFrame, row: int, column: str, value: float
) -> None:
    result = only_failure(changed(bundled, row, column, value))
    assert result.name == "finite"
    assert result.metadata == {"rows": 178, "columns": column, "count": 1, "first_rows": str(row)}
    assert f"`{column}` has 1 {'missing (NaN)' if np.isnan(value) else 'infinite'} value" in result.message
    assert f"(first rows, counted from 0: {row})" in result.message


@settings(max_examples=50, deadline=None)
@given(row=st.integers(0, 177), column=st.sampled_from(FEATURES), above=st.booleans())
def test_a_value_that_no_wine_can_have_is_a_warning(
    bundled: pd.DataFrame,
    row: int,
    column: str,
    above: bool,  # noqa: FBT001 - hypothesis passes it by name
) -> None:
    low, high = PHYSICAL_RANGES[column]
    result = only_failure(changed(bundled, row, column, high * 1.01 if above else low - 0.01))
    assert (result.name, result.blocking) == ("ranges", False)
    assert f"`{column}` has 1 value outside {low:g} to {high:g} (first rows, counted from 0: {row})" in result.message


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_repeated_rows_are_the_ones_that_pandas_finds(data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.tuples(st.sampled_from([0.0, -0.0, 1.5]), st.integers(0, 2)), min_size=4, max_size=20))
    frame = pd.DataFrame(rows, columns=["x", "y"]).assign(target=[place % 2 for place in range(len(rows))])
    expected = np.flatnonzero(frame.duplicated())
    result = failed(frame, "table").get("duplicates")
    assert (result.metadata["count"] if result else 0) == len(expected)
    if result:
        assert result.metadata["first_rows"] == ", ".join(map(str, expected[:5]))


def test_repeated_rows_are_a_warning_that_names_them(bundled: pd.DataFrame) -> None:
    frame = pd.concat([bundled, bundled.iloc[[3, 9]]], ignore_index=True)
    result = only_failure(frame)
    assert "2 rows equal an earlier one (first rows, counted from 0: 178, 179)" in result.message
    assert not result.blocking


def test_rows_with_text_labels_can_be_repeated() -> None:
    frame = pd.DataFrame({"x": [1.0, 1.0, 1.0, 2.0], "target": ["a", "b", "a", "b"]})
    assert only_failure(frame, "table").metadata["first_rows"] == "2"


@pytest.mark.parametrize("column", [*FEATURES, "target"])
def test_a_missing_column_is_named_and_stops_the_other_checks(bundled: pd.DataFrame, column: str) -> None:
    results = validate(bundled.drop(columns=column), "wine")
    assert [result.name for result in results] == ["columns"]
    assert f"the column `{column}` is missing" in results[0].message


def test_unexpected_repeated_and_misplaced_columns_are_named(bundled: pd.DataFrame) -> None:
    assert "the column `sugar` is not expected" in only_failure(bundled.assign(sugar=1.0)).message
    doubled = pd.concat([bundled[["ash"]], bundled], axis=1)
    assert "the column `ash` occurs 2 times" in only_failure(doubled).message
    misplaced = bundled[["malic_acid", "alcohol", *bundled.columns[2:]]]
    assert "the column `malic_acid` is in place 1, where `alcohol` belongs" in only_failure(misplaced).message
    assert "the column `target` is missing" in only_failure(bundled[["ash"]], "table").message


def test_expected_features_can_be_given(bundled: pd.DataFrame) -> None:
    result = only_failure(bundled[["ash", "target"]], "table", features=["ash", "hue"])
    assert "the column `hue` is missing" in result.message


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1.5", "abc", "2", "?"], "2 rows have none, such as 'abc' (first rows, counted from 0: 1, 3)"),
        (["1.5", "2.5", "2", "3"], "holds its numbers as str, not as float64 or int64"),
        ([1, "2", None, "x"], "1 row has none, such as 'x' (first rows, counted from 0: 3)"),
        (pd.to_datetime(["2020-01-01"] * 4), "4 rows have none, such as '2020-01-01'"),
        ([[1], [2], [3], [4]], "4 rows have none, such as '[1]'"),
        (pd.array([1, 2, 3, None], dtype="Int64"), "holds its numbers as Int64"),
    ],
    ids=["some text", "numbers as text", "mixed", "dates", "lists", "nullable"],
)
def test_a_feature_that_isnt_a_number_is_named_with_the_remedy(values: Any, expected: str) -> None:
    frame = pd.DataFrame({"x": values, "y": [1.0, 2.0, 3.0, 4.0], "target": [0, 1, 0, 1]})
    results = validate(frame, "table")
    assert [result.name for result in results] == ["columns", "types"]
    assert "`x`" in results[1].message
    assert expected in results[1].message
    assert "leave the column out with `features`" in results[1].message


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0.5, 1.0, 2.0, 2.5], "2 rows have a fraction, such as 0.5 (first rows, counted from 0: 0, 3)"),
        (pd.to_datetime(["2020-01-01"] * 4), "must hold integers or text as class labels, and holds datetime64"),
        ([True, False, True, False], "and holds bool"),
    ],
    ids=["fractions", "dates", "truth values"],
)
def test_labels_that_are_no_classes_are_refused(labels: Any, expected: str) -> None:
    result = failed(pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "target": labels}), "table")["types"]
    assert expected in result.message


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, 0, 0, 0], "`target` has one class only, '0'"),
        (["a", "a", "b", "b", None], "1 row has no class in `target` (first rows, counted from 0: 4)"),
        ([0.0, 1.0, np.nan, 0.0, 1.0], "1 row has no class in `target` (first rows, counted from 0: 2)"),
        ([0, 0, 1, 1, 2], "1 class has a single row ('2') (first rows, counted from 0: 4)"),
        (["a", "b", "c"], "3 classes have a single row ('a', 'b', 'c')"),
        ([None, None], "2 rows have no class"),
    ],
)
def test_classes_that_cant_be_learned_are_refused(labels: list[Any], expected: str) -> None:
    frame = pd.DataFrame({"x": np.arange(len(labels), dtype=float), "target": labels})
    result = only_failure(frame, "table")
    assert (result.name, result.blocking) == ("classes", True)
    assert expected in result.message


def test_a_table_without_rows_is_refused(bundled: pd.DataFrame) -> None:
    assert "the table has no rows" in only_failure(bundled.head(0)).message


def test_ranges_are_the_wines_alone(bundled: pd.DataFrame) -> None:
    frame = bundled.assign(alcohol=bundled["alcohol"] * -1)
    assert set(failed(frame, "wine")) == {"ranges"}
    assert not failed(frame, "table")


def test_an_infinite_value_is_not_reported_as_out_of_range_too(bundled: pd.DataFrame) -> None:
    frame = changed(changed(bundled, 3, "ash", np.inf), 5, "hue", -1)
    assert failed(frame)["ranges"].metadata["columns"] == "hue"


def test_a_million_bad_rows_make_one_short_sentence() -> None:
    rows = 1_000_000
    frame = pd.DataFrame({f"x{place}": np.full(rows, np.nan) for place in range(8)}).assign(target=np.arange(rows) % 2)
    result = failed(frame, "table")["finite"]
    assert result.metadata["count"] == 8 * rows
    assert "and 3 more columns" in result.message
    assert len(result.message) < 1000


def test_several_failed_checks(bundled: pd.DataFrame) -> None:
    """Each check that fails says so, whatever the others say."""
    frame = changed(changed(bundled, 3, "ash", np.nan), 0, "target", 9)
    results = failed(frame)
    assert set(results) == {"finite", "classes"}
    assert all(f"Check `{name}` failed" in result.message for name, result in results.items())
