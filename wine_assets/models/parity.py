"""The proof that an exported model answers as the estimator that it came from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wine_assets.errors import ParityError
from wine_assets.models.base import FittedModel, TrainingData

if TYPE_CHECKING:
    from wine_assets.inference import Predictor

TOLERANCE = 1e-5
"""The largest difference of a probability that is accepted, and the margin beyond which labels have to be equal."""
RANDOM_ROWS = 10_000
BOUNDARY_ROWS = 500
BATCH_ROWS = 500
_BISECTIONS = 40
_BLOCK_ROWS = 100_000
_BATCH_SIZES = (2, 3, 7, 64)


@dataclass(frozen=True)
class Parity:
    """What was compared, and how far apart the answers were."""

    rows: int
    random_rows: int
    boundary_rows: int
    max_difference: float
    """The largest absolute difference of a probability, of either class; NaN if an answer was not a number."""
    label_flips: int
    """Rows whose labels differ although the estimator's margin |p - 0.5| exceeds the tolerance."""
    batch_differences: int
    """Rows whose probabilities had other bits alone than in a batch."""
    batch_invariant: bool
    """Whether the family promises that there are none of the last."""

    @property
    def compared_rows(self) -> int:
        """How many rows were compared in all."""
        return self.rows + self.random_rows + self.boundary_rows

    @property
    def passed(self) -> bool:
        """Whether the model is accepted."""
        return (
            self.max_difference <= TOLERANCE
            and self.label_flips == 0
            and (self.batch_differences == 0 or not self.batch_invariant)
        )

    def sentence(self) -> str:
        """Say what was found, and what to do when it is not good enough."""
        compared = (
            f"on {self.rows} rows of data, {self.random_rows} random rows and {self.boundary_rows} rows at the "
            f"decision boundary, probabilities differ by at most {self.max_difference:.2g} (allowed: {TOLERANCE:g}), "
            f"{self.label_flips} labels differ, and {self.batch_differences} rows answer otherwise alone than in a "
            "batch"
        )
        if self.passed:
            return f"The ONNX model equals the estimator: {compared}."
        return (
            f"The ONNX model doesn't answer as the estimator: {compared}. The last good model stays. Change the "
            "hyperparameters (scale the features, regularize more, or make the model smaller), and materialize again."
        )


def measure(content: bytes, model: FittedModel, X: Any) -> Parity:
    """Compare a serialized ONNX model with the one it was exported from; X is the frame [n, features] of its fit.

    Both are given the same float32 values, which is what the model's input can hold. Random rows are uniform in
    the features' ranges; boundary rows are found by bisection between rows that the estimator labels differently.
    """
    import numpy as np

    from wine_assets.inference import Predictor

    predictor = Predictor(content)
    estimator, random = model.estimator, _random_rows(model.data)
    boundary = _boundary_rows(estimator, random)
    differences, flips = zip(
        *(_compare(predictor, estimator, rows) for rows in (*_blocks(X.to_numpy()), random, boundary) if len(rows)),
        strict=True,
    )
    return Parity(
        rows=len(X),
        random_rows=len(random),
        boundary_rows=len(boundary),
        max_difference=float(np.max(differences)),
        label_flips=sum(flips),
        batch_differences=_batch_differences(predictor, random[:BATCH_ROWS]),
        batch_invariant=model.family.batch_invariant,
    )


def require(parity: Parity) -> None:
    """Raise ParityError when the model is not accepted."""
    if not parity.passed:
        raise ParityError(parity.sentence())


def _random_rows(data: TrainingData) -> Any:
    import numpy as np

    generator = np.random.default_rng(0)
    return generator.uniform(data.low, data.high, size=(RANDOM_ROWS, len(data.features))).astype(np.float32)


def _boundary_rows(estimator: Any, rows: Any) -> Any:
    import numpy as np

    positive = _probability(estimator, rows) > 0.5  # noqa: PLR2004 - the threshold of predict
    pairs = min(BOUNDARY_ROWS, int(positive.sum()), int((~positive).sum()))
    low, high = rows[~positive][:pairs].astype(np.float64), rows[positive][:pairs].astype(np.float64)
    for _ in range(_BISECTIONS if pairs else 0):
        middle = (low + high) / 2
        above = (_probability(estimator, middle) > 0.5)[:, None]  # noqa: PLR2004 - as above
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return high.astype(np.float32)


def _blocks(values: Any) -> Iterator[Any]:
    import numpy as np

    for start in range(0, len(values), _BLOCK_ROWS):
        yield values[start : start + _BLOCK_ROWS].astype(np.float32)


def _compare(predictor: "Predictor", estimator: Any, rows: Any) -> tuple[float, int]:
    import numpy as np

    expected = _probability(estimator, rows)
    difference = np.abs(predictor.predict_proba(rows) - np.stack([1 - expected, expected], axis=1))
    clear = np.abs(expected - 0.5) > TOLERANCE
    flips = predictor.predict(rows)[clear] != (expected[clear] > 0.5)  # noqa: PLR2004 - the threshold of predict
    return float(np.max(difference)), int(flips.sum())


def _batch_differences(predictor: "Predictor", rows: Any) -> int:
    import numpy as np

    together = predictor.predict_proba(rows)
    differs = np.zeros(len(rows), dtype=bool)
    for size in (1, *_BATCH_SIZES):
        parts = [predictor.predict_proba(rows[start : start + size]) for start in range(0, len(rows), size)]
        differs |= (np.concatenate(parts) != together).any(axis=1)
    return int(differs.sum())


def _probability(estimator: Any, rows: Any) -> Any:
    """Return P(class 1), float64 [n]; a frame is made where the estimator was fitted on one, so that names agree."""
    import numpy as np

    values = np.asarray(rows, dtype=np.float64)
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None:
        import pandas as pd

        return estimator.predict_proba(pd.DataFrame(values, columns=names))[:, 1]
    return estimator.predict_proba(values)[:, 1]
