import dataclasses
import json
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_k8s.job import get_user_defined_k8s_config
from dagster_ray.configs import RayExecutionConfig

from wine_assets import settings
from wine_assets.compute.request import ComputeRequest
from wine_assets.data.checks import CheckResult, CheckSpec
from wine_assets.orchestration import checks
from wine_assets.orchestration.enforcement import COMPUTE_TAG, Events, declaration, enforced, retry_policy
from wine_assets.orchestration.io_managers import FORMATS, io_manager
from wine_assets.orchestration.outputs import versioned_output
from wine_assets_tests.support.fresh_definitions import fresh_definitions
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


def _request(definitions: dg.Definitions, asset: str) -> ComputeRequest:
    return ComputeRequest.model_validate_json(definitions.resolve_assets_def(asset).op.tags[COMPUTE_TAG])


def _asset(compute: Callable[..., Events], **request: Any) -> dg.AssetsDefinition:
    declared = declaration(compute.__name__, ComputeRequest(**request))
    return dg.asset(io_manager_key="report", code_version="1", **declared)(enforced(compute))


def _run(*assets: dg.AssetsDefinition) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        resources = {"report": io_manager(FORMATS["report"])}
        return dg.materialize(assets, instance=instance, resources=resources, raise_on_error=False)


def test_asset_graph(specs: Mapping[str, dg.AssetSpec]) -> None:
    """The graph is the reference workflow with search, evaluation, export and release."""
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
def test_asset_spec(specs: Mapping[str, dg.AssetSpec], asset: str) -> None:
    """Every asset has a group, an owner, kinds, a code version and a description."""
    spec = specs[asset]
    assert spec.group_name == GROUPS.get(asset, "model")
    assert spec.owners == ["team:wine"]
    assert "python" in spec.kinds
    assert len(spec.kinds) >= 2
    assert spec.code_version
    assert str(spec.description).endswith(".")


@pytest.mark.parametrize("asset", ASSETS)
def test_scheduler_tags(definitions: dg.Definitions, asset: str) -> None:
    """Kubernetes and Ray take the tags of every asset."""
    tags = definitions.resolve_assets_def(asset).op.tags
    resources = get_user_defined_k8s_config(tags).container_config["resources"]
    ray = RayExecutionConfig.from_tags(tags)
    request = _request(definitions, asset)
    assert resources["requests"] == {"cpu": request.cpu, "memory": request.memory}
    assert (ray.num_cpus, ray.num_gpus, ray.memory) == (request.cpus, 0, request.memory_bytes)


def test_memory_of_raw_wine(definitions: dg.Definitions) -> None:
    """The reference workflow asks for 500Mi to get the data."""
    tags = _op_tags(definitions, "raw_wine")
    assert tags["dagster-k8s/config"]["container_config"]["resources"]["requests"]["memory"] == "500Mi"
    assert tags["dagster-ray/config"]["memory"] == 500 * 2**20


def test_compute_override(monkeypatch: pytest.MonkeyPatch) -> None:
    """WINE_ASSETS_COMPUTE changes the tags and the retries of the asset that it names."""
    monkeypatch.setenv("WINE_ASSETS_COMPUTE", '{"wine_model": {"memory": "3Gi", "retries": 2}}')
    changed = fresh_definitions(monkeypatch)
    assert _op_tags(changed, "wine_model")["dagster-ray/config"]["memory"] == 3 * 2**30
    policy = changed.resolve_assets_def("wine_model").op.retry_policy
    assert policy is not None
    assert policy.max_retries == 2
    assert _op_tags(changed, "raw_wine")["dagster-ray/config"]["memory"] == 500 * 2**20


@pytest.mark.parametrize("asset", ASSETS)
def test_recorded_usage(reference: Reference, asset: str) -> None:
    """Every materialization records what the step asked for and what it used."""
    metadata = reference[0].metadata(asset)
    request = _request(reference[0].definitions, asset)
    assert metadata["requested_cpu"].value == request.cpu
    assert metadata["requested_memory"].value == request.memory
    assert metadata["peak_memory_mib"].value >= 0
    assert metadata["cpu_seconds"].value > 0
    assert metadata["wall_seconds"].value > 0
    assert metadata["warnings"].value == "none"


@pytest.mark.parametrize("asset", FRAMES)
def test_recorded_frame(reference: Reference, asset: str) -> None:
    """Every frame records its columns, rows, preview and statistics."""
    pipeline, result = reference
    metadata, frame = pipeline.metadata(asset), result.output_for_node(asset)
    assert [column.name for column in metadata["dagster/column_schema"].value.columns] == [*frame.columns]
    assert metadata["dagster/row_count"].value == len(frame)
    assert metadata["preview"].value.count("\n") == 6
    assert metadata["statistics"].value.startswith("| column | dtype | missing | min | mean | max |")


@pytest.mark.parametrize("asset", ASSETS)
def test_recorded_path(reference: Reference, asset: str) -> None:
    """Every materialization names the file of its data version."""
    pipeline, _ = reference
    assert pipeline.file(asset).is_file()
    assert pipeline.file(asset).stem == pipeline.version(asset)
    assert len(pipeline.version(asset)) == 32


def test_no_retries() -> None:
    """A request without retries has no retry policy."""
    assert retry_policy(ComputeRequest()) is None


def test_retry_backoff() -> None:
    """Retries wait longer each time."""
    policy = retry_policy(ComputeRequest(retries=3))
    assert policy is not None
    assert (policy.max_retries, policy.backoff) == (3, dg.Backoff.EXPONENTIAL)


def test_timeout_of_computing() -> None:
    """A step over its timeout fails with a sentence, and the process lives on."""

    def endless(context: dg.AssetExecutionContext) -> Events:
        while True:
            pass
        yield

    [sentence] = failures(_run(_asset(endless, timeout="0.1s")))
    assert sentence == (
        "endless was stopped after 0.1 s, its compute request's timeout (0.1s). "
        "Raise `timeout` in its compute request (WINE_ASSETS_COMPUTE)."
    )


def test_memory_of_computing() -> None:
    """A step over its memory fails with a sentence that names the request."""

    def greedy(context: dg.AssetExecutionContext) -> Events:
        yield versioned_output(context, [bytearray(2**30)], {}, {})

    [sentence] = failures(_run(_asset(greedy, memory="200Mi")))
    assert sentence.startswith("greedy asked for 200Mi of memory and needed more")


def _slow(*_: Any) -> None:
    time.sleep(30)


@pytest.fixture
def small() -> dg.AssetsDefinition:
    """An asset that reads nothing, and has half a second for all it does."""

    def small(context: dg.AssetExecutionContext) -> Events:
        yield versioned_output(context, {}, {}, {})

    return _asset(small, timeout="0.5s")


@pytest.fixture
def reader() -> dg.AssetsDefinition:
    """An asset that reads `small`, and has half a second for all it does."""

    def reader(context: dg.AssetExecutionContext, small: Any) -> Events:
        yield versioned_output(context, {}, {}, {})

    return _asset(reader, timeout="0.5s")


@pytest.mark.usefixtures("home")
def test_timeout_of_storing(small: dg.AssetsDefinition, monkeypatch: pytest.MonkeyPatch) -> None:
    """Storing counts toward the timeout, and what took too long is not on record."""
    monkeypatch.setitem(FORMATS, "report", dataclasses.replace(FORMATS["report"], write=_slow))
    result = _run(small)
    assert failures(result)[0].startswith("small was stopped after 0.5 s")
    assert result.get_asset_materialization_events() == []


@pytest.mark.usefixtures("home")
def test_timeout_of_reading(
    small: dg.AssetsDefinition, reader: dg.AssetsDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading counts toward the timeout of the step that reads."""
    monkeypatch.setitem(FORMATS, "report", dataclasses.replace(FORMATS["report"], read=_slow))
    [sentence] = failures(_run(small, reader))
    assert sentence.startswith("reader was stopped after 0.5 s")


@pytest.mark.usefixtures("home")
def test_usage_of_all_blocks(small: dg.AssetsDefinition, reader: dg.AssetsDefinition) -> None:
    """The seconds on record cover reading, computing and storing."""
    write, read = FORMATS["report"].write, FORMATS["report"].read

    def slow_write(value: Any, path: Path) -> None:
        time.sleep(0.1)
        write(value, path)

    def slow_read(path: Path) -> Any:
        time.sleep(0.1)
        return read(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FORMATS, "report", dataclasses.replace(FORMATS["report"], write=slow_write, read=slow_read))
        result = _run(small, reader)
    [of_small] = result.asset_materializations_for_node("small")
    [of_reader] = result.asset_materializations_for_node("reader")
    assert 0.1 <= float(str(of_small.metadata["wall_seconds"].value)) < 0.5
    assert 0.2 <= float(str(of_reader.metadata["wall_seconds"].value)) < 0.5


@pytest.mark.usefixtures("home")
def test_checks_before_storing() -> None:
    """A failed blocking check is on record with all others, and nothing is stored."""
    good = CheckResult("good", passed=True, blocking=True, message="All is well.")
    bad = CheckResult("bad", passed=False, blocking=True, message="Nothing is well.")
    specs = [CheckSpec(name, "A check.", blocking=True) for name in ("good", "bad")]

    def checked(context: dg.AssetExecutionContext) -> Events:
        yield versioned_output(context, {}, {}, {})
        yield from checks.require([good, bad])

    declared = declaration("checked", ComputeRequest(), specs)
    result = _run(dg.asset(io_manager_key="report", code_version="1", **declared)(enforced(checked)))
    assert failures(result) == ["Nothing is well."]
    assert {each.check_name: each.passed for each in result.get_asset_check_evaluations()} == {
        "good": True, "bad": False,
    }  # fmt: skip
    assert result.get_asset_materialization_events() == []
    assert not settings.home().data.exists()


def test_interruption_is_not_retried() -> None:
    """Dagster itself would retry it, if the step has a retry policy."""

    def interrupted(context: dg.AssetExecutionContext) -> Events:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it went on")
        yield

    result = _run(_asset(interrupted, retries=2))
    assert not result.success
    assert not [event for event in result.all_events if event.is_step_up_for_retry]
    assert "InterruptedStepError" in failures(result)[0]


def test_foreign_error() -> None:
    """An error that is not of the project keeps its traceback."""

    def mistaken(context: dg.AssetExecutionContext) -> Events:
        raise KeyError("nobody expected this")
        yield

    [text] = failures(_run(_asset(mistaken)))
    assert "KeyError" in text
    assert "in mistaken" in text
