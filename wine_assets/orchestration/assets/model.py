"""The model group: the fitted estimator, its held-out figures, its ONNX export and what that predicts."""

from importlib.metadata import version

import dagster as dg

from wine_assets.compute.request import ComputeRequest
from wine_assets.data.checks import CheckResult, CheckSpec
from wine_assets.evaluation import cross_validation
from wine_assets.models import parity, prediction, training, verified_export
from wine_assets.orchestration import best_hyperparameters, io_managers, metadata
from wine_assets.orchestration.automation import FOLLOW_UPSTREAM
from wine_assets.orchestration.configs import (
    EvaluationConfig,
    PredictionsConfig,
    WineModelConfig,
    hyperparameters_config,
)
from wine_assets.orchestration.steps import Frame, Made, Model, step

PARITY = CheckSpec("parity", "The ONNX model answers as the estimator that it came from.", blocking=True)
_SCIKIT_LEARN = f"scikit-learn-{version('scikit-learn')}"
SHOWN_PREDICTIONS = 50
_ONNX = f"onnx-{version('onnx')}"
_ONNXRUNTIME = f"onnxruntime-{version('onnxruntime')}"


@step(
    group="model",
    format_name="estimator",
    kinds={"python", "scikitlearn"},
    code_version=f"{training.VERSION}+{_SCIKIT_LEARN}",
    request=ComputeRequest(cpu="1", memory="1Gi", timeout="30m"),
    condition=FOLLOW_UPSTREAM,
    after=[best_hyperparameters.SEARCH],
)
def wine_model(config: WineModelConfig, instance: dg.DagsterInstance, binarized_wine: Frame) -> Made:
    """The model: an estimator, fitted on every feature of all rows, and what it was fitted with."""
    hyperparameters = best_hyperparameters.resolved(instance, config.hyperparameters)
    model = training.train(binarized_wine, hyperparameters)
    return Made(
        model,
        metadata={
            "estimator": repr(model.estimator),
            "hyperparameters": model.hyperparameters.model_dump(),
            "training_rows": len(binarized_wine),
        },
        warnings=model.warnings,
        identity=WineModelConfig(hyperparameters=hyperparameters_config(hyperparameters)).model_dump(mode="json"),
    )


@step(
    group="model",
    format_name="report",
    kinds={"python", "scikitlearn", "matplotlib"},
    code_version=f"{cross_validation.VERSION}+{_SCIKIT_LEARN}",
    request=ComputeRequest(cpu="1", memory="1Gi", timeout="30m"),
    condition=FOLLOW_UPSTREAM,
)
def model_evaluation(config: EvaluationConfig, binarized_wine: Frame, wine_model: Model) -> Made:
    """Held-out accuracy, log-loss, ROC AUC, Brier score, calibration and importances, beside the reference's."""
    from wine_assets.reports import evaluation_report

    result = evaluation_report.review(binarized_wine, wine_model, config)
    page = io_managers.write_report(result.page)
    return Made(
        {**result.summary(), "report": page.name},
        metadata={
            "figures": metadata.table(*result.figures()),
            "picture": metadata.picture(result.picture, "Evaluation on held-out rows"),
            "report": dg.MetadataValue.path(str(page)),
            **result.evaluation.metrics,
            "metrics": result.evaluation.metrics,
            "reference_metrics": result.reference.metrics,
        },
    )


@step(
    group="model",
    format_name="model",
    kinds={"python", "onnx"},
    code_version=f"{verified_export.VERSION}+{_ONNX}+{_ONNXRUNTIME}",
    request=ComputeRequest(cpu="1", memory="1Gi", timeout="10m"),
    checks=[PARITY],
    condition=FOLLOW_UPSTREAM,
)
def wine_model_onnx(binarized_wine: Frame, wine_model: Model) -> Made:
    """The estimator as an ONNX model, proved equal to it before it is stored."""
    exported = verified_export.export(binarized_wine, wine_model)
    return Made(
        exported.content,
        outcomes=[_parity_outcome(exported.parity)],
        metadata={
            "parity_max_difference": exported.parity.max_difference,
            "metadata": metadata.mapping(exported.metadata),
        },
    )


@step(
    group="model",
    format_name="frame",
    kinds={"python", "onnx", "parquet"},
    code_version=f"{prediction.VERSION}+{_ONNXRUNTIME}",
    request=ComputeRequest(cpu="1", memory="500Mi", timeout="10m"),
    condition=FOLLOW_UPSTREAM,
)
def wine_predictions(config: PredictionsConfig, binarized_wine: Frame, wine_model_onnx: bytes) -> Made:
    """What the ONNX model predicts for a sample of rows, beside their true classes."""
    frame = prediction.predict_sample(wine_model_onnx, binarized_wine, config.rows, config.random_state)
    return Made(
        frame,
        metadata={
            **metadata.frame(frame),
            "labels": [int(label) for label in frame["label"]],
            "sample": frame.head(SHOWN_PREDICTIONS).to_dict("records"),
        },
    )


def _parity_outcome(measured: parity.Parity) -> CheckResult:
    figures: dict[str, int | float | str] = {
        "max_difference": measured.max_difference,
        "label_flips": measured.label_flips,
        "batch_differences": measured.batch_differences,
        "rows": measured.rows,
        "random_rows": measured.random_rows,
        "boundary_rows": measured.boundary_rows,
    }
    return CheckResult("parity", measured.passed, blocking=True, message=measured.sentence(), metadata=figures)
