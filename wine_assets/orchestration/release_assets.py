"""The release group: the model that services answer with."""

from importlib.metadata import version
from typing import Any

import dagster as dg

from wine_assets import settings
from wine_assets.execution.compute import ComputeRequest
from wine_assets.ml import release
from wine_assets.orchestration import described, io
from wine_assets.orchestration.automation import FOLLOW_UPSTREAM
from wine_assets.orchestration.steps import Estimator, Frame, Made, step

Report = Any
"""What an asset of format `report` holds."""


@step(
    group="release",
    format_name="report",
    kinds={"python", "onnx"},
    code_version=f"{release.VERSION}+onnxruntime-{version('onnxruntime')}",
    request=ComputeRequest(cpu="1", memory="1Gi", timeout="10m"),
    condition=FOLLOW_UPSTREAM,
)
def released_model(
    run_id: str, binarized_wine: Frame, wine_model: Estimator, wine_model_onnx: bytes, model_evaluation: Report
) -> Made:
    """The champion: the ONNX model as a version of the repository, which services load, and serve from then on."""
    released = release.released(
        settings.home().models,
        release.Candidate(wine_model_onnx, wine_model, binarized_wine, model_evaluation["metrics"]),
        release.provenance(run_id),
        io.read_report(model_evaluation["report"]),
    )
    return Made(
        released.summary(),
        metadata={
            "version": released.promotion.version,
            "champion": described.mapping(released.summary()),
            "repository": dg.MetadataValue.path(str(released.folder)),
        },
    )
