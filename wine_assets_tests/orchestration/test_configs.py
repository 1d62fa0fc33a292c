from typing import Any

import dagster as dg
import pytest

from wine_assets.errors import ConfigurationError, HyperparameterError
from wine_assets.models.base import Hyperparameters
from wine_assets.models.families.gradient_boosting import GradientBoostingHyperparameters as GradientBoosting
from wine_assets.models.families.logistic_regression import LogisticRegressionHyperparameters
from wine_assets.orchestration.configs import (
    FAMILY_CONFIGS,
    BinarizedWineConfig,
    DataConfig,
    FileSourceConfig,
    HyperparametersConfig,
    SqlSourceConfig,
    TrainingConfig,
    hyperparameters_config,
    launch_config,
    run_config,
    training_configs,
)

SOURCES = [
    pytest.param({}, id="bundled"),
    pytest.param({"source": FileSourceConfig(path="wine.csv", features=["a"])}, id="file"),
    pytest.param({"source": SqlSourceConfig(query="select 1", url_variable="WINE_URL")}, id="sql"),
]
HYPERPARAMETERS = [
    pytest.param({"hyperparameters": FAMILY_CONFIGS["logistic_regression"](C=0.25)}, id="logistic regression"),
    pytest.param(
        {"hyperparameters": FAMILY_CONFIGS["gradient_boosting"](learning_rate=0.5, max_depth=2)}, id="gradient boosting"
    ),
]


@pytest.mark.parametrize("fields", [*SOURCES, *HYPERPARAMETERS])
def test_a_typed_config_is_what_its_launch_form_says(definitions: dg.Definitions, fields: dict[str, Any]) -> None:
    config = TrainingConfig(**fields, negative_classes=["a"])
    resolved = dg.validate_run_config(definitions.resolve_job_def("training_job"), launch_config(config))
    given = {name: op["config"] for name, op in resolved["ops"].items() if op["config"]}
    expected = run_config(training_configs(config))["ops"]
    assert given == {name: op["config"] for name, op in expected.items()}
    assert given["binarized_wine"]["negative_classes"] == ["a"]


def test_the_default_is_the_better_model_on_the_bundled_data() -> None:
    config = TrainingConfig()
    assert config.source.kind == "bundled"
    assert config.hyperparameters == FAMILY_CONFIGS["logistic_regression"](C=1.0, scaler="standard")
    assert config.negative_classes == ["0"]
    assert (config.predictions.rows, config.predictions.random_state) == (10, 41)


@pytest.mark.parametrize(
    ("form", "config"),
    [
        ({}, FAMILY_CONFIGS["logistic_regression"]()),
        ({"hyperparameters": {"logistic_regression": {"C": 0.25}}}, FAMILY_CONFIGS["logistic_regression"](C=0.25)),
        ({"hyperparameters": {"gradient_boosting": {}}}, FAMILY_CONFIGS["gradient_boosting"]()),
        (
            {"hyperparameters": {"gradient_boosting": {"max_depth": 2}}},
            FAMILY_CONFIGS["gradient_boosting"](max_depth=2),
        ),
    ],
)
def test_a_form_names_the_family_and_what_differs_from_its_defaults(
    definitions: dg.Definitions, form: dict[str, Any], config: HyperparametersConfig
) -> None:
    resolved = dg.validate_run_config(definitions.resolve_job_def("training_job"), form)
    assert resolved["ops"]["wine_model"]["config"]["hyperparameters"] == {
        config.family: config.model_dump(exclude={"family"})
    }


@pytest.mark.parametrize("hyperparameters", [LogisticRegressionHyperparameters(C=3), GradientBoosting(max_iter=7)])
def test_plain_hyperparameters_become_the_config_of_their_family(hyperparameters: Hyperparameters) -> None:
    config = hyperparameters_config(hyperparameters)
    assert isinstance(config, HyperparametersConfig)
    assert config.model_dump() == hyperparameters.model_dump()


def test_every_field_that_the_launchpad_shows_is_described() -> None:
    schema = TrainingConfig.model_json_schema()
    models = [schema, *schema["$defs"].values()]
    fields = {name: field for model in models for name, field in model["properties"].items()}
    assert len(fields) > 20
    assert [name for name, field in fields.items() if not field.get("description")] == []


def test_labels_are_text_however_they_are_given() -> None:
    assert BinarizedWineConfig(negative_classes=[0, "b", 1.5]).negative_classes == ["0", "b", "1.5"]


def test_python_refuses_what_the_launch_refuses() -> None:
    with pytest.raises(HyperparameterError, match="C must be greater than 0, got -1"):
        FAMILY_CONFIGS["logistic_regression"](C=-1)
    with pytest.raises(HyperparameterError, match=r"hyperparameters.c is not known. Did you mean `C`\?"):
        FAMILY_CONFIGS["logistic_regression"](c=1)
    with pytest.raises(ConfigurationError, match="negative_classes"):
        DataConfig(negative_classes=[])


def test_a_config_cannot_be_changed_after_it_was_checked() -> None:
    with pytest.raises(Exception, match="frozen"):
        TrainingConfig().negative_classes = []  # type: ignore[misc]
