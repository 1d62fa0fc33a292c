"""The hyperparameters of each family, typed: one model makes the launch form, the flags and the JSON Schema."""

import functools
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, SupportsFloat

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from wine_assets.config import StrictModel
from wine_assets.errors import HyperparameterError

Solver = Literal["lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga"]
Scaler = Literal["standard", "none"]
ClassWeight = Literal["none", "balanced"]
Family = Literal["logistic_regression", "gradient_boosting"]
DEFAULT_FAMILY: Family = "logistic_regression"
"""The family of hyperparameters that name none."""

# Which mixes of L1 and L2 each solver can fit; a solver that is not named here fits L2 alone.
# Source: the table of solvers in scikit-learn's documentation of LogisticRegression.
L1_SOLVERS = ("liblinear", "saga")
ELASTIC_NET_SOLVERS = ("saga",)
SHUFFLING_SOLVERS = ("liblinear", "sag", "saga")


def _number_itself(value: Any) -> Any:
    """Refuse what only turns into a number, such as a switch or an array of numpy: pydantic takes it."""
    if isinstance(value, SupportsFloat) and not isinstance(value, int | float):
        raise ValueError("must be a number of Python")  # noqa: TRY004 - pydantic turns no TypeError into a refusal
    return value


class _Hyperparameters(StrictModel):
    """What every family has in common: a run config calls them `hyperparameters`."""

    config_path: ClassVar[str] = "hyperparameters"
    error_class: ClassVar[type[HyperparameterError]] = HyperparameterError


class LogisticRegressionHyperparameters(_Hyperparameters):
    """What scikit-learn's LogisticRegression, and the scaler before it, are fitted with."""

    family: Literal["logistic_regression"] = Field(
        default="logistic_regression", description="a linear model, which is the default"
    )
    C: float = Field(
        default=1.0,
        gt=0,
        le=1e9,
        description="inverse of the regularization strength, above 0 and at most 1e9; the reference run uses 0.01",
    )
    l1_ratio: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of L1 in the penalty: 0 is ridge, 1 is lasso, between them elastic net (saga alone)",
    )
    solver: Solver = Field(default="lbfgs", description="algorithm that minimizes the loss")
    max_iter: int = Field(
        default=5000, ge=1, le=1_000_000, description="iterations after which the solver gives up, 1 to 1,000,000"
    )
    tol: float = Field(default=1e-4, gt=0, le=1, description="tolerance at which the solver stops, above 0, at most 1")
    fit_intercept: bool = Field(default=True, description="whether the decision function has a constant term")
    class_weight: ClassWeight = Field(
        default="none", description="`balanced` weighs classes inversely to their frequency"
    )
    scaler: Scaler = Field(
        default="standard",
        description="`standard` brings each feature to mean 0 and variance 1 before the model; the reference has none",
    )
    random_state: int = Field(
        default=0, ge=0, le=2**32 - 1, description="seed of the solvers that shuffle: sag, saga, liblinear"
    )

    _numbers = field_validator("C", "l1_ratio", "tol", mode="before")(_number_itself)

    @model_validator(mode="after")
    def _solver_fits_the_penalty(self) -> Self:
        if 0 < self.l1_ratio < 1 and self.solver not in ELASTIC_NET_SOLVERS:
            raise HyperparameterError(_penalty_sentence(self, "an elastic net (0 < l1_ratio < 1)", ELASTIC_NET_SOLVERS))
        if self.l1_ratio == 1 and self.solver not in L1_SOLVERS:
            raise HyperparameterError(_penalty_sentence(self, "a lasso (l1_ratio = 1)", L1_SOLVERS))
        return self


def _penalty_sentence(given: LogisticRegressionHyperparameters, penalty: str, solvers: tuple[str, ...]) -> str:
    return (
        f"solver {given.solver!r} can't fit {penalty}, got l1_ratio {given.l1_ratio}. "
        f"Change `hyperparameters.solver` to {' or '.join(solvers)}, or `hyperparameters.l1_ratio` to 0."
    )


class GradientBoostingHyperparameters(_Hyperparameters):
    """What scikit-learn's HistGradientBoostingClassifier is fitted with, on all rows: it never stops early."""

    model_config = ConfigDict(json_schema_extra={"required": ["family"]})

    family: Literal["gradient_boosting"] = Field(
        default="gradient_boosting", description="trees, each fitted to the errors of those before it"
    )
    learning_rate: float = Field(
        default=0.1, gt=0, le=1, description="share of each tree's correction that is taken, above 0 and at most 1"
    )
    max_iter: int = Field(default=100, ge=1, le=10_000, description="number of trees, 1 to 10,000")
    max_leaf_nodes: int = Field(default=31, ge=2, le=10_000, description="leaves of a tree at most, 2 to 10,000")
    max_depth: int = Field(
        default=0, ge=0, le=1000, description="splits from a tree's root to a leaf at most, 1 to 1,000; 0 is no limit"
    )
    min_samples_leaf: int = Field(default=20, ge=1, le=1_000_000, description="rows in a leaf at least, 1 to 1,000,000")
    l2_regularization: float = Field(
        default=0.0, ge=0, le=1e9, description="strength of L2 on the values of leaves, 0 (none) to 1e9"
    )
    max_features: float = Field(
        default=1.0, gt=0, le=1, description="share of the features that each split is chosen from, above 0, at most 1"
    )
    class_weight: ClassWeight = Field(
        default="none", description="`balanced` weighs classes inversely to their frequency"
    )
    random_state: int = Field(
        default=0, ge=0, le=2**32 - 1, description="seed of the features tried, and of the rows that bins are made of"
    )

    _numbers = field_validator("learning_rate", "l2_regularization", "max_features", mode="before")(_number_itself)


MODELS = (LogisticRegressionHyperparameters, GradientBoostingHyperparameters)
"""The hyperparameters of each family."""


def validated(fields: Mapping[str, Any]) -> "Hyperparameters":
    """Return the typed hyperparameters of the family that `fields` name, which is the default one for none.

    Raise HyperparameterError for a family that there isn't, and for what the family refuses.
    """
    taken: Hyperparameters = _adapter().validate_python(fields)
    return taken


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the hyperparameters of any family."""
    return _adapter().json_schema()


def _with_family(given: Any) -> Any:
    """Name the default family where none is; refuse a family there isn't, and a field that only another family has."""
    if isinstance(given, MODELS):
        return given
    if not isinstance(given, Mapping):
        raise HyperparameterError(f"hyperparameters must be a mapping of fields, got {given!r}. Name them, as in C: 1.")
    fields = {"family": DEFAULT_FAMILY, **given}
    models = {model.model_fields["family"].default: model for model in MODELS}
    family = fields["family"]
    if not isinstance(family, str) or family not in models:
        raise HyperparameterError(
            f"family must be {' or '.join(map(repr, models))}, got {family!r}. "
            "Change `hyperparameters.family` in the run config."
        )
    for name in fields:
        others = [other for other, model in models.items() if name in model.model_fields]
        if others and family not in others:
            raise HyperparameterError(_foreign_sentence(name, family, others[0]))
    return fields


def _foreign_sentence(name: str, family: str, other: str) -> str:
    return (
        f"`hyperparameters.{name}` is of the family {other}, and the family is {family}, which has no such field. "
        f"Set `hyperparameters.family` to {other}, or leave `hyperparameters.{name}` out."
    )


@functools.cache
def _adapter() -> TypeAdapter[Any]:
    return TypeAdapter(Hyperparameters)


Hyperparameters = Annotated[
    LogisticRegressionHyperparameters | GradientBoostingHyperparameters,
    Field(discriminator="family"),
    BeforeValidator(_with_family),
]
"""The hyperparameters of any family; the field `family` says which."""

REFERENCE = LogisticRegressionHyperparameters(C=0.01, scaler="none")
"""The reference run: `LogisticRegression(max_iter=5000, C=0.01)` on the features as they are."""
