from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from wine_assets import definitions
from wine_assets.cli.job_config import DataOptions, Request, hyperparameters, training_config
from wine_assets.errors import ConfigurationError, HyperparameterError
from wine_assets.models.families.gradient_boosting import GradientBoostingHyperparameters
from wine_assets.models.families.logistic_regression import LogisticRegressionHyperparameters
from wine_assets.models.reference import REFERENCE
from wine_assets.orchestration.configs import FAMILY_CONFIGS, TrainingConfig, launch_config


def data(**options: Any) -> DataOptions:
    nothing = dict.fromkeys(("source", "query", "database", "database_variable", "class_column"), "")
    return DataOptions(**{**nothing, "features": (), "negative_classes": (), **options})


def request(*, evaluation: dict[str, Any] | None = None, **options: Any) -> Request:
    return Request(data(**options), LogisticRegressionHyperparameters(C=2.0), evaluation or {}, {"rows": 5})


def source(**options: Any) -> dict[str, Any]:
    return training_config(request(**options)).source.model_dump()


def test_without_options_the_hyperparameters_are_the_models_defaults() -> None:
    assert hyperparameters({}, reference=False) == LogisticRegressionHyperparameters()


def test_the_reference_has_its_own_hyperparameters() -> None:
    assert hyperparameters({}, reference=True) == REFERENCE


def test_the_reference_beside_a_hyperparameter_is_refused_with_its_name() -> None:
    with pytest.raises(ConfigurationError, match=r"--reference sets every hyperparameter, and C, tol was given"):
        hyperparameters({"C": 1.0, "tol": 0.1}, reference=True)


def test_a_bad_hyperparameter_is_refused_here() -> None:
    with pytest.raises(HyperparameterError, match="C must be greater than 0"):
        hyperparameters({"C": -1.0}, reference=False)


def test_a_family_takes_its_own_hyperparameters() -> None:
    given = {"family": "gradient_boosting", "learning_rate": 0.05}
    assert hyperparameters(given, reference=False) == GradientBoostingHyperparameters(learning_rate=0.05)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"learning_rate": 0.1},
            r"`hyperparameters.learning_rate` is of the family gradient_boosting, and the family is",
        ),
        ({"family": "gradient_boosting", "C": 1.0}, r"`hyperparameters.C` is of the family logistic_regression"),
    ],
)
def test_a_hyperparameter_of_another_family_is_refused_with_its_name(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(HyperparameterError, match=sentence):
        hyperparameters(given, reference=False)


def test_what_was_asked_for_reaches_the_config() -> None:
    config = training_config(request(evaluation={"folds": 3}, negative_classes=("1", "2")))
    assert config.hyperparameters == FAMILY_CONFIGS["logistic_regression"](C=2.0)
    assert config.evaluation.folds == 3
    assert config.predictions.rows == 5
    assert config.negative_classes == ["1", "2"]
    assert config.source.kind == "bundled"


def test_what_was_not_asked_for_stays_as_it_is_by_default() -> None:
    config, default = training_config(request()), TrainingConfig()
    assert config.evaluation == default.evaluation
    assert config.negative_classes == default.negative_classes


def test_a_path_means_the_same_wherever_the_run_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert source(source="wine.csv")["path"] == str(tmp_path / "wine.csv")


def test_a_path_in_the_users_home_is_found_although_the_shell_left_the_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert source(source="~/wine.csv")["path"] == str(tmp_path / "wine.csv")


def test_a_file_whose_name_begins_with_a_tilde_is_taken_for_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert source(source="~no such user.csv")["path"] == str(tmp_path / "~no such user.csv")


@pytest.mark.parametrize("url", ["https://host/wine.csv", "s3://bucket/wine.parquet"])
def test_a_url_stays_as_it_is(url: str) -> None:
    assert source(source=url)["path"] == url


def test_a_file_takes_the_names_of_its_columns() -> None:
    given = source(source="/wine.csv", class_column="kind", features=("ash", "hue"))
    assert (given["class_column"], given["features"]) == ("kind", ["ash", "hue"])


@pytest.mark.parametrize(("option", "field"), [("database", "url"), ("database_variable", "url_variable")])
def test_a_query_is_asked_in_the_database_that_is_named(option: str, field: str) -> None:
    given = source(query="SELECT 1", class_column="kind", **{option: "sqlite"})
    assert (given["kind"], given["query"], given[field], given["class_column"]) == ("sql", "SELECT 1", "sqlite", "kind")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"source": "a", "query": "b"}, "--source and --query both say where the rows come from"),
        ({"database": "sqlite://"}, "need --query"),
        ({"database_variable": "DB", "source": "a"}, "need --query"),
        ({"query": "b"}, "exactly one of --database and --database-variable.* Got neither"),
        ({"query": "b", "database": "sqlite://", "database_variable": "DB"}, "exactly one of .* Got both"),
        ({"class_column": "kind"}, "--class-column and --feature are about a file or a query"),
        ({"features": ("ash",)}, "--class-column and --feature are about a file or a query"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        training_config(request(**options))


@pytest.mark.parametrize(
    "options", [{}, {"source": "/wine.csv", "features": ("ash",)}, {"query": "SELECT 1", "database": "sqlite://"}]
)
def test_the_job_takes_every_config_that_is_made_here(options: dict[str, Any]) -> None:
    job = definitions.defs.resolve_job_def("training_job")
    assert dg.validate_run_config(job, launch_config(training_config(request(**options))))
