import json
import signal
from collections.abc import Mapping
from typing import Any

import dagster as dg
import pytest
from dagster_k8s.job import get_user_defined_k8s_config
from dagster_ray.configs import RayExecutionConfig

from wine_assets.compute.request import ComputeRequest
from wine_assets.definitions import build_definitions
from wine_assets.orchestration import jobs
from wine_assets.orchestration.steps import Made, Step, retry_policy, step
from wine_assets_tests.support.pipeline import ASSETS, Pipeline, failures

Reference = tuple[Pipeline, dg.ExecuteInProcessResult]
GROUPS = {"raw_wine": "data", "binarized_wine": "data", "released_model": "release"}
FRAMES = ("raw_wine", "binarized_wine", "wine_predictions")


@pytest.fixture
def specs(definitions: dg.Definitions) -> Mapping[str, dg.AssetSpec]:
    """What is declared of each asset."""
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def _op_tags(definitions: dg.Definitions, asset: str) -> dict[str, Any]:
    tags = definitions.resolve_assets_def(asset).op.tags
    return {name: json.loads(value) for name, value in tags.items() if name.endswith("/config")}


def _broken(compute: Any, **request: Any) -> Step:
    declare = step(
        group="data", format_name="report", kinds={"python"}, code_version="1", request=ComputeRequest(**request)
    )
    return declare(compute)


def _run(declared: Step) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        resources = {"report": dg.mem_io_manager}
        asset = declared.asset(declared.request)
        return dg.materialize([asset], instance=instance, resources=resources, raise_on_error=False)


def test_the_graph_is_the_reference_workflow_with_export_and_evaluation(specs: Mapping[str, dg.AssetSpec]) -> None:
    above = {name: {dep.asset_key.to_user_string() for dep in spec.deps} for name, spec in specs.items()}
    assert above == {
        "raw_wine": set(),
        "binarized_wine": {"raw_wine"},
        "wine_model": {"binarized_wine", "hyperparameter_search"},
        "model_evaluation": {"binarized_wine", "wine_model"},
        "wine_model_onnx": {"binarized_wine", "wine_model"},
        "wine_predictions": {"binarized_wine", "wine_model_onnx"},
        "released_model": {"binarized_wine", "wine_model", "wine_model_onnx", "model_evaluation"},
        "hyperparameter_search": {"binarized_wine"},
    }


@pytest.mark.parametrize("asset", ASSETS)
def test_every_asset_says_what_it_is_who_owns_it_and_what_made_it(
    specs: Mapping[str, dg.AssetSpec], asset: str
) -> None:
    spec = specs[asset]
    assert spec.group_name == GROUPS.get(asset, "model")
    assert spec.owners == ["team:wine"]
    assert "python" in spec.kinds
    assert len(spec.kinds) >= 2
    assert spec.code_version
    assert str(spec.description).endswith(".")


@pytest.mark.parametrize("asset", ASSETS)
def test_kubernetes_and_ray_take_the_tags_of_every_asset(definitions: dg.Definitions, asset: str) -> None:
    tags = definitions.resolve_assets_def(asset).op.tags
    resources = get_user_defined_k8s_config(tags).container_config["resources"]
    ray = RayExecutionConfig.from_tags(tags)
    request = next(step.request for step in jobs.STEPS if step.name == asset)
    assert resources["requests"] == {"cpu": request.cpu, "memory": request.memory}
    assert (ray.num_cpus, ray.num_gpus, ray.memory) == (request.cpus, 0, request.memory_bytes)


def test_raw_wine_asks_for_500_mebibytes(definitions: dg.Definitions) -> None:
    tags = _op_tags(definitions, "raw_wine")
    assert tags["dagster-k8s/config"]["container_config"]["resources"]["requests"]["memory"] == "500Mi"
    assert tags["dagster-ray/config"]["memory"] == 500 * 2**20


def test_a_setting_changes_what_an_asset_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINE_ASSETS_COMPUTE", '{"wine_model": {"memory": "3Gi", "retries": 2}}')
    changed = build_definitions()
    assert _op_tags(changed, "wine_model")["dagster-ray/config"]["memory"] == 3 * 2**30
    policy = changed.resolve_assets_def("wine_model").op.retry_policy
    assert policy is not None
    assert policy.max_retries == 2
    assert _op_tags(changed, "raw_wine")["dagster-ray/config"]["memory"] == 500 * 2**20


@pytest.mark.parametrize("asset", ASSETS)
def test_every_materialization_records_what_was_requested_and_what_was_used(reference: Reference, asset: str) -> None:
    metadata = reference[0].metadata(asset)
    request = next(step.request for step in jobs.STEPS if step.name == asset)
    assert metadata["requested_cpu"].value == request.cpu
    assert metadata["requested_memory"].value == request.memory
    assert metadata["peak_memory_mib"].value >= 0
    assert metadata["cpu_seconds"].value > 0
    assert metadata["wall_seconds"].value > 0
    assert metadata["warnings"].value == "none"


@pytest.mark.parametrize("asset", FRAMES)
def test_every_frame_records_its_columns_rows_preview_and_statistics(reference: Reference, asset: str) -> None:
    pipeline, result = reference
    metadata, frame = pipeline.metadata(asset), result.output_for_node(asset)
    assert [column.name for column in metadata["dagster/column_schema"].value.columns] == [*frame.columns]
    assert metadata["dagster/row_count"].value == len(frame)
    assert metadata["preview"].value.count("\n") == 6
    assert metadata["statistics"].value.startswith("| column | dtype | missing | min | mean | max |")


@pytest.mark.parametrize("asset", ASSETS)
def test_every_materialization_names_the_file_of_its_data_version(reference: Reference, asset: str) -> None:
    pipeline, _ = reference
    assert pipeline.file(asset).is_file()
    assert pipeline.file(asset).stem == pipeline.version(asset)
    assert len(pipeline.version(asset)) == 32


def test_a_request_without_retries_has_no_retry_policy() -> None:
    assert retry_policy(ComputeRequest()) is None


def test_retries_wait_longer_each_time() -> None:
    policy = retry_policy(ComputeRequest(retries=3))
    assert policy is not None
    assert (policy.max_retries, policy.backoff) == (3, dg.Backoff.EXPONENTIAL)


def test_a_step_over_its_timeout_fails_with_a_sentence_and_the_process_lives_on() -> None:
    def endless() -> Made:
        """Nothing, for ever."""
        while True:
            pass

    result = _run(_broken(endless, timeout="0.1s"))
    assert "endless was stopped after 0.1 s, its compute request's timeout (0.1s)" in failures(result)[0]


def test_a_step_over_its_memory_fails_with_a_sentence_that_names_the_request() -> None:
    def greedy() -> Made:
        """A gibibyte of zeros."""
        return Made(bytearray(2**30))

    result = _run(_broken(greedy, memory="200Mi"))
    assert "greedy asked for 200Mi of memory and needed more" in failures(result)[0]


def test_a_step_that_is_interrupted_is_not_retried() -> None:
    """Dagster itself would, when the step has a retry policy."""

    def interrupted() -> Made:
        """What is asked to stop in the middle."""
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it went on")

    result = _run(_broken(interrupted, retries=2))
    assert not result.success
    assert not [event for event in result.all_events if event.is_step_up_for_retry]
    assert "InterruptedStepError" in failures(result)[0]


def test_an_error_that_is_not_of_the_project_keeps_its_traceback() -> None:
    def mistaken() -> Made:
        """A mistake of the programmer."""
        raise KeyError("nobody expected this")

    result = _run(_broken(mistaken))
    assert "KeyError" in failures(result)[0]
    assert "in mistaken" in failures(result)[0]


def test_the_same_work_has_the_same_version_and_other_work_another() -> None:
    model = next(step for step in jobs.STEPS if step.name == "wine_model")
    version = model.version({"C": 1.0}, {"binarized_wine": "a"})
    assert version == model.version({"C": 1.0}, {"binarized_wine": "a"})
    assert version != model.version({"C": 2.0}, {"binarized_wine": "a"})
    assert version != model.version({"C": 1.0}, {"binarized_wine": "b"})
