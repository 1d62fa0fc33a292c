"""The binary dataset that models learn from: features and a target of 0 or 1."""

from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from wine_assets.config import StrictModel
from wine_assets.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

VERSION = "1"
TARGET = "target"
_SHOWN_LABELS = 10


class BinarizeParams(StrictModel):
    """Which classes count as negative (0); every other class becomes positive (1)."""

    negative_classes: list[str] = Field(
        default=["0"],
        min_length=1,
        description="Labels of the classes that become 0, each compared with the label as text; every other class "
        'becomes 1. At least one. Default: ["0"], the reference.',
    )

    @field_validator("negative_classes", mode="before")
    @classmethod
    def _labels_as_text(cls, labels: Any) -> Any:
        return [str(label) for label in labels] if isinstance(labels, list | tuple) else labels


def binarize(frame: "pd.DataFrame", params: BinarizeParams) -> "pd.DataFrame":
    """Return `frame` with an int64 target of 0 for the negative classes and 1 for every other, as last column.

    The features are shared with `frame`, not copied. Raises DataError when a negative class isn't in the data,
    or when all rows would end up on one side.
    """
    if TARGET not in frame.columns:
        raise DataError(f"The rows have no column `{TARGET}` to binarize, they have {_quoted(list(frame.columns))}")
    labels = frame[TARGET]
    negative = _negative_labels(labels, params)
    positive = ~labels.isin(negative)
    if positive.all() or not positive.any():
        raise DataError(
            f"`negative_classes` must leave rows on both sides, got {params.negative_classes}, which makes all "
            f"{len(frame)} rows {int(positive.any())}. The classes are {_listed(labels)}: name some of them, not all"
        )
    return frame.drop(columns=TARGET).assign(**{TARGET: positive.astype("int64")})


def feature_names(frame: "pd.DataFrame") -> list[str]:
    """Return the names of the features of `frame`, in order."""
    return [str(name) for name in frame.columns if name != TARGET]


def features_and_target(frame: "pd.DataFrame") -> "tuple[pd.DataFrame, pd.Series[int]]":
    """Return the float64 features and the int64 target, as scikit-learn is given them."""
    features = frame.drop(columns=TARGET)
    narrow = {name: "float64" for name, dtype in features.dtypes.items() if dtype != "float64"}
    return (features.astype(narrow) if narrow else features), frame[TARGET].astype("int64")


def column_summary(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """Return one row per column: name, dtype, missing values and, for numbers, min, mean and max."""
    return [_summary(name, frame[name]) for name in frame.columns]


def _negative_labels(labels: "pd.Series[Any]", params: BinarizeParams) -> list[Any]:
    by_text = {str(label): label for label in labels.dropna().unique()}
    absent = [name for name in params.negative_classes if name not in by_text]
    if absent:
        default = " (the default)" if params.negative_classes == BinarizeParams().negative_classes else ""
        raise DataError(
            f"`negative_classes` names {_quoted(absent)}{default}, which no row has. "
            f"The classes are {_listed(labels)}: change `negative_classes` in the run config"
        )
    return [by_text[name] for name in params.negative_classes]


def _listed(labels: "pd.Series[Any]") -> str:
    return _quoted(sorted(str(label) for label in labels.dropna().unique()))


def _quoted(labels: list[str]) -> str:
    shown = ", ".join(f"'{label}'" for label in labels[:_SHOWN_LABELS])
    return shown if len(labels) <= _SHOWN_LABELS else f"{shown} and {len(labels) - _SHOWN_LABELS} more"


def _summary(name: str, column: "pd.Series[Any]") -> dict[str, Any]:
    row: dict[str, Any] = {"column": name, "dtype": str(column.dtype), "missing": int(column.isna().sum())}
    if column.dtype.kind not in "iuf":
        return row | {"min": None, "mean": None, "max": None}
    return row | {"min": float(column.min()), "mean": float(column.mean()), "max": float(column.max())}
