"""The model group: the fitted estimator, its held-out figures, its ONNX export and what that predicts."""

from importlib.metadata import version

import dagster as dg

from wine_assets.compute.request import ComputeRequest
from wine_assets.data.checks import CheckResult, CheckSpec
from wine_assets.evaluation import cross_validation
from wine_assets.models import parity, prediction, training, verified_export
from wine_assets.orchestration import best_hyperparameters, checks, data_versions, metadata
from wine_assets.orchestration.automation import FOLLOW_UPSTREAM
from wine_assets.orchestration.configs import (
    EvaluationConfig,
    PredictionsConfig,
    WineModelConfig,
    hyperparameters_config,
)
from wine_assets.orchestration.enforcement import Events, declaration, enforced
from wine_assets.orchestration.io_managers import Frame, Model
from wine_assets.orchestration.outputs import versioned_output
from wine_assets.orchestration.report_files import write_report

PARITY = CheckSpec("parity", "The ONNX model answers as the estimator that it came from.", blocking=True)
_SCIKIT_LEARN = f"scikit-learn-{version('scikit-learn')}"
SHOWN_PREDICTIONS = 50
_ONNX = f"onnx-{version('onnx')}"
_ONNXRUNTIME = f"onnxruntime-{version('onnxruntime')}"


@dg.asset(
    group_name="model",
    kinds={"python", "scikitlearn"},
    io_manager_key="estimator",
    code_version=training.VERSION,
    automation_condition=FOLLOW_UPSTREAM,
    deps=[best_hyperparameters.SEARCH],
    **declaration("wine_model", ComputeRequest(cpu="1", memory="1Gi", timeout="30m")),
)
@enforced
def wine_model(context: dg.AssetExecutionContext, config: WineModelConfig, binarized_wine: Frame) -> Events:
    """The model: an estimator, fitted on every feature of all rows, and what it was fitted with."""
    data_version = data_versions.consumed(context.instance, context.run.run_id, dg.AssetKey("binarized_wine"))
    hyperparameters = best_hyperparameters.resolve(context.instance, config.hyperparameters, data_version)
    model = training.train(binarized_wine, hyperparameters)
    shown = {
        "estimator": repr(model.estimator),
        "hyperparameters": model.hyperparameters.model_dump(),
        "training_rows": len(binarized_wine),
    }
    named = WineModelConfig(hyperparameters=hyperparameters_config(hyperparameters))
    yield versioned_output(context, model, named.identity(), shown, model.warnings)


@dg.asset(
    group_name="model",
    kinds={"python", "scikitlearn", "matplotlib"},
    io_manager_key="report",
    code_version=f"{cross_validation.VERSION}+{_SCIKIT_LEARN}",
    automation_condition=FOLLOW_UPSTREAM,
    **declaration("model_evaluation", ComputeRequest(cpu="1", memory="1Gi", timeout="30m")),
)
@enforced
def model_evaluation(
    context: dg.AssetExecutionContext, config: EvaluationConfig, binarized_wine: Frame, wine_model: Model
) -> Events:
    """Held-out accuracy, log-loss, ROC AUC, Brier score, calibration and importances, beside the reference's."""
    from wine_assets.reports import evaluation_report

    result = evaluation_report.review(binarized_wine, wine_model, config)
    page = write_report(result.page)
    shown = metadata.review(result, page)
    yield versioned_output(context, {**result.summary(), "report": page.name}, config, shown)


@dg.asset(
    group_name="model",
    kinds={"python", "onnx"},
    io_manager_key="model",
    code_version=f"{verified_export.VERSION}+{_ONNX}+{_ONNXRUNTIME}",
    automation_condition=FOLLOW_UPSTREAM,
    **declaration("wine_model_onnx", ComputeRequest(cpu="1", memory="1Gi", timeout="10m"), [PARITY]),
)
@enforced
def wine_model_onnx(context: dg.AssetExecutionContext, binarized_wine: Frame, wine_model: Model) -> Events:
    """The estimator as an ONNX model, proved equal to it before it is stored."""
    exported = verified_export.export(binarized_wine, wine_model)
    yield from checks.require([_parity_result(exported.parity)])
    shown = {
        "parity_max_difference": exported.parity.max_difference,
        "metadata": metadata.mapping(exported.metadata),
    }
    yield versioned_output(context, exported.content, {}, shown)


@dg.asset(
    group_name="model",
    kinds={"python", "onnx", "parquet"},
    io_manager_key="frame",
    code_version=f"{prediction.VERSION}+{_ONNXRUNTIME}",
    automation_condition=FOLLOW_UPSTREAM,
    **declaration("wine_predictions", ComputeRequest(cpu="1", memory="500Mi", timeout="10m")),
)
@enforced
def wine_predictions(
    context: dg.AssetExecutionContext, config: PredictionsConfig, binarized_wine: Frame, wine_model_onnx: bytes
) -> Events:
    """What the ONNX model predicts for a sample of rows, beside their true classes."""
    frame = prediction.predict_sample(wine_model_onnx, binarized_wine, config.rows, config.random_state)
    shown = {
        **metadata.frame(frame),
        "labels": [int(label) for label in frame["label"]],
        "sample": frame.head(SHOWN_PREDICTIONS).to_dict("records"),
    }
    yield versioned_output(context, frame, config, shown)


def _parity_result(measured: parity.Parity) -> CheckResult:
    figures: dict[str, int | float | str] = {
        "max_difference": measured.max_difference,
        "label_flips": measured.label_flips,
        "batch_differences": measured.batch_differences,
        "rows": measured.rows,
        "random_rows": measured.random_rows,
        "boundary_rows": measured.boundary_rows,
    }
    return CheckResult("parity", measured.passed, blocking=True, message=measured.sentence(), metadata=figures)
