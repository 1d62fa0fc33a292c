from decimal import ROUND_CEILING, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity  # type: ignore[import-untyped]  # it has no types

from wine_assets.compute.quantities import parse_cpu, parse_duration, parse_memory

_UNITS = ["", "k", "K", "M", "G", "T", "Ki", "Mi", "Gi", "Ti", "e3", "E6", "e+9"]
_NUMBERS = st.decimals(min_value=0, max_value=10**6, places=3).map(str)


@given(number=_NUMBERS, unit=st.sampled_from(_UNITS))
def test_memory_means_what_the_kubernetes_client_takes_it_for(number: str, unit: str) -> None:
    reference = parse_quantity(number + unit)
    if reference >= 1 << 20:
        assert parse_memory(number + unit) == reference.to_integral_value(ROUND_CEILING)
    else:
        with pytest.raises(ValueError, match="at least 1Mi"):
            parse_memory(number + unit)


@given(millicores=st.integers(1, 10**9))
def test_cores_mean_what_the_kubernetes_client_takes_them_for(millicores: int) -> None:
    assert parse_cpu(f"{millicores}m") == parse_quantity(f"{millicores}m") == Decimal(millicores) / 1000


@given(text=st.text(max_size=12))
def test_any_text_is_a_quantity_that_kubernetes_would_read_alike_or_is_refused(text: str) -> None:
    try:
        amount = parse_memory(text)
    except ValueError:
        return
    assert amount == parse_quantity(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "banana",
        "-5Gi",
        "0",
        "5 Gi",
        " 5Gi",
        "5Gi\n",
        "\u0665Gi",
        "100m",
        "10000000000u",
        "nan",
        "inf",
        "1e400",
        "5GiB",
        "5gi",
        "5ki",
        "1",
        "1Ki",
        "9Ei",
        "0x10Mi",
        "1_000Mi",
        "5.Mi",
        ".5Gi",
        "+5Gi",
        "1e99",
        "1" * 30,
    ],
)
def test_memory_that_nobody_can_mean_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="at least 1Mi"):
        parse_memory(text)


@pytest.mark.parametrize(
    "text", ["", "banana", "-1", "0", "0.0001", "1.0005", "nan", "1e400", "1 ", "\uff12", "2M", "1e7"]
)
def test_cores_that_nobody_can_mean_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="number of cores"):
        parse_cpu(text)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400), ("0.25s", 0.25)])
def test_a_duration_has_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "0s", "-1s", "1d", "1 h", "nans", "1e3s", "\uff19s", "10000h", "1h30m"])
def test_a_duration_that_nobody_can_mean_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="positive duration"):
        parse_duration(text)
