"""Pictures of an evaluation, as PNG bytes."""

import io
import warnings
from typing import Any

from wine_assets.evaluation.cross_validation import Evaluation

_BLUE, _GRAY, _RED = "#2563eb", "#9ca3af", "#b91c1c"
_SHOWN_FEATURES = 15
_NAME_WIDTH = 40


def evaluation_picture(evaluation: Evaluation) -> bytes:
    """Draw confusion matrix, calibration, ROC curve and permutation importances side by side, 1000 x 800 pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 8), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    (confusion, calibration), (roc, importances) = figure.subplots(2, 2)
    _draw_confusion(confusion, evaluation)
    _draw_calibration(calibration, evaluation)
    _draw_roc(roc, evaluation)
    _draw_importances(importances, evaluation)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name that the font can't write is a row of boxes
        canvas.print_png(buffer, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def _draw_confusion(axes: Any, evaluation: Evaluation) -> None:
    counts = evaluation.confusion
    axes.imshow(counts, cmap="Blues")
    for row in (0, 1):
        for column in (0, 1):
            dark = counts[row, column] > counts.max() / 2
            axes.text(
                column, row, f"{counts[row, column]:,}", ha="center", va="center", color="white" if dark else "black"
            )
    axes.set(title="Confusion matrix (held-out rows)", xlabel="predicted", ylabel="true", xticks=[0, 1], yticks=[0, 1])


def _draw_calibration(axes: Any, evaluation: Evaluation) -> None:
    observed, predicted = evaluation.calibration
    axes.plot([0, 1], [0, 1], color=_GRAY, linestyle="--", label="perfect")
    axes.plot(predicted, observed, color=_BLUE, marker="o", label="held-out rows")
    axes.set(
        title=f"Calibration (Brier score {evaluation.metrics['brier_score']:.4f})",
        xlabel="predicted P(class 1)",
        ylabel="observed share of class 1",
    )
    axes.legend(loc="lower right")


def _draw_roc(axes: Any, evaluation: Evaluation) -> None:
    from sklearn.metrics import roc_curve

    false_positive, true_positive, _ = roc_curve(evaluation.y, evaluation.probability)
    axes.plot([0, 1], [0, 1], color=_GRAY, linestyle="--")
    axes.plot(false_positive, true_positive, color=_BLUE)
    axes.set(
        title=f"ROC curve (area {evaluation.metrics['roc_auc']:.4f})",
        xlabel="false positive rate",
        ylabel="true positive rate",
    )


def _draw_importances(axes: Any, evaluation: Evaluation) -> None:
    shown = evaluation.importances[:_SHOWN_FEATURES][::-1]
    colors = [_BLUE if importance.mean >= 0 else _RED for importance in shown]
    axes.barh(
        range(len(shown)),
        [importance.mean for importance in shown],
        xerr=[importance.deviation for importance in shown],
        color=colors,
        ecolor=_GRAY,
    )
    names = [_shortened(importance.feature) for importance in shown]
    axes.set_yticks(range(len(shown)), names, parse_math=False)  # a name may hold $, which starts a formula
    axes.set(title="Permutation importance", xlabel="growth of the held-out log-loss")


def _shortened(name: str) -> str:
    return name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 3]}..."
