"""A family of models: what it has to offer, and what a fit of it returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, SupportsFloat, TypeVar, runtime_checkable

from pydantic import Field

from wine_assets.config import StrictModel
from wine_assets.errors import HyperparameterError

RESERVED_FIELDS = frozenset(
    {
        *("source", "query", "database", "database_variable", "class_column", "feature", "negative_class"),
        *("reference", "hyperparameters", "force", "as_json", "debug", "json", "help"),
        *("folds", "repeats", "seed", "permutations", "predictions_rows", "predictions_random_state"),
    }
)
"""Names that no hyperparameter may have, because `wine-assets run` has options of these names."""


class Hyperparameters(StrictModel):
    """What a family is fitted with: one model makes the launch form, the flags and the JSON Schema.

    Each family has a subclass, whose `family` is a Literal of its name.
    """

    config_path: ClassVar[str] = "hyperparameters"
    error_class: ClassVar[type[HyperparameterError]] = HyperparameterError

    family: str = Field(description="the family that these belong to")


def python_number(value: Any) -> Any:
    """Refuse what only turns into a number, such as a switch or an array of numpy, both of which pydantic takes.

    A validator of the fields of a family, with `mode="before"`.
    """
    if isinstance(value, SupportsFloat) and not isinstance(value, int | float):
        raise ValueError("must be a number of Python")  # noqa: TRY004 - pydantic turns no TypeError into a refusal
    return value


H_contra = TypeVar("H_contra", bound=Hyperparameters, contravariant=True)


@dataclass(frozen=True)
class TrainingData:
    """What an estimator was fitted on, as far as its export has to know it."""

    features: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    classes: tuple[int, ...]
    fingerprint: str
    """SHA-256 of the content of the data, in hexadecimal digits."""

    @property
    def reach(self) -> tuple[float, ...]:
        """The largest absolute value of each feature."""
        return tuple(max(abs(low), abs(high)) for low, high in zip(self.low, self.high, strict=True))


class Family(Protocol[H_contra]):
    """One kind of estimator; X is a float64 frame [n, features], y an int64 series [n] of 0 and 1.

    An entry point of the group `wine_assets.families` names each family. Its module imports heavy libraries where it
    uses them, and not when it is loaded.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    """A sentence for people who choose among families."""
    version: ClassVar[str]
    """What a fit depends on beside its hyperparameters and rows, such as the release of the library that fits."""
    flexibility: ClassVar[int]
    """Where the family stands among all, from simple to complex: a linear model has 0, an ensemble of trees 10."""
    hyperparameters: ClassVar[Any]
    """The type of the hyperparameters, a subclass of Hyperparameters."""
    default_space: ClassVar[Mapping[str, Mapping[str, Any]]]
    """What a search draws hyperparameters from if it is told nothing: the fields of a Distribution, by name."""
    batch_invariant: ClassVar[bool]
    """Whether the exported model promises a row the same bits alone, in any batch and with any number of threads."""
    weights: ClassVar[str]
    """The name of the file that `save` writes, such as `estimator.skops`."""

    def fit(self, X: Any, y: Any, hyperparameters: H_contra) -> Any:
        """Return an estimator fitted on X and y; raise TrainingError when it can't be fitted."""
        ...

    def complexity(self, hyperparameters: H_contra) -> float:
        """Return how far an estimator with these may bend to the data: of two that are as good, less is better."""
        ...

    def save(self, estimator: Any, path: Path) -> None:
        """Write the estimator to `path`, without pickle."""
        ...

    def load(self, path: Path) -> Any:
        """Read an estimator that `save` wrote; raise ArtifactError when the file is not one."""
        ...

    def export(self, estimator: Any, hyperparameters: H_contra, data: TrainingData) -> bytes:
        """Return a self-contained ONNX model.

        Input `features` float32 [n, features]; outputs `label` int64 [n] and `probabilities` float32 [n, 2].
        Equal arguments give equal bytes. Raise ExportError for an estimator that this family did not fit.
        """
        ...


@runtime_checkable
class Iterative(Protocol):
    """What a family offers beside that whose fits are made of iterations, and can be looked at in between."""

    def iterations(self, hyperparameters: Any) -> int:
        """Return how many iterations a whole fit is made of."""
        ...

    def advance(self, estimator: Any | None, X: Any, y: Any, hyperparameters: Any, iterations: int) -> Any:
        """Return an estimator fitted for so many iterations, by going on from one that has fewer, or from None.

        After all of them it predicts, to the last bit, what that of `fit` does, wherever it was looked at.
        """
        ...


@dataclass(frozen=True)
class FittedModel:
    """An estimator together with all that is known of its fit."""

    family: Family[Any]
    hyperparameters: Hyperparameters
    data: TrainingData
    estimator: Any
    warnings: tuple[str, ...] = ()
    """What the solver warned of, such as that it stopped at max_iter; empty when all went well."""

    def export(self) -> bytes:
        """Return the model as ONNX, as `Family.export` does."""
        return self.family.export(self.estimator, self.hyperparameters, self.data)
