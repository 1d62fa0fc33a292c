"""What every trial of a search has in common: the rows, what is scored, and how much a trial may take."""

from dataclasses import dataclass
from typing import Any

import msgspec

from wine_assets.compute import memory
from wine_assets.compute.request import ComputeRequest
from wine_assets.compute.usage import measure
from wine_assets.search.objective import Objective, ObjectiveParams
from wine_assets.search.space import family_named
from wine_assets.search.trials import Trial, TrialResult, failed

_MIB = 2**20


@dataclass(frozen=True)
class TrialContext:
    """The rows that candidates are scored on: float64 features X [n, features] and target y, int64 [n]."""

    X: Any
    y: Any
    params: ObjectiveParams
    families: tuple[str, ...]
    """The families that candidates are of."""
    memory_mib: int | None = None
    """What a trial may add to its process."""
    timeout_s: float | None = None
    """After how many seconds a worker that runs a trial is stopped."""
    threads: int = 1
    """The threads that a worker computes with."""

    def objective(self) -> Objective:
        """Return what scores candidates; the folds are made once."""
        return Objective(self.X, self.y, self.params)

    def warm(self) -> None:
        """Import what the families fit with, by fitting each on two rows."""
        import pandas as pd

        X, y = pd.DataFrame({"x": [0.0, 1.0]}), pd.Series([0, 1])
        for name in self.families:
            family = family_named(name)
            family.fit(X, y, family.hyperparameters()).predict_proba(X)


def run(trial: Trial, objective: Objective, memory_mib: int | None) -> TrialResult:
    """Return what comes of a trial in this process, with what it took; a failure is a result as well."""
    with measure() as usage:
        result = objective.score(trial) if memory_mib is None else _bounded(trial, objective, memory_mib)
    peak = round(max(usage.peak_memory_bytes, 0) / _MIB, 2)
    if memory_mib is not None and peak > memory_mib and result.state != "failed":
        reason = f"It took {peak:.0f} MiB, more than `failures.memory_mib` ({memory_mib}) allows."
        return failed(trial, reason, usage.wall_seconds, peak)
    return msgspec.structs.replace(result, seconds=usage.wall_seconds, memory_mib=peak)


def _bounded(trial: Trial, objective: Objective, memory_mib: int) -> TrialResult:
    request = ComputeRequest(memory=f"{memory_mib}Mi")
    with memory.limit_memory(request, f"Trial {trial.number}"):
        return objective.score(trial)
