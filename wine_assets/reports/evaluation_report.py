"""A model's evaluation beside the reference's, as figures, picture and page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wine_assets.evaluation.cross_validation import Evaluation, EvaluationParams, evaluate
from wine_assets.models.base import FittedModel
from wine_assets.models.reference import REFERENCE, REFERENCE_DESCRIPTION
from wine_assets.reports import evaluation_page
from wine_assets.reports.plots import evaluation_picture


@dataclass(frozen=True)
class Review:
    """An evaluation, that of the reference on the same folds, and how both are shown."""

    evaluation: Evaluation
    reference: Evaluation
    picture: bytes
    page: str

    def figures(self) -> tuple[Sequence[str], list[tuple[str, str, str, str]]]:
        """Return the header and the rows of the table of metrics."""
        return evaluation_page.METRICS_HEADER, evaluation_page.metric_rows(self.evaluation, self.reference)

    def summary(self) -> dict[str, Any]:
        """Return all figures as plain values: metrics, deviations, confusion, calibration and importances."""
        observed, predicted = self.evaluation.calibration
        return {
            "metrics": self.evaluation.metrics,
            "deviations": self.evaluation.deviations,
            "reference_metrics": self.reference.metrics,
            "confusion": self.evaluation.confusion.tolist(),
            "calibration": {"observed": observed.tolist(), "predicted": predicted.tolist()},
            "importances": {importance.feature: importance.mean for importance in self.evaluation.importances},
        }


def review(frame: Any, model: FittedModel, params: EvaluationParams) -> Review:
    """Cross-validate the hyperparameters of a model, and the reference's, on the same folds of `frame`."""
    evaluation = evaluate(frame, model.hyperparameters, params)
    once = params.model_copy(update={"permutations": 1})  # nobody is shown the reference's importances
    reference = evaluation if model.hyperparameters == REFERENCE else evaluate(frame, REFERENCE, once)
    picture = evaluation_picture(evaluation)
    page = evaluation_page.render(
        evaluation,
        reference,
        hyperparameters=model.hyperparameters.model_dump(),
        summary=_summary(frame, params),
        picture=picture,
    )
    return Review(evaluation, reference, picture, page)


def _summary(frame: Any, params: EvaluationParams) -> str:
    times = "once" if params.repeats == 1 else f"{params.repeats} times"
    return (
        f"{len(frame):,} rows, each held out {times} by stratified {params.folds}-fold cross-validation "
        f"(seed {params.seed}). The reference is {REFERENCE_DESCRIPTION}, on the same folds."
    )
