from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wine_assets.errors import InputError
from wine_assets.inference.features import rows_of

NAMES = ("alcohol", "ash", "hue")
ROWS = np.array([[13.5, 2, 1.25], [12, 3, 0.5]])


def frame(**changes: Any) -> pd.DataFrame:
    return pd.DataFrame(ROWS, columns=[*NAMES]).assign(**changes)


class OtherFrame:
    """A data frame of another library, of which no more is known than that it has columns by name."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.columns = [*values]
        self._values = values

    def __getitem__(self, name: str) -> Any:
        return self._values[name]


FORMS: dict[str, Callable[[], Any]] = {
    "an array": lambda: ROWS,
    "an array in columns": lambda: np.asfortranarray(ROWS),
    "a part of an array": lambda: np.repeat(ROWS, 2, axis=0)[::2],
    "an array of objects": lambda: ROWS.astype(object),
    "a list of rows": ROWS.tolist,
    "a frame": frame,
    "a frame in another order": lambda: frame()[["hue", "alcohol", "ash"]],
    "a frame with a column of whole numbers": lambda: frame(ash=[2, 3]),
    "a frame of nullable types": lambda: frame().convert_dtypes(),
    "a frame of Arrow's types": lambda: frame().convert_dtypes(dtype_backend="pyarrow"),
    "an Arrow table": lambda: pa.Table.from_pandas(frame()),
    "an Arrow table in chunks": lambda: pa.concat_tables([pa.Table.from_pandas(frame())[i : i + 1] for i in (0, 1)]),
    "an Arrow batch": lambda: pa.RecordBatch.from_pandas(frame()),
    "columns by name": lambda: {name: ROWS[:, at].tolist() for at, name in enumerate(NAMES)},
    "columns by name in another order": lambda: {name: ROWS[:, at] for at, name in reversed([*enumerate(NAMES)])},
    "a frame of another library": lambda: OtherFrame({name: ROWS[:, at] for at, name in reversed([*enumerate(NAMES)])}),
    "a frame of sparse columns": lambda: frame().astype(pd.SparseDtype(float)),
    "a frame whose columns are numbered": lambda: pd.DataFrame(ROWS),
    "an Arrow table of codes": lambda: pa.table(
        {n: pa.array(ROWS[:, i]).dictionary_encode() for i, n in enumerate(NAMES)}
    ),
    "a masked array without a mask": lambda: np.ma.masked_equal(ROWS, 99),
    "a matrix": lambda: ROWS.view(np.matrix),
    "a memory view": lambda: memoryview(ROWS.data),
    "rows of arrays": lambda: [*ROWS],
    "tuples of tuples": lambda: tuple(map(tuple, ROWS.tolist())),
    "rows by name": lambda: [dict(zip(NAMES, row, strict=True)) for row in ROWS.tolist()],
    "rows of numbers of numpy": lambda: [dict(zip(NAMES, row, strict=True)) for row in ROWS],
}


@pytest.mark.parametrize("form", FORMS)
def test_whatever_callers_have_becomes_the_same_rows(form: str) -> None:
    rows = rows_of(FORMS[form](), NAMES)
    assert (str(rows.dtype), rows.flags.c_contiguous) == ("float32", True)
    np.testing.assert_array_equal(rows, ROWS.astype(np.float32))


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint64", "int64", ">f4", ">i2", "longdouble"])
def test_any_type_of_number_is_cast(dtype: str) -> None:
    whole = np.array([[13, 2, 1], [12, 3, 0]])
    np.testing.assert_array_equal(rows_of(whole.astype(dtype), NAMES), whole.astype(np.float32))


def test_what_is_given_is_left_as_it_was() -> None:
    given = ROWS.astype(np.float32)
    rows_of(given, NAMES)[0, 0] = given[0, 0]
    original = frame()
    rows_of(original, NAMES)
    pd.testing.assert_frame_equal(original, frame())


def test_no_rows_are_no_rows() -> None:
    empty: Any
    for empty in (np.empty((0, 3)), frame().iloc[:0], {name: [] for name in NAMES}):
        assert rows_of(empty, NAMES).shape == (0, 3)


@pytest.mark.parametrize("count", [1, 1_000])
def test_the_largest_values_are_finite_however_many_there_are(count: int) -> None:
    """Their sum and their squares are not, in float32."""
    largest = np.full((count, 3), np.finfo(np.float32).max)
    np.testing.assert_array_equal(rows_of(largest, NAMES), largest)


def test_a_model_may_have_a_single_feature() -> None:
    assert rows_of({"hue": [1.5]}, ("hue",)).tolist() == [[1.5]]


def test_extra_columns_are_ignored_on_request() -> None:
    """With extra="ignore", columns that are no features are ignored."""
    extended = frame(grade=["a", "b"])
    np.testing.assert_array_equal(rows_of(extended, NAMES, "ignore"), ROWS.astype(np.float32))
    with pytest.raises(InputError, match=r"`grade` is not known\. The features are alcohol, ash, hue; .*extra="):
        rows_of(extended, NAMES)


def test_duplicate_unused_column_is_ignored() -> None:
    """A duplicate column that is no feature is ignored with extra="ignore"."""
    doubled = pd.concat([frame(grade="a"), frame(grade="b")[["grade"]]], axis=1)
    np.testing.assert_array_equal(rows_of(doubled, NAMES, "ignore"), ROWS.astype(np.float32))


IN_ANY_FORM: list[Callable[[pd.DataFrame], Any]] = [
    lambda named: named,
    pa.Table.from_pandas,
    pa.RecordBatch.from_pandas,
    lambda named: named.to_dict("list"),
    lambda named: {str(name): column for name, column in named.items()},
    lambda named: named.to_dict("records") if len(named) else named,
    lambda named: OtherFrame({str(name): column.to_numpy() for name, column in named.items()}),
    lambda named: named.convert_dtypes(),
]


@settings(max_examples=150, deadline=None)
@given(
    values=arrays(
        st.sampled_from([np.float64, np.float32, np.float16, np.int64, np.uint8]),
        st.tuples(st.integers(0, 20), st.just(3)),
    ).filter(lambda values: bool((np.abs(values.astype(float)) < 1e38).all())),
    order=st.permutations([*NAMES, "grade"]),
    form=st.sampled_from(IN_ANY_FORM),
)
def test_frame_and_array_give_the_same_rows(values: Any, order: list[str], form: Callable[[pd.DataFrame], Any]) -> None:
    """A data frame with columns in any order gives the rows of the ordered array.

    Whatever the order of its columns, the type of its values, and whatever else it has.
    """
    named = pd.DataFrame(values, columns=[*NAMES]).assign(grade="a")[order]
    np.testing.assert_array_equal(rows_of(form(named), NAMES, "ignore"), values.astype(np.float32))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
@pytest.mark.parametrize("taken", [np.s_[:, :], np.s_[::2, :], np.s_[::-1, :], np.s_[1:, ::-1], np.s_[:0, :]])
def test_an_array_may_lie_in_memory_as_it_likes(order: Any, dtype: Any, taken: Any) -> None:
    given_ = np.arange(12).reshape(4, 3).astype(dtype, order=order)[taken]
    rows = rows_of(given_, NAMES)
    np.testing.assert_array_equal(rows, given_.astype(np.float32))
    assert rows.flags.c_contiguous


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a column too few": (
        lambda: frame().drop(columns="ash"),
        r"^`ash` is missing\. The features are alcohol, ash, hue\.$",
    ),
    "all columns": (lambda: pd.DataFrame({"x": [1.0]}), r"`alcohol`, `ash`, `hue` are missing\."),
    "text": (lambda: frame(ash=["2", "3"]), r"`ash` must hold numbers, got |Row 0: `ash` must be a number, got '2'"),
    "one text": (lambda: frame(ash=pd.Series([2.0, "n/k"], dtype=object)), r"Row 1: `ash` must be a number, got 'n/k'"),
    "switches": (lambda: frame(ash=[True, False]), r"`ash` must hold numbers, got bool\. Give float or integer"),
    "switches in a list": (
        lambda: {"alcohol": [1], "ash": [True], "hue": [1]},
        r"Row 0: `ash` must be a number, got True",
    ),
    "dates": (lambda: frame(ash=pd.to_datetime(["2026-01-01"] * 2)), r"`ash` must hold numbers, got datetime64"),
    "durations": (lambda: frame(ash=pd.to_timedelta([1, 2])), r"`ash` must hold numbers, got timedelta64"),
    "dates of a time zone": (
        lambda: frame(ash=pd.to_datetime(["2026-01-01"] * 2, utc=True)),
        r"Row 0: `ash` must be a number, got Timestamp",
    ),
    "dates in an array": (lambda: np.zeros((2, 3), dtype="M8[s]"), r"Rows must hold numbers, got datetime64"),
    "dates of Arrow": (lambda: pa.table({"alcohol": [1], "ash": [date(2026, 1, 1)], "hue": [1]}), r"`ash` must hold"),
    "categories": (lambda: frame(ash=pd.Categorical(["a", "b"])), r"`ash` must hold numbers, got categories"),
    "categories that are numbers": (lambda: frame(ash=pd.Categorical([1.0, 2.0])), r"`ash` must hold numbers, got cat"),
    "decimal numbers": (
        lambda: {"alcohol": [1], "ash": [Decimal("1.5")], "hue": [1]},
        r"Row 0: `ash` must be a number, got Decimal",
    ),
    "nullable switches": (lambda: frame(ash=pd.array([True, False], dtype="boolean")), r"`ash` must hold numbers, got"),
    "switches of Arrow": (lambda: pa.table({"alcohol": [1], "ash": [True], "hue": [1]}), r"`ash` must hold numbers"),
    "a switch among numbers": (lambda: [[1, 2, 3], [1, True, 3.5]], r"^Row 1 must hold numbers, and holds True or F"),
    "a switch of numpy among numbers": (
        lambda: {"alcohol": [1, 1], "ash": [1.5, np.True_], "hue": [1, 1]},
        r"Row 1: `ash` must be a number, got (np\.)?True",
    ),
    "a switch in a row by name": (lambda: [{"alcohol": 1, "ash": True, "hue": 1}], r"Row 0: `ash` must be a number"),
    "switches in an array": (lambda: np.ones((2, 3), dtype=bool), r"Rows must hold numbers, got bool"),
    "NaN": (lambda: frame(ash=[2, np.nan]), r"^`ash` is NaN in row 1\. Give a finite number or leave the row out\.$"),
    "None": (lambda: [{"alcohol": 1, "ash": None, "hue": 1}], r"Row 0: `ash` must be a number, got None"),
    "NA": (lambda: frame(ash=pd.array([2, None], dtype="Int64")), r"`ash`.*(NaN|NA)"),
    "a number too large for any float": (lambda: [[1, 10**400, 1]], r"Row 0: `ash` must be a finite number of at most"),
    "None in an array": (lambda: np.array([[1, None, 1]]), r"Row 0: `ash` must be a number, got None"),
    "a column of nulls of Arrow": (lambda: pa.table({"alcohol": [1.0], "ash": [None], "hue": [1.0]}), r"`ash`"),
    "a null of Arrow": (
        lambda: pa.table({"alcohol": [1, 1], "ash": [1, None], "hue": [1, 1]}),
        r"^`ash` is NaN in row 1\. Give a finite number",
    ),
    "a null in an Arrow batch": (
        lambda: pa.RecordBatch.from_pydict({"alcohol": [1.5, 1], "ash": [1.5, None], "hue": [1, 1]}),
        r"^`ash` is NaN in row 1\.",
    ),
    "NA of Arrow's types": (lambda: frame(ash=pd.array([1, None], dtype="int64[pyarrow]")), r"`ash`"),
    "infinity": (lambda: frame(ash=[2, -np.inf]), r"`ash` is infinite in row 1\."),
    "too large": (
        lambda: frame(ash=[2, 1e39]),
        r"`ash` must be within float32's range \(at most 3\.4e\+38\), got 1e\+39 in row 1\.",
    ),
    "too large in an array": (lambda: ROWS * 1e300, r"Rows must be within float32's range"),
    "a single row": (lambda: ROWS[0], r"^Rows must be \[n, 3\], one column a feature .*, got shape \[3\]\.$"),
    "a single row of float32": (lambda: ROWS[0].astype(np.float32), r"got shape \[3\]\.$"),
    "a number in an array": (lambda: np.zeros((), dtype=np.float32), r"got array\(0"),
    "NaN in float32": (lambda: np.array([[1, np.nan, 1]], dtype=np.float32), r"^`ash` is NaN in row 0\."),
    "infinity of both signs": (
        lambda: np.array([[1, np.inf, -np.inf]], dtype=np.float32),
        r"^`ash` is infinite in row 0\.",
    ),
    "infinity far down": (
        lambda: np.insert(np.ones((5_000, 3), np.float32), 4_000, [1, 1, -np.inf], axis=0),
        r"^`hue` is infinite in row 4000\.",
    ),
    "a column too many": (lambda: np.ones((2, 4)), r"Rows must be \[n, 3\].*, got shape \[2, 4\]"),
    "three dimensions": (lambda: np.ones((2, 3, 1)), r"got shape \[2, 3, 1\]"),
    "a number": (lambda: 5, r"got 5\."),
    "nothing": (lambda: None, r"got None\."),
    "a name": (lambda: "wine", r"got 'wine'\."),
    "rows of other lengths": (lambda: [[1, 2, 3], [1, 2]], r"Rows must all have the 3 features"),
    "columns of other lengths": (
        lambda: {"alcohol": [1], "ash": [1, 2], "hue": [1]},
        r"same number of values, got `alcohol` 1, `ash` 2",
    ),
    "a column of columns": (
        lambda: {"alcohol": [[1]], "ash": [1], "hue": [1]},
        r"`alcohol` must be one column of numbers, got shape \[1, 1\]",
    ),
    "a column twice": (lambda: pd.concat([frame(), frame()[["ash"]]], axis=1), r"`ash` is there more than once"),
    "a masked array": (lambda: np.ma.masked_equal(ROWS, 2), r"got a masked array\. Fill the masked values first"),
    "rows of which one is no mapping": (lambda: [{"alcohol": 1, "ash": 1, "hue": 1}, 5], r"Row 1 must be a mapping"),
    "a row without a feature": (lambda: [{"alcohol": 1, "hue": 1}], r"^Row 0: `ash` is missing"),
    "complex numbers": (lambda: ROWS.astype(complex), r"Rows must hold numbers, got complex128"),
    "text in a column": (
        lambda: {"alcohol": [1, 2], "ash": [1, "2"], "hue": [1, 1]},
        r"^Row 1: `ash` must be a number, got '2'\.",
    ),
    "text in an array": (lambda: ROWS.astype(str), r"Rows must hold numbers, got <U"),
    "a masked column": (
        lambda: {"alcohol": [1, 1], "ash": np.ma.masked_equal([1, 2], 2), "hue": [1, 1]},
        r"got a masked array\. Fill",
    ),
    "a column twice in an Arrow table": (
        lambda: pa.Table.from_arrays([pa.array([1])] * 4, names=[*NAMES, "ash"]),
        r"^`ash` is there more than once\. Name each column once\.$",
    ),
    "a frame with a number among its names": (
        lambda: pd.DataFrame(ROWS, columns=["hue", "alcohol", 7]),
        r"^`ash` is missing",
    ),
    "a name that is a number": (
        lambda: {"alcohol": [1], "ash": [1], "hue": [1], 7: [1]},
        r"^`7` is not known\.",
    ),
    "a value for a column": (lambda: {"alcohol": 1, "ash": 1, "hue": 1}, r"`alcohol` must be one column of numbers, g"),
    "rows that are read once": (lambda: iter(ROWS), r"^Rows must be \[n, 3\]"),
    "an array of records": (lambda: np.zeros(2, dtype=[(n, float) for n in NAMES]), r"got shape \[2\]"),
    "a frame whose columns are numbers": (lambda: pd.DataFrame(ROWS[:, :2]), r"got shape \[2, 2\]"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_predicted_is_refused_in_a_sentence(kind: str) -> None:
    make, sentence = REFUSED[kind]
    with pytest.raises(InputError, match=sentence) as caught:
        rows_of(make(), NAMES)
    assert str(caught.value).endswith(".")


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*NAMES, "x"]), inner, max_size=4),
        max_leaves=12,
    )
)
def test_any_input_is_predicted_or_rejected(data: Any) -> None:
    """Any input is predicted, or rejected with an InputError."""
    try:
        rows = rows_of(data, NAMES)
    except InputError as error:
        assert len(str(error)) < 1_000  # noqa: PT017 - the other outcome is tested as well
    else:
        assert rows.shape[1] == 3
        assert np.isfinite(rows).all()
