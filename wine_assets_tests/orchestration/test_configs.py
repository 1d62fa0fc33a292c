from typing import Any

import dagster as dg
import pytest

from wine_assets.errors import ConfigurationError, HyperparameterError
from wine_assets.orchestration.configs import (
    BinarizedWineConfig,
    DataConfig,
    FileSourceConfig,
    HyperparametersConfig,
    SqlSourceConfig,
    TrainingConfig,
    launch_config,
    run_config,
    training_configs,
)

SOURCES = [
    pytest.param({}, id="bundled"),
    pytest.param({"source": FileSourceConfig(path="wine.csv", features=["a"])}, id="file"),
    pytest.param({"source": SqlSourceConfig(query="select 1", url_variable="WINE_URL")}, id="sql"),
]


@pytest.mark.parametrize("fields", SOURCES)
def test_a_typed_config_is_what_its_launch_form_says(definitions: dg.Definitions, fields: dict[str, Any]) -> None:
    config = TrainingConfig(**fields, hyperparameters=HyperparametersConfig(C=0.25), negative_classes=["a"])
    resolved = dg.validate_run_config(definitions.resolve_job_def("training_job"), launch_config(config))
    given = {name: op["config"] for name, op in resolved["ops"].items() if op["config"]}
    expected = run_config(training_configs(config))["ops"]
    assert given == {name: op["config"] for name, op in expected.items()}
    assert given["wine_model"]["hyperparameters"]["C"] == 0.25
    assert given["binarized_wine"]["negative_classes"] == ["a"]


def test_the_default_is_the_better_model_on_the_bundled_data() -> None:
    config = TrainingConfig()
    assert config.source.kind == "bundled"
    assert (config.hyperparameters.C, config.hyperparameters.scaler) == (1.0, "standard")
    assert config.negative_classes == ["0"]
    assert (config.predictions.rows, config.predictions.random_state) == (10, 41)


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
        HyperparametersConfig(C=-1)
    with pytest.raises(HyperparameterError, match=r"hyperparameters.c is not known. Did you mean `C`\?"):
        HyperparametersConfig(c=1)  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="negative_classes"):
        DataConfig(negative_classes=[])


def test_a_config_cannot_be_changed_after_it_was_checked() -> None:
    with pytest.raises(Exception, match="frozen"):
        TrainingConfig().negative_classes = []  # type: ignore[misc]
