"""Quantities as Kubernetes writes them ("250m", "500Mi") and durations ("90s"), read exactly."""

import re
from decimal import ROUND_CEILING, Decimal

_NUMBER = r"(?P<number>[0-9]{1,19}(?:\.[0-9]{1,9})?)"
_QUANTITY = re.compile(_NUMBER + r"(?P<unit>[numkKMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,2})?")
_DURATION = re.compile(_NUMBER + r"(?P<unit>[smh])")
_THOUSANDS = {"n": -3, "u": -2, "m": -1, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_SECONDS = {"s": 1, "m": 60, "h": 3600}

SMALLEST_CPU = Decimal("0.001")
LARGEST_CPU = Decimal(1_000_000)
SMALLEST_MEMORY = 1 << 20
LARGEST_MEMORY = (1 << 63) - 1
LONGEST_S = Decimal(366 * 24 * 3600)


def parse_cpu(text: str) -> Decimal:
    """Return the cores that `text` ("2", "0.5", "250m") means, exactly.

    Raises ValueError, whose message completes "cpu must be ...", for anything that isn't a whole number
    of thousandths of a core between 1m and a million cores.
    """
    cores = _quantity(text)
    if cores is None or not SMALLEST_CPU <= cores <= LARGEST_CPU or cores % SMALLEST_CPU:
        raise ValueError('a positive number of cores in steps of 1m, as in "2", "0.5" or "250m"')
    return cores


def parse_memory(text: str) -> int:
    """Return the bytes that `text` ("500Mi", "2Gi", "512M", "1073741824") means, part of a byte rounded up.

    Raises ValueError, whose message completes "memory must be ...", for anything else than 1Mi to 8Ei.
    """
    amount = None if text[-1:] in {"n", "u", "m"} else _quantity(text)
    if amount is None or not SMALLEST_MEMORY <= amount <= LARGEST_MEMORY:
        raise ValueError('an amount of memory of at least 1Mi, as in "500Mi", "2Gi", "512M" or bytes without a unit')
    return int(amount.to_integral_value(ROUND_CEILING))


def parse_duration(text: str) -> float:
    """Return the seconds that `text` ("90s", "10m", "1.5h") means.

    Raises ValueError, whose message completes "timeout must be ...", for anything else, zero and more than
    366 days included.
    """
    match = _DURATION.fullmatch(text)
    seconds = Decimal(match["number"]) * _SECONDS[match["unit"]] if match else Decimal(0)
    if not 0 < seconds <= LONGEST_S:
        raise ValueError('a positive duration of at most 366 days, as in "90s", "10m" or "1h"; "" is none')
    return float(seconds)


def _quantity(text: str) -> Decimal | None:
    """Return the value of a Kubernetes quantity (Kubernetes API reference, "Quantity"), None where it is none."""
    match = _QUANTITY.fullmatch(text)
    return Decimal(match["number"]) * _factor(match["unit"] or "") if match else None


def _factor(unit: str) -> Decimal:
    if unit[1:] == "i":
        return Decimal(1024) ** _THOUSANDS[unit[0]]
    if unit in _THOUSANDS:
        return Decimal(1000) ** _THOUSANDS[unit]
    return Decimal(f"1{unit}")
