"""The release group: the model that services answer with."""

from importlib.metadata import version
from typing import Any

import dagster as dg

from wine_assets import settings
from wine_assets.compute.request import ComputeRequest
from wine_assets.orchestration import io_managers, metadata
from wine_assets.orchestration.automation import FOLLOW_UPSTREAM
from wine_assets.orchestration.steps import Frame, Made, Model, step
from wine_assets.release import publishing

Report = Any
"""What an asset of format `report` holds."""


@step(
    group="release",
    format_name="report",
    kinds={"python", "onnx"},
    code_version=f"{publishing.VERSION}+onnxruntime-{version('onnxruntime')}",
    request=ComputeRequest(cpu="1", memory="1Gi", timeout="10m"),
    condition=FOLLOW_UPSTREAM,
)
def released_model(
    run_id: str, binarized_wine: Frame, wine_model: Model, wine_model_onnx: bytes, model_evaluation: Report
) -> Made:
    """The champion: the ONNX model as a version of the repository, which services load, and serve from then on."""
    released = publishing.release(
        settings.home().models,
        publishing.Candidate(wine_model_onnx, wine_model, binarized_wine, model_evaluation["metrics"]),
        publishing.provenance(run_id),
        io_managers.read_report(model_evaluation["report"]),
    )
    return Made(
        released.summary(),
        metadata={
            "version": released.promotion.version,
            "champion": metadata.mapping(released.summary()),
            "repository": dg.MetadataValue.path(str(released.folder)),
        },
    )
