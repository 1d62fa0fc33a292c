import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.errors import DagsterInvalidConfigError
from dagster._core.test_utils import in_process_test_workspace
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceRequestContext
from dagster_graphql.test.utils import execute_dagster_graphql

from wine_assets import settings
from wine_assets_tests.support.pipeline import ASSETS, Pipeline, chain, failures, started

# Dagster reads this deprecated property of its own whenever it loads a location that has a schedule.
pytestmark = pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition.environment_vars` is deprecated")

LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on PythonError { message errorChain { error { message className } } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on LaunchRunSuccess { run { runId } }
  }
}
"""
IN_THIS_PROCESS = {
    "run_launcher": {
        "module": "dagster._core.launcher.sync_in_memory_run_launcher",
        "class": "SyncInMemoryRunLauncher",
    },
    "telemetry": {"enabled": False},
}

C_SENTENCE = "C must be greater than 0, got -1.0 (inverse of the regularization strength"
REFUSED = [
    pytest.param(
        {"hyperparameters": {"logistic_regression": {"C": -1.0}}}, f"HyperparameterError: {C_SENTENCE}", id="C=-1"
    ),
    pytest.param(
        {"hyperparameters": {"logistic_regression": {"C": 0}}},
        "HyperparameterError: C must be greater than 0",
        id="C=0",
    ),
    pytest.param(
        {"hyperparameters": {"logistic_regression": {"c": 1.0}}},
        'unexpected config entry "c" at path root:hyperparameters',
        id="c=1",
    ),
    pytest.param({"hyperparameters": {"logistic_regression": {"C": "x"}}}, 'Value "x"', id="C=x"),
    pytest.param(
        {"hyperparameters": {"logistic_regression": {"l1_ratio": 0.5}}},
        "HyperparameterError: solver 'lbfgs' can't fit an elastic net (0 < l1_ratio < 1), got l1_ratio 0.5",
        id="l1_ratio=.5 with lbfgs",
    ),
    pytest.param(
        {"hyperparameters": {"logistic_regression": {"l1_ratio": 1.0}}},
        "HyperparameterError: solver 'lbfgs' can't fit a lasso",
        id="l1_ratio=1 with lbfgs",
    ),
    pytest.param({"hyperparameters": {"logistic_regression": {"solver": "newton"}}}, "newton", id="unknown solver"),
    pytest.param(
        {"hyperparameters": {"logistic_regression": {"max_iter": 0}}},
        "HyperparameterError: max_iter must be",
        id="max_iter=0",
    ),
    pytest.param(
        {"hyperparameters": {"gradient_boosting": {"learning_rate": 5.0}}},
        "HyperparameterError: learning_rate must be less than or equal to 1, got 5.0",
        id="learning_rate=5",
    ),
    pytest.param(
        {"hyperparameters": {"gradient_boosting": {"C": 1.0}}},
        'unexpected config entry "C" at path root:hyperparameters:gradient_boosting',
        id="a field of another family",
    ),
    pytest.param({"hyperparameters": {"forest": {}}}, "forest", id="unknown family"),
    pytest.param({"hyperparameters": {"C": 1.0}}, "logistic_regression", id="no family"),
    pytest.param({"negative_classes": []}, "ConfigurationError: negative_classes", id="no negative class"),
    pytest.param({"source": {"excel": {}}}, "excel", id="unknown source"),
    pytest.param({"source": {"file": {}}}, 'Missing required config entry "path"', id="file without path"),
    pytest.param(
        {"source": {"file": {"path": "https://me:s3cret@host/wine.csv"}}},
        "ConfigurationError: `path` must not hold credentials",
        id="credentials in a path",
    ),
    pytest.param(
        {"source": {"sql": {"query": "select 1", "url": "postgresql://me:s3cret@host/db"}}},
        "ConfigurationError: `url` must not hold a password",
        id="credentials in a URL",
    ),
    pytest.param(
        {"source": {"sql": {"query": "select 1"}}},
        "ConfigurationError: Exactly one of `source.url` and `source.url_variable` must be given, got neither",
        id="no database",
    ),
    pytest.param({"evaluation": {"folds": 1}}, "folds must be greater than or equal to 2, got 1", id="folds=1"),
    pytest.param({"predictions": {"rows": 0}}, "rows must be greater than or equal to 1, got 0", id="rows=0"),
    pytest.param({"colour": "red"}, 'unexpected config entry "colour" at the root', id="unknown field"),
]


@pytest.fixture
def workspace(home: settings.Home, tmp_path: Path) -> Iterator[WorkspaceRequestContext]:
    """What the UI's server holds: an instance, and the code location."""
    origin = LoadableTargetOrigin(module_name="wine_assets.definitions", executable_path=sys.executable)
    with (
        dg.DagsterInstance.local_temp(str(tmp_path), overrides=IN_THIS_PROCESS) as instance,
        in_process_test_workspace(instance, origin) as context,
    ):
        yield context


def _launched(workspace: WorkspaceRequestContext, job: str, config: dict[str, Any]) -> dict[str, Any]:
    """Launch a job as the UI does, by its GraphQL mutation; return what the UI is told."""
    selector = {
        "repositoryLocationName": workspace.code_locations[0].name,
        "repositoryName": "__repository__",
        "jobName": job,
    }
    params = {"selector": selector, "runConfigData": config, "mode": "default"}
    answer: dict[str, Any] = execute_dagster_graphql(workspace, LAUNCH, {"params": params}).data["launchRun"]
    return answer


@pytest.mark.parametrize(("config", "sentence"), REFUSED)
def test_python_refuses_a_bad_config_before_any_run_is_made(
    pipeline: Pipeline, config: dict[str, Any], sentence: str
) -> None:
    with pytest.raises((dg.DagsterConfigMappingFunctionError, DagsterInvalidConfigError)) as refusal:
        pipeline.launch("training_job", config)
    assert sentence in chain(refusal.value)
    assert pipeline.instance.get_runs() == []
    assert pipeline.made() == {}


@pytest.mark.parametrize(("config", "sentence"), REFUSED)
def test_a_run_cannot_even_be_recorded_with_a_bad_config(
    pipeline: Pipeline, config: dict[str, Any], sentence: str
) -> None:
    job = pipeline.definitions.resolve_job_def("training_job")
    with pytest.raises((dg.DagsterConfigMappingFunctionError, DagsterInvalidConfigError)) as refusal:
        pipeline.instance.create_run_for_job(job, run_config=config)
    assert sentence in chain(refusal.value)
    assert pipeline.instance.get_runs() == []


def test_the_ui_refuses_every_bad_config_at_launch_and_shows_the_sentence(workspace: WorkspaceRequestContext) -> None:
    for refused in REFUSED:
        config, sentence = refused.values
        assert isinstance(config, dict)
        assert isinstance(sentence, str)
        answer = _launched(workspace, "training_job", config)
        assert answer["__typename"] in {"PythonError", "RunConfigValidationInvalid"}, config
        assert sentence in _text(answer)
    assert workspace.instance.get_runs() == []


def _text(answer: dict[str, Any]) -> str:
    """Return all that the UI is told of an error, without the module names of error types."""
    errors = [link["error"] for link in answer.get("errorChain", [])] + answer.get("errors", [])
    return "\n".join(error["message"] for error in errors).replace("wine_assets.errors.", "")


def test_a_refused_credential_is_not_printed(pipeline: Pipeline) -> None:
    for source in (
        {"file": {"path": "https://me:s3cret@host/wine.csv"}},
        {"sql": {"query": "select 1", "url": "postgresql://me:s3cret@host/db"}},
    ):
        with pytest.raises(dg.DagsterConfigMappingFunctionError) as refusal:
            pipeline.launch("data_job", {"source": source})
        assert "s3cret" not in chain(refusal.value)


def test_the_ui_launches_a_good_config(workspace: WorkspaceRequestContext) -> None:
    answer = _launched(workspace, "data_job", {"negative_classes": [0, 1]})
    assert answer["__typename"] == "LaunchRunSuccess"
    run = workspace.instance.launch_run(answer["run"]["runId"], workspace)
    assert workspace.instance.get_run_record_by_id(run.run_id).dagster_run.is_success  # type: ignore[union-attr]


def test_an_asset_materialized_ad_hoc_fails_with_the_sentence_of_the_launch(pipeline: Pipeline) -> None:
    pipeline.read()
    result = pipeline.materialize("wine_model", wine_model={"hyperparameters": {"logistic_regression": {"C": -1.0}}})
    assert not result.success
    assert f"HyperparameterError: {C_SENTENCE}" in failures(result)[0]
    assert "wine_model" not in pipeline.made()


def test_each_job_makes_its_assets_in_order(pipeline: Pipeline) -> None:
    assert started(pipeline.read()) == [*ASSETS[:2]]
    names = started(pipeline.train())
    assert sorted(names) == sorted(ASSETS)
    assert names[:3] == [*ASSETS[:3]]


def test_no_config_at_all_trains_the_better_model(pipeline: Pipeline) -> None:
    pipeline.launch("training_job", {})
    metrics = pipeline.metadata("model_evaluation")["metrics"].value
    assert metrics["accuracy"] == pytest.approx(0.9882, rel=2e-2)
    assert metrics["log_loss"] < pipeline.metadata("model_evaluation")["reference_metrics"].value["log_loss"]
