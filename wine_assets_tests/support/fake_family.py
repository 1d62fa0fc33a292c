"""A family of models whose fits do as they are told, which brings itself along to every process that runs trials.

Workers learn of it as they learn of the rows: the frame of a context is unpickled there, and what it is rebuilt with
registers the family. Nothing of the project knows of it, and in the process of the tests it is known within a fixture
alone.
"""

import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import threadpoolctl
from pydantic import Field

from wine_assets.data import dataset
from wine_assets.models import registry
from wine_assets.models.base import Hyperparameters
from wine_assets.search.objective import ObjectiveParams
from wine_assets.search.trial_context import TrialContext
from wine_assets.search.trials import Trial

NAME = "acting"
FOLDS = 2
ALLOCATED_MIB = 300
Act = Literal["fit", "wait", "hang", "raise", "exit", "die", "allocate", "overflow", "threads"]


class ActingHyperparameters(Hyperparameters):
    """What a fit does, and where it leaves a trace."""

    family: Literal["acting"] = Field(default="acting", description="the family of the tests")
    iterations: int = Field(default=8, ge=1, le=1000, description="what a whole fit is made of")
    x: float = Field(default=0.5, ge=0, le=1, description="what the score depends on")
    act: Act = Field(default="fit", description="what a fit does")
    trace: str = Field(default="", description="file to which each fit appends a line")
    once: str = Field(default="", description="file that the first fit makes; fits that find it do nothing odd")


class Constant:
    """Predicts the same of every row."""

    def __init__(self, probability: float) -> None:
        self._probability = probability

    def predict_proba(self, X: Any) -> Any:
        return np.tile([1 - self._probability, self._probability], (len(X), 1))


class ActingFamily:
    """Fits nothing, and does as it is told instead."""

    name: ClassVar[str] = NAME
    hyperparameters: ClassVar[type[ActingHyperparameters]] = ActingHyperparameters
    batch_invariant: ClassVar[bool] = True

    def fit(self, X: Any, y: Any, hyperparameters: ActingHyperparameters) -> Constant:
        if hyperparameters.trace:
            with Path(hyperparameters.trace).open("a") as file:
                file.write(f"{hyperparameters.x!r} {os.getpid()} {os.getppid()} {hyperparameters.act}\n")
        if not hyperparameters.once or _is_first(Path(hyperparameters.once)):
            _act(hyperparameters.act)
        return Constant(float("nan") if hyperparameters.act == "overflow" else 0.05 + 0.9 * hyperparameters.x)

    def complexity(self, hyperparameters: ActingHyperparameters) -> float:
        return 0.0

    def iterations(self, hyperparameters: ActingHyperparameters) -> int:
        return hyperparameters.iterations

    def advance(
        self, estimator: Any | None, X: Any, y: Any, hyperparameters: ActingHyperparameters, iterations: int
    ) -> Constant:
        return self.fit(X, y, hyperparameters)


def _is_first(path: Path) -> bool:
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _act(act: Act) -> None:
    match act:
        case "wait":
            time.sleep(0.1)
        case "hang":
            time.sleep(3600)
        case "raise":
            raise LookupError("It was told to.")
        case "exit":
            os._exit(7)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "threads":
            raise LookupError(f"{max(library['num_threads'] for library in threadpoolctl.threadpool_info())} threads")
        case "allocate":
            np.ones(ALLOCATED_MIB << 17)


class ActingFrame(pd.DataFrame):
    """A frame that brings the family along."""

    @property
    def _constructor(self) -> Any:
        return ActingFrame

    def __reduce__(self) -> Any:
        return brought, (pd.DataFrame(self),)


def brought(frame: pd.DataFrame) -> ActingFrame:
    """Return the frame in a process that knows the family from then on."""
    register()
    return ActingFrame(frame)


FAMILY = ActingFamily()


def register() -> None:
    """Make the family known in this process, for good."""
    registry.families().setdefault(NAME, FAMILY)  # type: ignore[arg-type]  # it is never saved nor exported


def frame() -> pd.DataFrame:
    """Return a few rows of both classes."""
    return ActingFrame({"x": np.arange(20.0), "target": np.arange(20) % 2})


def trial_context(**limits: Any) -> TrialContext:
    X, y = dataset.features_and_target(frame())
    return TrialContext(X, y, ObjectiveParams(folds=FOLDS), (NAME,), **limits)


def trial(number: int, act: Act = "fit", **fields: Any) -> Trial:
    return Trial(number, NAME, {"x": 0.5, "act": act, **fields})


def fits(trace: Path) -> "Counter[float]":
    """Return how often each x was fitted."""
    return Counter(float(line.split()[0]) for line in trace.read_text().splitlines()) if trace.exists() else Counter()


def pids(trace: Path) -> list[int]:
    """Return the processes that fitted, in order."""
    return [int(line.split()[1]) for line in trace.read_text().splitlines()] if trace.exists() else []


def templates(trace: Path, act: Act | None = None) -> list[int]:
    """Return the processes that those that fitted came of, in order."""
    lines = [line.split() for line in trace.read_text().splitlines()] if trace.exists() else []
    return [int(line[2]) for line in lines if act in (None, line[3])]
