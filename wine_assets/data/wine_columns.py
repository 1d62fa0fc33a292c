"""The wine data in the layouts in which it is published, recognized by its names or by its values."""

import re
from typing import TYPE_CHECKING, Any

from wine_assets.errors import SourceError

if TYPE_CHECKING:
    import pandas as pd

FEATURES = (
    "alcohol",
    "malic_acid",
    "ash",
    "alcalinity_of_ash",
    "magnesium",
    "total_phenols",
    "flavanoids",
    "nonflavanoid_phenols",
    "proanthocyanins",
    "color_intensity",
    "hue",
    "od280/od315_of_diluted_wines",
    "proline",
)
_MEASURED = (  # the smallest and largest value of each feature among the 178 wines
    (11.03, 14.83),
    (0.74, 5.8),
    (1.36, 3.23),
    (10.6, 30.0),
    (70.0, 162.0),
    (0.98, 3.88),
    (0.34, 5.08),
    (0.13, 0.66),
    (0.41, 3.58),
    (1.28, 13.0),
    (0.48, 1.71),
    (1.27, 4.0),
    (278.0, 1680.0),
)
# What a wine can have at all, in the units of the data: no amount is below 0, alcohol is a percentage of the volume,
# hue and od280/od315 are ratios of absorbances, and each other limit is ten times what wines reach, so that a value
# beyond it is a wrong unit or a slip of the decimal point.
PHYSICAL_RANGES = {
    "alcohol": (0.0, 100.0),
    "malic_acid": (0.0, 100.0),
    "ash": (0.0, 100.0),
    "alcalinity_of_ash": (0.0, 500.0),
    "magnesium": (0.0, 2_000.0),
    "total_phenols": (0.0, 100.0),
    "flavanoids": (0.0, 100.0),
    "nonflavanoid_phenols": (0.0, 100.0),
    "proanthocyanins": (0.0, 100.0),
    "color_intensity": (0.0, 200.0),
    "hue": (0.0, 10.0),
    "od280/od315_of_diluted_wines": (0.0, 10.0),
    "proline": (0.0, 20_000.0),
}
_ALIASES = {
    "acl": "alcalinity_of_ash",
    "ash_alcanity": "alcalinity_of_ash",
    "ash_alcalinity": "alcalinity_of_ash",
    "mg": "magnesium",
    "phenols": "total_phenols",
    "flavonoids": "flavanoids",
    "nonflavonoid_phenols": "nonflavanoid_phenols",
    "proanth": "proanthocyanins",
    "color_int": "color_intensity",
    "colour_intensity": "color_intensity",
    "od": "od280/od315_of_diluted_wines",
    "od280": "od280/od315_of_diluted_wines",
    "od280/od315": "od280/od315_of_diluted_wines",
    "0d280_0d315_of_diluted_wines": "od280/od315_of_diluted_wines",
}
_ENOUGH_ALIKE = 10
"""Of 13 features, how many make a table the wine data, or a copy of it that lacks some."""


def feature_of(name: str) -> str | None:
    """Return scikit-learn's name of the wine feature that a column name of any published copy means."""
    return _BY_KEY.get(_key(name))


def named_columns(names: list[str]) -> dict[str, str]:
    """Map the wine features, in order, to the columns that hold them; empty unless nearly all are there, once each."""
    found = {feature: name for name in names if (feature := feature_of(name))}
    once = len(found) == sum(feature_of(name) is not None for name in names)
    return (
        {feature: found[feature] for feature in FEATURES if feature in found}
        if once and len(found) >= _ENOUGH_ALIKE
        else {}
    )


def class_position(frame: "pd.DataFrame") -> int | None:
    """Return where the class column of 14 columns without names is, 0 or 13; None when this isn't the wine data."""
    for place, measured in ((0, slice(1, 14)), (13, slice(0, 13))):
        if _looks_measured(frame.iloc[:, measured]) and frame.iloc[:, place].dtype.kind in "if":
            return place
    return None


def scikit_learn_classes(labels: "pd.Series[Any]", name: str) -> "pd.Series[Any]":
    """Return labels 1, 2, 3 as 0, 1, 2, and 0, 1, 2 as they are; any other set of labels is refused, not guessed."""
    found = sorted(labels.dropna().unique().tolist(), key=str)
    if found == [0, 1, 2]:
        return labels
    if found == [1, 2, 3]:
        return labels - 1
    shown = ", ".join(str(label) for label in found[:10])
    raise SourceError(
        f"{name} is the wine data, but its class column `{labels.name}` holds the labels {shown}, where 1, 2, 3 (UCI) "
        "or 0, 1, 2 (scikit-learn) are expected. Renumber the classes, or give the columns a header and name "
        "the class column in `class_column`, which takes the labels as they are"
    )


def _looks_measured(columns: "pd.DataFrame") -> bool:
    """Tell whether the median of nearly every column lies among the values that were measured for its feature."""
    pairs = zip(_MEASURED, (columns.iloc[:, place] for place in range(columns.shape[1])), strict=True)
    alike = sum(column.dtype.kind in "if" and low <= column.median() <= high for (low, high), column in pairs)
    return alike >= _ENOUGH_ALIKE


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_BY_KEY = {_key(name): name for name in FEATURES} | {_key(alias): name for alias, name in _ALIASES.items()}
