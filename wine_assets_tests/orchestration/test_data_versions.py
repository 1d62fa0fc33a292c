from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from sklearn.datasets import load_wine

from wine_assets.errors import ArtifactError
from wine_assets.models import verified_export
from wine_assets.orchestration import data_versions, jobs, resources, runs
from wine_assets.orchestration.assets.model import wine_model, wine_model_onnx
from wine_assets.orchestration.configs import (
    FAMILY_CONFIGS,
    EvaluationConfig,
    FileSourceConfig,
    PredictionsConfig,
    TrainingConfig,
)
from wine_assets.settings import HOME_VARIABLE, Home
from wine_assets_tests.support.pipeline import ASSETS, MODEL_ASSETS, QUICK, Pipeline

QUICK_EVALUATION = EvaluationConfig(**QUICK["evaluation"])


def _config(**fields: Any) -> TrainingConfig:
    return TrainingConfig(**{"evaluation": QUICK_EVALUATION} | fields)


@pytest.fixture
def trained(pipeline: Pipeline) -> Pipeline:
    assert pipeline.train().success
    return pipeline


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "wine.csv"
    load_wine(as_frame=True).frame.to_csv(path, index=False)
    return path


def _made_by_following_dagster(pipeline: Pipeline) -> list[set[str]]:
    """Materialize what Dagster calls stale until nothing is; return what that was each time.

    Dagster shows one level at a time: what read the version before the newest.
    """
    made = []
    while stale := pipeline.stale():
        made.append(stale)
        assert pipeline.materialize(*stale).success
    return made


def _tags(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, str]:
    """Return the tags of the materialization that a run made of an asset."""
    (materialization,) = result.asset_materializations_for_node(asset)
    return {**(materialization.tags or {})}


def test_nothing_is_stale_after_a_run_by_dagsters_count_and_by_ours(untouched: Pipeline) -> None:
    assert untouched.stale() == set()
    assert runs.stale_assets(untouched.instance, _config()) == []


def test_everything_is_stale_before_the_first_run(pipeline: Pipeline) -> None:
    assert pipeline.stale() == {*ASSETS}
    assert runs.stale_assets(pipeline.instance, _config()) == [*ASSETS]


def test_the_same_run_again_makes_the_same_versions(trained: Pipeline) -> None:
    before = {asset: trained.version(asset) for asset in ASSETS}
    trained.train()
    assert {asset: trained.version(asset) for asset in ASSETS} == before
    assert trained.stale() == set()


def test_a_changed_hyperparameter_makes_all_that_is_below_stale_for_dagster(trained: Pipeline) -> None:
    trained.materialize("wine_model", wine_model={"hyperparameters": {"logistic_regression": {"C": 0.5}}})
    assert _made_by_following_dagster(trained) == [
        {"model_evaluation", "wine_model_onnx", "released_model"},
        {"wine_predictions"},
    ]


def test_a_hyperparameter_that_is_changed_back_makes_what_is_below_fresh_again(trained: Pipeline) -> None:
    trained.materialize("wine_model", wine_model={"hyperparameters": {"logistic_regression": {"C": 0.5}}})
    trained.materialize("wine_model", wine_model={"hyperparameters": {"logistic_regression": {"C": 1.0}}})
    assert trained.stale() == set()


def test_each_config_makes_stale_what_it_changes_and_what_is_below(untouched: Pipeline) -> None:
    def stale(**fields: Any) -> list[str]:
        return runs.stale_assets(untouched.instance, _config(**fields))

    assert stale(hyperparameters=FAMILY_CONFIGS["logistic_regression"](C=0.5)) == [*MODEL_ASSETS]
    assert stale(negative_classes=["1"]) == [*ASSETS[1:]]
    assert stale(negative_classes=[0]) == []
    assert stale(evaluation=EvaluationConfig(folds=3, permutations=1)) == ["model_evaluation", "released_model"]
    assert stale(predictions=PredictionsConfig(rows=5)) == ["wine_predictions"]


def test_the_same_content_from_another_path_is_not_stale(pipeline: Pipeline, csv: Path) -> None:
    pipeline.train(source={"file": {"path": str(csv)}})
    copy = csv.with_name("copy.csv")
    copy.write_bytes(csv.read_bytes())
    assert runs.stale_assets(pipeline.instance, _config(source=FileSourceConfig(path=str(copy)))) == []
    before = pipeline.version("raw_wine")
    pipeline.read(copy)
    assert pipeline.version("raw_wine") == before
    assert pipeline.stale() == set()


def test_other_content_at_the_same_path_makes_everything_stale(pipeline: Pipeline, csv: Path) -> None:
    pipeline.train(source={"file": {"path": str(csv)}})
    pd.read_csv(csv).drop(index=3).to_csv(csv, index=False)
    config = _config(source=FileSourceConfig(path=str(csv)))
    assert runs.stale_assets(pipeline.instance, config) == [*ASSETS]
    pipeline.materialize("raw_wine", raw_wine={"source": {"file": {"path": str(csv)}}})
    assert _made_by_following_dagster(pipeline) == [{"binarized_wine"}, {*MODEL_ASSETS}]


def test_a_source_that_is_gone_makes_everything_stale_so_that_the_run_says_why(untouched: Pipeline) -> None:
    config = _config(source=FileSourceConfig(path="/nowhere/wine.csv"))
    assert runs.stale_assets(untouched.instance, config) == [*ASSETS]


def test_other_code(untouched: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other code makes its asset stale, by Dagster's count and by ours."""
    changed = [
        asset.map_asset_specs(lambda spec: spec.replace_attributes(code_version="later"))
        if asset is wine_model
        else asset
        for asset in jobs.ASSETS
    ]
    untouched.definitions = dg.Definitions(changed, jobs=[jobs.training_job], resources=resources.storage())
    assert "wine_model" in untouched.stale()
    assert not {*ASSETS[:2]} & untouched.stale()
    monkeypatch.setattr(runs, "ASSETS", changed)
    assert runs.stale_assets(untouched.instance, _config()) == [*MODEL_ASSETS]


def test_a_file_that_was_deleted_or_damaged_makes_its_asset_stale(untouched: Pipeline) -> None:
    file = untouched.file("wine_model")
    whole = file.read_bytes()
    for content in (whole[:-1], b"", None):
        file.unlink()
        if content is not None:
            file.write_bytes(content)
        assert runs.stale_assets(untouched.instance, _config()) == ["wine_model"]
        file.write_bytes(whole)
    assert runs.stale_assets(untouched.instance, _config()) == []


def test_a_report_that_was_deleted_makes_the_evaluation_stale(trained: Pipeline) -> None:
    Path(str(trained.metadata("model_evaluation")["report"].value)).unlink()
    assert runs.stale_assets(trained.instance, _config()) == ["model_evaluation"]


def test_a_home_that_was_moved_is_as_fresh_as_before(
    trained: Pipeline, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = home.path.rename(home.path.with_name("moved"))
    assert runs.stale_assets(trained.instance, _config()) == [*ASSETS]
    monkeypatch.setenv(HOME_VARIABLE, str(moved))
    assert runs.stale_assets(trained.instance, _config()) == []


def test_a_run_reads_one_version_of_an_input_while_another_run_makes_a_new_one(pipeline: Pipeline) -> None:
    """The other run materializes for real between two steps of the first, which goes on with what it read before."""
    pipeline.train()
    old, seen = pipeline.version("wine_model"), list[str]()
    key = dg.AssetKey("wine_model")

    @dg.asset(deps=["wine_model"])
    def between(context: dg.AssetExecutionContext) -> None:
        seen.append(data_versions.consumed(context.instance, context.run.run_id, key))
        pipeline.materialize("wine_model", wine_model={"hyperparameters": {"logistic_regression": {"C": 0.5}}})
        seen.append(data_versions.consumed(context.instance, context.run.run_id, key))

    assert dg.materialize([between], instance=pipeline.instance).success
    assert seen == [old, old]
    assert pipeline.version("wine_model") != old


def test_interleaved_runs(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a run exports its model, another one trains a model to its end; each predicts with its own."""
    export, second = verified_export.export, list[dg.ExecuteInProcessResult]()
    config = QUICK | {"hyperparameters": {"logistic_regression": {"C": 0.5}}}

    def interleave(*inputs: Any) -> Any:
        monkeypatch.setattr(verified_export, "export", export)
        second.append(pipeline.launch("training_job", config))
        return export(*inputs)

    monkeypatch.setattr(verified_export, "export", interleave)
    first = pipeline.launch("training_job", QUICK)
    assert first.success
    assert second[0].success
    for result, C in ((first, 1.0), (second[0], 0.5)):
        assert result.output_for_node("wine_model").hyperparameters.C == C
        made = {asset: _tags(result, asset)["dagster/data_version"] for asset in ASSETS}
        assert _tags(result, "wine_model_onnx")["dagster/input_data_version/wine_model"] == made["wine_model"]
        inputs = {name: made[name] for name in ("binarized_wine", "wine_model")}
        assert made["wine_model_onnx"] == data_versions.asset_version(wine_model_onnx, {}, inputs)


def test_version_of_an_asset() -> None:
    """The same work has the same version, and other work another."""

    def version(C: float, rows: str) -> str:
        return data_versions.asset_version(wine_model, {"C": C}, {"binarized_wine": rows})

    assert version(1.0, "a") == version(1.0, "a")
    assert version(1.0, "a") != version(2.0, "a")
    assert version(1.0, "a") != version(1.0, "b")


def test_an_asset_that_was_never_made_cannot_be_read(pipeline: Pipeline) -> None:
    with pytest.raises(ArtifactError, match=r"wine_model has never been materialized\. Materialize it first"):
        data_versions.consumed(pipeline.instance, "a run", dg.AssetKey("wine_model"))


def test_a_run_sees_what_it_has_just_made_itself(trained: Pipeline) -> None:
    result = trained.train(hyperparameters={"logistic_regression": {"C": 0.5}})
    model, onnx = _tags(result, "wine_model"), _tags(result, "wine_model_onnx")
    assert onnx["dagster/input_data_version/wine_model"] == model["dagster/data_version"]


def test_what_was_consumed_is_remembered_for_a_bounded_number_of_runs(
    untouched: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_versions, "_consumed", {})
    monkeypatch.setattr(data_versions, "_CONSUMED_LIMIT", 5)
    for number in range(8):
        data_versions.consumed(untouched.instance, f"run {number}", dg.AssetKey("wine_model"))
    assert [run_id for run_id, _ in data_versions._consumed] == [f"run {number}" for number in range(3, 8)]


def test_a_materialization_without_a_version_has_none(pipeline: Pipeline) -> None:
    pipeline.instance.report_runless_asset_event(dg.AssetMaterialization("foreign"))
    record = data_versions.latest(pipeline.instance, dg.AssetKey("foreign"))
    assert record is not None
    assert data_versions.recorded(record) == ""
