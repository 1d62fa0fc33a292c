"""How far a search is, as metadata of observations, which the UI plots while the search runs."""

from typing import Any

from wine_assets.search.study import Study

FIRST_PAUSE_S = 5.0
LONGER_BY = 1 / 40
"""The share of the time since the beginning that passes between two observations: 290 in a day, 130 in half an hour."""


def pause(seconds: float) -> float:
    """Return how long to say nothing, that many seconds after the beginning."""
    return max(FIRST_PAUSE_S, seconds * LONGER_BY)


class Progress:
    """The course of a search, or of those of its trials that have some numbers, since a moment at which it began."""

    def __init__(self, study: Study, numbers: range | None) -> None:
        self._study, self._numbers = study, numbers
        self.recalled = len(self._ended())
        """How many trials had ended before, in an earlier run."""

    @property
    def total(self) -> int | None:
        """How many trials there are at most, None where that isn't known."""
        return len(self._numbers) if self._numbers is not None else self._study.total

    def metadata(self, seconds: float) -> dict[str, Any]:
        """Return what is to be seen of it so many seconds after the beginning; without what isn't known yet."""
        ended, total, best = self._ended(), self.total, self._study.best
        rate = (len(ended) - self.recalled) / max(seconds, 1e-9)
        states = [result.state for result in ended]
        known = {
            "trials": len(ended),
            "trials_total": total,
            **{state: states.count(state) for state in ("finished", "pruned", "failed")},
            "best_score": best,
            "trials_per_second": _shown(rate),
            "seconds_left": _shown((total - len(ended)) / rate) if total is not None and rate else None,
        }
        return {name: value for name, value in known.items() if value is not None}

    def sentence(self, metric: str) -> str:
        """Say how far it is."""
        of = f" of {self.total}" if self.total is not None else ""
        best = self._study.best
        return f"{len(self._ended())}{of} trials have ended" + (
            f", best {metric} {best:.4f}." if best is not None else "."
        )

    def _ended(self) -> list[Any]:
        ended, numbers = self._study.ended, self._numbers
        return [result for number, result in ended.items() if numbers is None or number in numbers]


def _shown(value: float) -> float:
    """Return a figure as a person wants to read it, with three digits that say something."""
    return float(f"{value:.3g}")
