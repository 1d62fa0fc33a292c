"""The layout of a table to learn from: features first, the class column last and named `target`."""

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

from wine_assets.data import wine_columns
from wine_assets.data.dataset import TARGET
from wine_assets.data.readers.csv_dialect import CLASS_NAMES
from wine_assets.errors import SourceError

if TYPE_CHECKING:
    import pandas as pd

_SHOWN_COLUMNS = 20
_CLASS_AND_INDEX = _CLASS_AND_FEATURE = 2
_EXACT_FLOATS = 2**53  # beyond it, not every whole number has a float64
_INDEX_NAMES = ("index", "id", "no", "nr", "row", "rowid", "row_id", "rownames", "rn", "#")


def assign_columns(
    frame: "pd.DataFrame", class_column: str, features: list[str], name: str
) -> "tuple[pd.DataFrame, Literal['wine', 'table'], list[str]]":
    """Return the features and the class of a table as it was read, its layout, and the columns left out as an index.

    A frame whose columns are numbers came from a file without a header. Raises SourceError when there is no
    class column, more than one, or a column that was asked for isn't there.
    """
    if not len(frame):
        raise SourceError(f"{name} has a header but no rows: check how it was written")
    if not isinstance(frame.columns[0], str):
        return _unnamed_wine(frame, name), "wine", []
    _check_names(frame, name)
    frame = _without_blank_columns(frame, name)
    indexes = _indexes(frame, [class_column, *features])
    frame = frame.drop(columns=indexes)
    wine = None if class_column or features else _named_wine(frame, name)
    if wine is not None:
        return wine, "wine", indexes
    return _plain(frame, class_column, features, name), "table", indexes


def _check_names(frame: "pd.DataFrame", name: str) -> None:
    doubles = [column for column, count in Counter(frame.columns).items() if column and count > 1]
    if doubles:
        raise SourceError(f"{name} has more than one column named `{doubles[0]}`: rename or remove one")


def _unnamed_wine(frame: "pd.DataFrame", name: str) -> "pd.DataFrame":
    """Recognize UCI's layout, with the class first or last, and perhaps an index in front."""
    width = len(wine_columns.FEATURES) + 1
    if frame.shape[1] == width + 1 and _counts_up(frame.iloc[:, 0]):
        frame = frame.iloc[:, 1:]
    place = wine_columns.class_position(frame) if frame.shape[1] == width else None
    if place is None:
        raise SourceError(
            f"{name} has no header, and its {frame.shape[1]} columns aren't those of the UCI wine data: "
            "add a first line with the names of the columns"
        )
    others = [column for at, column in enumerate(frame.columns) if at != place]
    return _wine(frame, dict(zip(wine_columns.FEATURES, others, strict=True)), frame.columns[place], name)


def _named_wine(frame: "pd.DataFrame", name: str) -> "pd.DataFrame | None":
    """Return the wine data when there are its features, one more column, which is the class, and perhaps an index.

    Some features may be missing, which check `columns` then names; with other columns it is a table of its own.
    """
    columns = wine_columns.named_columns(list(frame.columns))
    rest = [column for column in frame.columns if column not in columns.values()]
    if len(rest) == _CLASS_AND_INDEX:
        rest = [column for column in rest if not _counts_up(frame[column])]
    return _wine(frame, columns, rest[0], name) if columns and len(rest) == 1 else None


def _wine(frame: "pd.DataFrame", columns: dict[str, Any], class_column: Any, name: str) -> "pd.DataFrame":
    labels = wine_columns.scikit_learn_classes(_labels(frame[class_column]), name)
    floats = {feature: _floats(frame[column]) for feature, column in columns.items()}
    return _assembled(floats, labels)


def _floats(column: "pd.Series[Any]") -> "pd.Series[Any]":
    return column.astype("float64") if column.dtype.kind == "i" else column


def _plain(frame: "pd.DataFrame", class_column: str, features: list[str], name: str) -> "pd.DataFrame":
    target = _asked_for(frame, class_column, "class_column", name) if class_column else _class_column(frame, name)
    chosen = [_asked_for(frame, feature, "features", name) for feature in features]
    chosen = chosen or [column for column in frame.columns if column != target]
    _check_features(chosen, target, name)
    return _assembled({column: frame[column] for column in chosen}, _labels(frame[target]))


def _check_features(chosen: list[str], target: str, name: str) -> None:
    doubles = [column for column, count in Counter(chosen).items() if count > 1]
    if doubles:
        raise SourceError(f"`features` names `{doubles[0]}` more than once: name each column once")
    if target in chosen:
        raise SourceError(f"`features` names `{target}`, which is the class column of {name}: leave it out")
    if TARGET in chosen:
        raise SourceError(
            f"{name} has a feature named `{TARGET}` beside the class column `{target}`, and that name is kept for the "
            "class: rename the column, or leave it out with `features`"
        )
    if not chosen:
        raise SourceError(f"{name} has no column but the class column `{target}`: a table needs at least one feature")


def _asked_for(frame: "pd.DataFrame", column: str, field: str, name: str) -> str:
    """Return the column that a field names: exactly, or else regardless of case."""
    if column in frame.columns:
        return column
    alike = [known for known in frame.columns if known.lower() == column.strip().lower()]
    if len(alike) == 1:
        return str(alike[0])
    raise SourceError(f"`{field}` names `{column}`, which {name} doesn't have: its columns are {_listed(frame)}")


def _class_column(frame: "pd.DataFrame", name: str) -> str:
    found = [column for column in frame.columns if column.lower().replace(" ", "_") in CLASS_NAMES]
    if len(found) == 1:
        return str(found[0])
    problem = (
        f"more than one column could hold the class ({', '.join(found)})" if found else "no class column was found"
    )
    raise SourceError(f"{name}: {problem} among {_listed(frame)}. Name the class column in `class_column`")


def _listed(frame: "pd.DataFrame") -> str:
    shown = ", ".join(f"`{column}`" for column in frame.columns[:_SHOWN_COLUMNS])
    return shown if frame.shape[1] <= _SHOWN_COLUMNS else f"{shown} and {frame.shape[1] - _SHOWN_COLUMNS} more"


def _without_blank_columns(frame: "pd.DataFrame", name: str) -> "pd.DataFrame":
    """Leave out a first column without a name, an index, and an empty last one, after a separator at line ends."""
    if frame.shape[1] > 1 and _is_blank(frame.columns[0]):
        frame = frame.iloc[:, 1:]
    if _is_blank(frame.columns[-1]) and frame.iloc[:, -1].isna().all():
        frame = frame.iloc[:, :-1]
    blank = [place for place, column in enumerate(frame.columns, start=1) if not column.strip()]
    if blank:
        raise SourceError(f"Column {blank[0]} of {name} has no name: give every column a name in the first line")
    return frame


def _is_blank(column: str) -> bool:
    """Tell whether a column has no name; `Unnamed: 0` is what pandas calls such a column when it writes it again."""
    return not column.strip() or column.startswith("Unnamed: ")


def _indexes(frame: "pd.DataFrame", wanted: list[str]) -> list[str]:
    """Return the columns that are named like an index and number the rows, in whatever order; not the `wanted` ones.

    Such a number often tells the class of its row, because rows are stored class by class, and means nothing.
    """
    known = {name.strip().lower() for name in wanted}
    found = [column for column in frame.columns if _is_named_like_an_index(column) and column.lower() not in known]
    found = [column for column in found if frame[column].dtype.kind == "i" and frame[column].is_unique]
    return found if frame.shape[1] - len(found) >= _CLASS_AND_FEATURE else []


def _is_named_like_an_index(column: str) -> bool:
    return column.lower() in _INDEX_NAMES or column.lower().endswith("_id")


def _counts_up(column: "pd.Series[Any]") -> bool:
    return column.dtype.kind == "i" and bool((column.diff().iloc[1:] > 0).all())


def _labels(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return labels as int64 or text; a blank label is a missing one, and whole numbers in floats are integers."""
    if column.dtype.kind == "f" and bool(((column % 1 == 0) & (column.abs() < _EXACT_FLOATS)).all()):
        return column.astype("int64")
    if column.dtype == "str":
        text = column.str.strip()
        return text.mask(text == "")
    return column


def _assembled(features: "dict[str, pd.Series[Any]]", labels: "pd.Series[Any]") -> "pd.DataFrame":
    """Put the columns together without copying them."""
    import pandas as pd

    return pd.DataFrame({**features, TARGET: labels}, copy=False)
