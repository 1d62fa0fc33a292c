"""The search as Dagster runs it."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from wine_assets import settings
from wine_assets.errors import ArtifactError
from wine_assets.models.families.logistic_regression import LogisticRegressionFamily
from wine_assets.orchestration import progress, retention, runs
from wine_assets.orchestration.configs import BestConfig, TrainingConfig
from wine_assets_tests.support.pipeline import MODEL_ASSETS, Pipeline, failures

SEARCH = "hyperparameter_search"
FEW = {"objective": {"folds": 2}}
"""A score that takes a part of the time, for tests of other things."""


def choice(*values: Any) -> dict[str, Any]:
    return {"kind": "categorical", "values": [*values]}


def over(**fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"logistic_regression": {"parameters": fields}}


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The C of every fit that is made in this process."""
    made: list[float] = []
    fit = LogisticRegressionFamily.fit

    def count_fits(self: LogisticRegressionFamily, X: Any, y: Any, hyperparameters: Any) -> Any:
        made.append(hyperparameters.C)
        return fit(self, X, y, hyperparameters)

    monkeypatch.setattr(LogisticRegressionFamily, "fit", count_fits)
    return made


def search(pipeline: Pipeline, **config: Any) -> dg.ExecuteInProcessResult:
    return pipeline.launch("search_job", FEW | config)


def table(pipeline: Pipeline) -> pd.DataFrame:
    return pd.read_parquet(pipeline.file(SEARCH))


def test_a_search_is_a_table_a_report_and_the_best_of_it(pipeline: Pipeline) -> None:
    result = search(pipeline, budget={"trials": 4})
    assert result.success
    shown, trials = pipeline.metadata(SEARCH), table(pipeline)
    assert list(trials["number"]) == [0, 1, 2, 3]
    best: Any = trials.sort_values("mean").iloc[0]
    found: Any = shown["best"].value
    assert found["number"] == best["number"]
    assert found["hyperparameters"]["C"] == best["C"]
    assert shown["best_score"].value == pytest.approx(best["mean"])
    assert (shown["trials"].value, shown["finished"].value, shown["failed"].value) == (4, 4, 0)
    assert Path(shown["report"].value).read_text().startswith("<!doctype html>")
    assert str(shown["picture"].value).startswith("![The search](data:image/png")


def test_a_search_from_the_launchpad_of_its_asset_is_the_same(pipeline: Pipeline) -> None:
    assert search(pipeline, budget={"trials": 3}).success
    before, version = table(pipeline), pipeline.version(SEARCH)
    assert pipeline.materialize(SEARCH, **{SEARCH: {**FEW, "budget": {"trials": 3}}}).success
    pd.testing.assert_frame_equal(table(pipeline), before)
    assert pipeline.version(SEARCH) == version


def test_the_same_search_is_not_fitted_again_and_a_longer_one_goes_on(pipeline: Pipeline, fits: list[float]) -> None:
    assert search(pipeline, budget={"trials": 2}).success
    assert len(fits) == 4
    assert search(pipeline, budget={"trials": 2}).success
    assert len(fits) == 4
    assert search(pipeline, budget={"trials": 3}).success
    assert len(fits) == 6


def test_steps_run_the_trials_that_one_step_would_run(pipeline: Pipeline, tmp_path: Path) -> None:
    assert search(pipeline, budget={"trials": 5}).success
    alone = table(pipeline)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(settings.HOME_VARIABLE, str(tmp_path / "steps"))
        result = search(pipeline, budget={"trials": 5}, backend={"steps": {"chunk_trials": 2}})
    done = [str(event.step_key) for event in result.all_events if event.is_step_success]
    chunks = [step for step in done if "run_chunk" in step]
    assert sorted(chunks) == [
        f"{SEARCH}.run_chunk[trials_{first}_to_{last}]" for first, last in ((0, 1), (2, 3), (4, 4))
    ]
    told = ["seconds", "memory_mib"]
    pd.testing.assert_frame_equal(table(pipeline).drop(columns=told), alone.drop(columns=told))


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_a_cluster_runs_the_trials_that_one_step_would_run(pipeline: Pipeline, tmp_path: Path, backend: str) -> None:
    """What Dagster gives a step is not made for clusters: neither its log nor its context can be pickled."""
    assert search(pipeline, budget={"trials": 3}).success
    alone = table(pipeline)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(settings.HOME_VARIABLE, str(tmp_path / backend))
        result = search(pipeline, budget={"trials": 3}, backend={backend: {"workers": 1}})
    assert failures(result) == []
    told = ["seconds", "memory_mib"]
    pd.testing.assert_frame_equal(table(pipeline).drop(columns=told), alone.drop(columns=told))


def test_ten_thousand_candidates_are_as_many_steps_as_were_asked_for(pipeline: Pipeline) -> None:
    assert pipeline.read().success
    job = pipeline.definitions.resolve_job_def("search_job")
    grid = {"strategy": {"grid": {}}, "space": over(C=choice(*range(1, 101)), max_iter=choice(*range(1, 101)))}
    config = {**grid, "backend": {"steps": {"chunk_trials": 2000}}}
    result = job.execute_in_process(
        run_config=config,
        instance=pipeline.instance,
        op_selection=[f"{SEARCH}.plan"],
        raise_on_error=False,
    )
    assert len([event for event in result.all_events if event.is_successful_output]) == 5


def test_steps_need_to_know_how_many_trials_there_are(pipeline: Pipeline) -> None:
    result = search(pipeline, budget={"seconds": 5.0}, backend={"steps": {}})
    [said] = failures(result)
    assert said == "The backend `steps` has to know how many trials there are. Give `budget.trials`."


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"space": over(c=choice(1.0))}, "logistic_regression has no hyperparameter 'c'"),
    ({"space": {"forest": {"parameters": {"C": choice(1.0)}}}}, "There is no family 'forest'"),
    ({"space": over(C={"kind": "float", "log": True, "low": 0.0, "high": 1.0})}, "must be above 0, got 0"),
    ({"space": over(C={"kind": "float", "low": 2.0, "high": 1.0})}, "`low` must be below `high`, got 2 and 1"),
    ({"space": over(l1_ratio=choice(0.0, 1.0))}, "solver 'lbfgs' can't fit a lasso"),
    ({"strategy": {"grid": {}}, "space": over(C={"kind": "float", "low": 1.0, "high": 2.0})}, "A grid needs a list"),
    ({"nested_folds": 1}, "`search.nested_folds` must be 0 (none) or at least 2, got 1"),
    ({"budget": {"trials": 0}}, "greater than or equal to 1, got 0"),
]


@pytest.mark.parametrize(("config", "sentence"), REFUSED, ids=[sentence for _, sentence in REFUSED])
def test_what_cannot_be_searched_is_refused_before_anything_runs(
    pipeline: Pipeline, fits: list[float], config: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(dg.DagsterError) as refused:
        search(pipeline, **config)
    assert sentence in str(refused.value.__cause__)
    assert fits == []
    assert pipeline.made() == {}


def test_too_few_rows_for_the_folds_are_refused_before_the_first_fit(pipeline: Pipeline, fits: list[float]) -> None:
    [said] = failures(search(pipeline, objective={"folds": 60}, budget={"trials": 2}))
    assert said.startswith("`objective.folds` is 60, but the smaller class has 59 rows")
    assert fits == []


def test_a_search_whose_trials_fail_fails_and_leaves_the_last_one(pipeline: Pipeline) -> None:
    assert search(pipeline, budget={"trials": 2}).success
    before = pipeline.version(SEARCH)
    tight = {"failures": {"timeout_s": 0.001, "retries": 0}}
    slow = over(C={"kind": "float", "low": 1.0, "high": 2.0}, scaler=choice("none"))
    [said] = failures(search(pipeline, space=slow, budget={"trials": 2}, **tight))
    assert "2 of 2 trials failed" in said
    assert "It took longer than 0.001 s (`failures.timeout_s`)." in said
    assert pipeline.version(SEARCH) == before


def observed(pipeline: Pipeline) -> list[dict[str, Any]]:
    """Return the metadata of each observation of the search, the oldest first."""
    records = pipeline.instance.fetch_observations(dg.AssetKey(SEARCH), limit=100, ascending=True).records
    observations = [record.asset_observation for record in records]
    return [{name: value.value for name, value in seen.metadata.items()} for seen in observations if seen is not None]


@pytest.fixture
def _tells_of_every_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "pause", lambda _: 0.0)


@pytest.mark.usefixtures("_tells_of_every_trial")
def test_a_search_says_how_far_it_is_in_the_log_of_its_run(pipeline: Pipeline) -> None:
    result = search(pipeline, budget={"trials": 2})
    logs = [entry.user_message for entry in pipeline.instance.all_logs(result.run_id)]
    assert any(line.startswith("1 of 2 trials have ended, best log_loss 0.") for line in logs)
    again = search(pipeline, budget={"trials": 2})
    logs = [entry.user_message for entry in pipeline.instance.all_logs(again.run_id)]
    assert "2 trials were run before, and are not run again." in logs


@pytest.mark.usefixtures("_tells_of_every_trial")
def test_the_page_of_a_search_shows_how_far_it_is_while_it_runs(pipeline: Pipeline) -> None:
    assert search(pipeline, budget={"trials": 3}).success
    seen = observed(pipeline)
    assert [(each["trials"], each["trials_total"], each["finished"]) for each in seen] == [
        (1, 3, 1), (2, 3, 2), (3, 3, 3),
    ]  # fmt: skip
    assert [each["best_score"] for each in seen] == [*np.minimum.accumulate(table(pipeline)["mean"])]
    assert all(each["trials_per_second"] > 0 for each in seen)
    assert seen[0]["seconds_left"] > seen[-1]["seconds_left"] == 0
    assert search(pipeline, budget={"trials": 4}).success
    [last] = observed(pipeline)[3:]
    assert (last["trials"], last["trials_total"]) == (4, 4)


@pytest.mark.usefixtures("_tells_of_every_trial")
def test_each_step_of_a_search_says_how_far_itself_is(pipeline: Pipeline) -> None:
    assert search(pipeline, budget={"trials": 3}, backend={"steps": {"chunk_trials": 2}}).success
    seen = {(each["step"], each["trials"], each["trials_total"]) for each in observed(pipeline)}
    one, other = (f"{SEARCH}.run_chunk[trials_{name}]" for name in ("0_to_1", "2_to_2"))
    assert seen == {(one, 1, 2), (one, 2, 2), (other, 1, 1)}


@pytest.mark.usefixtures("_tells_of_every_trial")
def test_what_is_observed_of_a_search_that_fails_changes_no_version_and_leaves_nothing_stale(
    pipeline: Pipeline,
) -> None:
    assert search(pipeline, budget={"trials": 1}).success
    assert pipeline.train().success
    version, before = pipeline.version(SEARCH), len(observed(pipeline))
    assert pipeline.stale() == set()
    tight = {"failures": {"timeout_s": 0.001, "retries": 0}, "space": over(scaler=choice("none"))}
    assert not search(pipeline, budget={"trials": 1}, **tight).success
    assert len(observed(pipeline)) == before + 1
    assert pipeline.version(SEARCH) == version
    assert pipeline.stale() == set()


def test_a_search_of_a_day_is_observed_a_few_hundred_times() -> None:
    seconds, times = 0.0, 0
    while seconds < 24 * 3600:
        seconds, times = seconds + progress.pause(seconds), times + 1
    assert 200 < times < 400


def _chunk_files(home: settings.Home) -> list[Path]:
    return [path for path in (home.searches / "runs").rglob("*") if path.is_file()]


def test_lost_chunk(home: settings.Home, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step whose chunk is damaged fails at once with a sentence that names the file."""

    def damage(*_: Any) -> None:
        for path in _chunk_files(home):
            path.write_text("{")

    monkeypatch.setattr(retention, "prune_runs", damage)
    result = search(pipeline, budget={"trials": 1})
    [said] = failures(result)
    assert re.fullmatch(rf"{home.searches}/runs/\S+ can't be read: .*\. Start the search again\.", said)
    assert not [event for event in result.all_events if event.is_step_up_for_retry]


def test_old_chunks_are_removed(home: settings.Home, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chunks of the newest runs stay, and those of a run that is under way, however old."""
    monkeypatch.setattr(retention, "KEPT_RUNS", 2)
    monkeypatch.setattr(retention, "SPARED_S", 0.0)
    job = pipeline.definitions.resolve_job_def("search_job")
    under_way = pipeline.instance.create_run_for_job(job, run_config={}, status=dg.DagsterRunStatus.STARTED).run_id
    for name in (under_way, "gone"):
        (home.searches / "runs" / name).mkdir(parents=True)
        os.utime(home.searches / "runs" / name, (1, 1))
    runs = [search(pipeline, budget={"trials": 1}).run_id for _ in range(3)]
    assert {path.name for path in (home.searches / "runs").iterdir()} == {under_way, *runs[1:]}


def test_young_chunks_stay(home: settings.Home, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks stay for a while, because someone may want to run a failed search again from its failure."""
    monkeypatch.setattr(retention, "KEPT_RUNS", 1)
    runs = [search(pipeline, budget={"trials": 1}).run_id for _ in range(2)]
    assert {path.name for path in (home.searches / "runs").iterdir()} == {*runs}


def test_a_nested_search_scores_what_searches_find_on_rows_that_they_have_not_seen(pipeline: Pipeline) -> None:
    grid = {"strategy": {"grid": {}}, "space": over(C=choice(0.001, 1.0)), "nested_folds": 3}
    assert search(pipeline, **grid).success
    found: Any = pipeline.metadata(SEARCH)["nested"].value
    frame = pd.read_parquet(pipeline.file("binarized_wine"))
    X, y = frame.drop(columns="target"), frame["target"]
    losses = []
    for train, test in StratifiedKFold(3, shuffle=True, random_state=0).split(X, y):
        inner = StratifiedKFold(2, shuffle=True, random_state=0)
        tuned = GridSearchCV(
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)),
            {"logisticregression__C": [0.001, 1.0]},
            scoring="neg_log_loss",
            cv=inner,
        ).fit(X.iloc[train], y.iloc[train])
        losses.append(log_loss(y.iloc[test], tuned.predict_proba(X.iloc[test])))
    assert found["scores"] == pytest.approx(losses, rel=1e-6)
    assert found["mean"] == pytest.approx(np.mean(losses), rel=1e-6)
    assert found["standard_error"] == pytest.approx(np.std(losses, ddof=1) / 3**0.5, rel=1e-6)
    assert "Nested cross-validation over 3 outer folds" in Path(pipeline.metadata(SEARCH)["report"].value).read_text()


def test_optuna_reads_the_study_of_a_search(pipeline: Pipeline) -> None:
    for _ in range(2):
        assert search(pipeline, budget={"trials": 3}, study=True).success
    shown, trials = pipeline.metadata(SEARCH), table(pipeline)
    storage = JournalStorage(JournalFileBackend(shown["study"].value))
    [summary] = optuna.get_all_study_summaries(storage)
    study = optuna.load_study(study_name=summary.study_name, storage=storage)
    assert [trial.value for trial in study.trials] == list(trials["mean"])
    assert study.best_trial.params == {"logistic_regression.C": trials.loc[study.best_trial.number, "C"]}


# --- a model of what was found


def test_a_model_asks_for_what_the_last_search_found(pipeline: Pipeline) -> None:
    assert search(pipeline, strategy={"grid": {}}, space=over(C=choice(0.01, 3.0, 50.0))).success
    shown = pipeline.metadata(SEARCH)
    for wanted in ("best", "simplest"):
        assert pipeline.train(hyperparameters={"best": {"choice": wanted}}).success
        fitted: Any = pipeline.metadata("wine_model")["hyperparameters"].value
        found: Any = shown[wanted].value
        assert fitted == found["hyperparameters"]
        version = pipeline.version("wine_model")
        named = {name: value for name, value in fitted.items() if name != "family"}
        assert pipeline.train(hyperparameters={"logistic_regression": named}).success
        assert pipeline.version("wine_model") == version, "it is the same model, whichever way it was asked for"


def test_a_model_of_a_search_that_was_never_run_is_refused_in_a_sentence(pipeline: Pipeline) -> None:
    [said] = failures(pipeline.train(hyperparameters={"best": {}}))
    assert said.startswith("`hyperparameters` are `best`, and hyperparameter_search has never been materialized.")


def test_the_trials_of_a_run_hand_each_other_json(home: settings.Home, pipeline: Pipeline) -> None:
    assert search(pipeline, budget={"trials": 1}).success
    assert [*_chunk_files(home)]
    for path in _chunk_files(home):
        assert "params" in json.loads(path.read_bytes())


def test_best_of_the_same_data(pipeline: Pipeline) -> None:
    """A model takes what the last search of its own data found, and is refused where there is none."""
    grid = {"strategy": {"grid": {}}, "space": over(C=choice(0.01, 3.0))}
    other = {"strategy": {"grid": {}}, "space": over(C=choice(1e-5))}
    assert search(pipeline, **grid).success
    expected: Any = pipeline.metadata(SEARCH)["best"].value
    assert search(pipeline, negative_classes=["1"], **other).success
    assert pipeline.train(hyperparameters={"best": {}}).success
    assert pipeline.metadata("wine_model")["hyperparameters"].value == expected["hyperparameters"]
    [said] = failures(pipeline.train(negative_classes=["2"], hyperparameters={"best": {}}))
    assert "no hyperparameter_search on record has read this data. Search this data first (`wine-assets" in said


def test_plan_with_the_best_of_the_same_data(pipeline: Pipeline) -> None:
    """Planning resolves `best` by the data that the run will make, before it is made."""
    assert search(pipeline, strategy={"grid": {}}, space=over(C=choice(3.0))).success
    best = TrainingConfig(hyperparameters=BestConfig())
    assert runs.stale_assets(pipeline.instance, best) == [*MODEL_ASSETS]
    with pytest.raises(ArtifactError, match="Search this data first"):
        runs.stale_assets(pipeline.instance, TrainingConfig(negative_classes=["2"], hyperparameters=BestConfig()))
