import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr
from scipy.stats import ks_2samp, norm

from wine_assets.errors import InputError
from wine_assets.inference.drift import count, ks, psi
from wine_assets.inference.manifest import Content, Histogram
from wine_assets_tests.support.wine_frames import wine


def test_values_are_counted_in_their_bins() -> None:
    """Values are counted in their bins, and values beyond the edges in the outer ones."""
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


def test_psi_of_a_shift_is_what_the_integral_over_the_bins_gives() -> None:
    """Both directions of the relative entropy, as scipy has it."""
    before, after = norm(0, 1), norm(0.5, 1)
    edges = np.linspace(-3, 3, 13)
    shares = [np.diff([0, *distribution.cdf(edges[1:-1]), 1]) for distribution in (before, after)]
    expected = rel_entr(*shares).sum() + rel_entr(*reversed(shares)).sum()
    assert psi(*(np.round(share * 1e9).astype(int) for share in shares)) == pytest.approx(expected, rel=1e-5)
    assert psi(*shares) == psi(*reversed(shares))


def test_counts_of_other_bins_are_refused() -> None:
    for measure in (psi, ks):
        with pytest.raises(InputError, match=r"^Counts must be of the same bins, got 1 and 3 of them\. Count both"):
            measure([6], [1, 2, 3])


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=30))
def test_distances_are_finite_and_within_their_bounds(pairs: list[tuple[int, int]]) -> None:
    expected, observed = ([*counts] for counts in zip(*pairs, strict=True))
    assert 0 <= ks(expected, observed) <= 1 + 1e-12
    assert 0 <= psi(expected, observed) < 20
    assert ks(expected, observed) == ks(observed, expected)


def test_ks_is_that_of_the_samples_where_bins_hold_a_value_each() -> None:
    generator = np.random.default_rng(0)
    before, after = generator.integers(0, 6, 300), generator.integers(1, 7, 200)
    counts = [np.bincount(values, minlength=7) for values in (before, after)]
    assert ks(*counts) == pytest.approx(ks_2samp(before, after).statistic)


def test_nothing_was_observed_has_no_distance() -> None:
    assert psi([1, 2], [0, 0]) == ks([1, 2], [0, 0]) == psi([0, 0], [1, 2]) == ks([0, 0], [1, 2]) == 0
