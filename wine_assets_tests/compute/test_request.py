import json
import math
import subprocess
import sys
from typing import Any

import pytest
from dagster_k8s.job import get_user_defined_k8s_config
from dagster_ray.configs import RayExecutionConfig

from wine_assets.compute.request import ComputeRequest, override
from wine_assets.errors import ComputeRequestError


def test_a_request_is_read_in_cores_bytes_and_seconds() -> None:
    request = ComputeRequest(cpu="2500m", memory="500Mi", timeout="10m", memory_limit="1Gi")
    assert (request.cpus, request.threads, request.timeout_s) == (2.5, 2, 600)
    assert (request.memory_bytes, request.memory_limit_bytes) == (500 << 20, 1 << 30)


def test_a_request_for_nothing_in_particular_has_its_defaults() -> None:
    request = ComputeRequest()
    assert (request.cpus, request.memory_bytes, request.memory_limit_bytes) == (1, 1 << 30, 1 << 30)
    assert (request.gpu, request.retries, request.timeout_s) == (0, 0, None)


def test_a_quarter_of_a_core_still_computes_with_one_thread() -> None:
    assert ComputeRequest(cpu="250m").threads == 1


def test_numbers_of_a_json_object_are_quantities_too() -> None:
    request = ComputeRequest.model_validate({"cpu": 2, "memory": 1 << 30})
    assert (request.cpus, request.memory_bytes) == (2, 1 << 30)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"memory": "banana"}, "memory must be .* got 'banana'"),
        ({"memory": "-5Gi"}, "memory must be .* got '-5Gi'"),
        ({"memory": "100m"}, "memory must be .* got '100m'"),
        ({"cpu": "0"}, "cpu must be .* got '0'"),
        ({"cpu": math.nan}, "cpu must be .* got 'nan'"),
        ({"cpu": True}, "cpu is True"),
        ({"memory": []}, r"memory is \[\]"),
        ({"timeout": "soon"}, "timeout must be .* got 'soon'"),
        ({"gpu": -1}, "gpu is -1: .*greater than or equal to 0"),
        ({"gpu": True}, "gpu is True"),
        ({"retries": 1.5}, "retries is 1.5"),
        ({"cpu": "2", "cpu_limit": "1"}, r"cpu_limit must be at least `cpu` \(2\), got '1'"),
        ({"memory": "2Gi", "memory_limit": "1Gi"}, r"memory_limit must be at least `memory` \(2Gi\), got '1Gi'"),
        ({"memory_limit": "much"}, "memory_limit must be .* got 'much'"),
        ({"memroy": "1Gi"}, "'memroy' is not a field .* Use cpu, memory"),
        ({"where": "there"}, "'where' is not a field"),
    ],
)
def test_a_request_that_nobody_can_mean_is_refused_where_it_is_made(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ComputeRequestError, match=f"^The compute request of raw_wine: {says}"):
        ComputeRequest.named("raw_wine", **fields)


def test_a_request_is_an_object_of_fields() -> None:
    with pytest.raises(ComputeRequestError, match="A compute request is 'much'"):
        ComputeRequest.model_validate("much")


def test_every_field_says_what_it_means() -> None:
    assert all(field.description for field in ComputeRequest.model_fields.values())


def test_dagster_k8s_gives_the_container_what_was_asked_for() -> None:
    tags = ComputeRequest(cpu="500m", memory="500Mi", memory_limit="1Gi", gpu=1).op_tags()
    config = get_user_defined_k8s_config({"dagster-k8s/config": json.dumps(tags["dagster-k8s/config"])})
    assert config.container_config["resources"] == {
        "requests": {"cpu": "500m", "memory": "500Mi", "nvidia.com/gpu": "1"},
        "limits": {"cpu": "500m", "memory": "1Gi", "nvidia.com/gpu": "1"},
    }


def test_a_step_without_a_gpu_does_not_mention_one_to_kubernetes() -> None:
    assert "nvidia" not in json.dumps(ComputeRequest().op_tags())


def test_dagster_ray_sets_aside_what_was_asked_for() -> None:
    tags = ComputeRequest(cpu="500m", memory="500Mi", gpu=1).op_tags()
    config = RayExecutionConfig.from_tags({"dagster-ray/config": json.dumps(tags["dagster-ray/config"])})
    assert (config.num_cpus, config.num_gpus, config.memory) == (0.5, 1, 500 << 20)


def test_an_override_changes_the_fields_it_names_and_no_others() -> None:
    requests = {"raw_wine": ComputeRequest(memory="500Mi", retries=2), "wine_model": ComputeRequest()}
    changed = override(requests, {"raw_wine": {"memory": "2Gi"}})
    assert changed == {"raw_wine": ComputeRequest(memory="2Gi", retries=2), "wine_model": ComputeRequest()}


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"raw_vine": {}}, "no asset 'raw_vine' .* Name one of raw_wine, wine_model"),
        ({"raw_wine": "2Gi"}, "request of raw_wine must be an object of fields, got '2Gi'"),
        ({"raw_wine": {"memory": "banana"}}, "request of raw_wine: memory must be"),
        ({"raw_wine": {"memory": "2Gi"}}, "request of raw_wine: memory_limit must be at least `memory`"),
    ],
)
def test_an_override_that_cannot_be_meant_is_refused(overrides: dict[str, object], says: str) -> None:
    requests = {"wine_model": ComputeRequest(), "raw_wine": ComputeRequest(memory="500Mi", memory_limit="1Gi")}
    with pytest.raises(ComputeRequestError, match=says):
        override(requests, overrides)


@pytest.mark.process
def test_loading_requests_loads_no_library_of_the_steps() -> None:
    program = "import sys, wine_assets.compute.request as _; print({'numpy', 'dagster', 'resource'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout == b"set()\n"
