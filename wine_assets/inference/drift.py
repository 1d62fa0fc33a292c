"""Drift of a feature between training and serving, measured on the histograms of the manifest."""

from typing import Any

import numpy as np

from wine_assets.errors import InputError
from wine_assets.inference.manifest import Histogram

Counts = np.ndarray[Any, np.dtype[np.int64]]
_SMALLEST_SHARE = 1e-4
"""Share assigned to an empty bin, so that the logarithm of PSI stays finite."""


def count(histogram: Histogram, values: Any) -> Counts:
    """Return how many of `values` [n] lie in each bin, int64 [bins]; the outer bins count the values beyond them."""
    inner = np.asarray(histogram.edges[1:-1])
    places = np.searchsorted(inner, np.asarray(values), side="right")
    return np.bincount(places, minlength=len(histogram.counts)).astype(np.int64)


def psi(expected: Any, observed: Any) -> float:
    """Return the population stability index of two counts [bins]; 0 if one of them is empty.

    The sum over bins of (o - e) ln(o / e) with the shares e and o (Siddiqi, Credit Risk Scorecards, 2006); above 0.25
    it is commonly called a major shift.
    """
    _check_same_bins(expected, observed)
    if not np.sum(expected) or not np.sum(observed):
        return 0.0
    shares = [np.maximum(_shares(counts), _SMALLEST_SHARE) for counts in (expected, observed)]
    return float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))


def ks(expected: Any, observed: Any) -> float:
    """Return the Kolmogorov-Smirnov distance of two counts [bins]; it is exact only at the edges of the bins."""
    _check_same_bins(expected, observed)
    if not np.sum(expected) or not np.sum(observed):
        return 0.0
    return float(np.abs(np.cumsum(_shares(expected)) - np.cumsum(_shares(observed))).max())


def _check_same_bins(expected: Any, observed: Any) -> None:
    if len(expected) != len(observed):
        raise InputError(
            f"Counts must be of the same bins, got {len(expected)} and {len(observed)} of them. Count both with the "
            "histogram of the manifest."
        )


def _shares(counts: Any) -> "np.ndarray[Any, np.dtype[np.float64]]":
    values = np.asarray(counts, dtype=np.float64)
    shares: np.ndarray[Any, np.dtype[np.float64]] = values / values.sum()
    return shares
