from collections.abc import Callable

import dagster as dg
import pytest

from wine_assets_tests.support.pipeline import MODEL_ASSETS, Pipeline

# Dagster's own tester of conditions selects assets with an argument that Dagster calls beta.
pytestmark = pytest.mark.filterwarnings("ignore:Parameter `include_sources` of function `AssetSelection.all`")

Tick = Callable[[], list[str]]
REQUESTED = ("wine_model", "model_evaluation", "wine_model_onnx", "wine_predictions", "released_model")
"""The assets that follow others, in the order in which they are requested."""


@pytest.fixture
def tick(pipeline: Pipeline) -> Tick:
    """The automation sensor's evaluation: the assets that it requests, in order; it keeps its cursor."""
    cursors: list[dg.AssetDaemonCursor | None] = [None]

    def evaluate() -> list[str]:
        result = dg.evaluate_automation_conditions(
            defs=pipeline.definitions, instance=pipeline.instance, cursor=cursors[-1]
        )
        cursors.append(result.cursor)
        return [found.key.to_user_string() for found in result.results if found.true_subset.size]

    return evaluate


@pytest.fixture
def settled(pipeline: Pipeline, tick: Tick) -> Tick:
    """Ticks of a pipeline whose every asset has been made, and where nothing is to be done."""
    assert tick() == []
    assert pipeline.train().success
    assert tick() == []
    return tick


def test_nothing_is_requested_where_there_is_no_data(tick: Tick) -> None:
    assert tick() == []
    assert tick() == []


def test_new_content_requests_every_model_asset_once_and_in_order(pipeline: Pipeline, settled: Tick) -> None:
    pipeline.read(negative_classes=["1"])
    assert settled() == [*REQUESTED]
    assert settled() == []
    pipeline.materialize(*MODEL_ASSETS)
    assert settled() == []


def test_the_first_data_requests_every_model_asset(pipeline: Pipeline, tick: Tick) -> None:
    tick()
    pipeline.read()
    assert tick() == [*REQUESTED]
    assert tick() == []


def test_the_same_content_made_again_requests_nothing(pipeline: Pipeline, settled: Tick) -> None:
    pipeline.read()
    assert settled() == []


def test_a_run_that_made_everything_itself_leaves_nothing_to_request(pipeline: Pipeline, settled: Tick) -> None:
    pipeline.train(negative_classes=["1"])
    assert settled() == []
    assert settled() == []


def test_a_model_made_by_hand_requests_what_is_below_it(pipeline: Pipeline, settled: Tick) -> None:
    pipeline.materialize("wine_model", wine_model={"hyperparameters": {"logistic_regression": {"C": 0.5}}})
    assert settled() == ["model_evaluation", "wine_model_onnx", "wine_predictions", "released_model"]
    assert settled() == []


def test_nothing_is_requested_while_a_run_that_will_make_it_is_under_way(pipeline: Pipeline, settled: Tick) -> None:
    job = pipeline.definitions.resolve_job_def("training_job")
    run = pipeline.instance.create_run_for_job(job, run_config={}, status=dg.DagsterRunStatus.STARTED)
    pipeline.read(negative_classes=["1"])
    assert settled() == []
    pipeline.instance.report_run_failed(run)
    assert settled() == [*REQUESTED], "the run that would have made them failed"
    assert settled() == []


def test_data_is_never_requested_by_itself(definitions: dg.Definitions) -> None:
    specs = {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}
    assert {name for name, spec in specs.items() if spec.automation_condition} == {*MODEL_ASSETS}
