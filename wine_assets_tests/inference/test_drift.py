import numpy as np
import pytest
from scipy.stats import ks_2samp

from wine_assets.inference.drift import count, ks, psi
from wine_assets.inference.manifest import Content, Histogram
from wine_assets_tests.wines import wine


def test_values_are_counted_where_they_lie_and_those_beyond_in_the_outer_bins() -> None:
    histogram = Histogram((0.0, 1.0, 2.0, 3.0), (0, 0, 0))
    assert count(histogram, [-5, 0, 0.5, 1, 1.5, 2, 3, 99]).tolist() == [3, 2, 3]
    assert count(histogram, []).tolist() == [0, 0, 0]
    assert count(Histogram((2.0, 2.0), (7,)), [1, 2, 3]).tolist() == [3]


def test_the_training_data_are_where_the_manifest_says(content: Content) -> None:
    for feature in content.features:
        assert count(feature.histogram, wine()[feature.name]).tolist() == [*feature.histogram.counts]


def test_equal_shares_have_no_distance_whatever_their_number() -> None:
    assert psi([10, 20, 30], [1, 2, 3]) == pytest.approx(0)
    assert ks([10, 20, 30], [1, 2, 3]) == pytest.approx(0)


def test_psi_is_the_sum_of_differences_times_logarithms() -> None:
    """(0.4 - 0.5) ln(0.4 / 0.5) + (0.6 - 0.5) ln(0.6 / 0.5), by hand."""
    assert psi([50, 50], [40, 60]) == pytest.approx(0.1 * np.log(1.25) + 0.1 * np.log(1.2))
    assert psi([50, 50], [100, 0]) > 0.25, "an empty bin is a major shift, and no infinity"


def test_ks_is_that_of_the_samples_where_bins_hold_a_value_each() -> None:
    generator = np.random.default_rng(0)
    before, after = generator.integers(0, 6, 300), generator.integers(1, 7, 200)
    counts = [np.bincount(values, minlength=7) for values in (before, after)]
    assert ks(*counts) == pytest.approx(ks_2samp(before, after).statistic)


def test_nothing_was_observed_has_no_distance() -> None:
    assert psi([1, 2], [0, 0]) == ks([1, 2], [0, 0]) == psi([0, 0], [1, 2]) == ks([0, 0], [1, 2]) == 0
