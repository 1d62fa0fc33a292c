"""The release group: the model that services answer with."""

from importlib.metadata import version

import dagster as dg

from wine_assets import settings
from wine_assets.compute.request import ComputeRequest
from wine_assets.orchestration import metadata
from wine_assets.orchestration.automation import FOLLOW_UPSTREAM
from wine_assets.orchestration.enforcement import Events, declaration, enforced
from wine_assets.orchestration.io_managers import Frame, Model, Report
from wine_assets.orchestration.outputs import versioned_output
from wine_assets.orchestration.report_files import read_report
from wine_assets.release import publishing


@dg.asset(
    group_name="release",
    kinds={"python", "onnx"},
    io_manager_key="report",
    code_version=f"{publishing.VERSION}+onnxruntime-{version('onnxruntime')}",
    automation_condition=FOLLOW_UPSTREAM,
    **declaration("released_model", ComputeRequest(cpu="1", memory="1Gi", timeout="10m")),
)
@enforced
def released_model(
    context: dg.AssetExecutionContext,
    binarized_wine: Frame,
    wine_model: Model,
    wine_model_onnx: bytes,
    model_evaluation: Report,
) -> Events:
    """The champion: the ONNX model as a version of the repository, which services load, and serve from then on."""
    candidate = publishing.Candidate(wine_model_onnx, wine_model, binarized_wine, model_evaluation["metrics"])
    report = read_report(model_evaluation["report"])
    origin = publishing.provenance(context.run.run_id)
    release = publishing.release(settings.home().models, candidate, origin, report)
    yield versioned_output(context, release.summary(), {}, metadata.release(release))
