"""The hyperparameters of each family, typed: one model makes the launch form, the flags and the JSON Schema."""

from typing import Any, ClassVar, Literal, Self, SupportsFloat

from pydantic import Field, field_validator, model_validator

from wine_assets.errors import HyperparameterError
from wine_assets.ml.typed import Typed

Solver = Literal["lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga"]
Scaler = Literal["standard", "none"]
ClassWeight = Literal["none", "balanced"]

# Which mixes of L1 and L2 each solver can fit; a solver that is not named here fits L2 alone.
# Source: the table of solvers in scikit-learn's documentation of LogisticRegression.
L1_SOLVERS = ("liblinear", "saga")
ELASTIC_NET_SOLVERS = ("saga",)
SHUFFLING_SOLVERS = ("liblinear", "sag", "saga")


class LogisticRegressionHyperparameters(Typed):
    """What scikit-learn's LogisticRegression, and the scaler before it, are fitted with."""

    where: ClassVar[str] = "hyperparameters"
    refusal: ClassVar[type[HyperparameterError]] = HyperparameterError

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

    @field_validator("C", "l1_ratio", "tol", mode="before")
    @classmethod
    def _is_a_number_itself(cls, value: Any) -> Any:
        """Refuse what only turns into a number, such as a switch or an array of numpy: pydantic takes it."""
        if isinstance(value, SupportsFloat) and not isinstance(value, int | float):
            raise ValueError("must be a number of Python")  # noqa: TRY004 - pydantic turns no TypeError into a refusal
        return value

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


REFERENCE = LogisticRegressionHyperparameters(C=0.01, scaler="none")
"""The reference run: `LogisticRegression(max_iter=5000, C=0.01)` on the features as they are."""
