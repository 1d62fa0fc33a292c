"""The typed run configs of assets and jobs; the launchpad makes its forms from them."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Union

import dagster as dg
from pydantic import Field, create_model

from wine_assets.config import StrictModel
from wine_assets.data.dataset import BinarizeParams
from wine_assets.data.sources import BundledSource, FileSource, SqlSource
from wine_assets.evaluation.cross_validation import EvaluationParams
from wine_assets.models.base import Family, Hyperparameters
from wine_assets.models.prediction import PredictionsParams
from wine_assets.models.reference import DEFAULT_FAMILY
from wine_assets.models.registry import families, family_named
from wine_assets.orchestration.config_class import config_class

if TYPE_CHECKING:
    BundledSourceConfig = BundledSource
    FileSourceConfig = FileSource
    SqlSourceConfig = SqlSource
    EvaluationConfig = EvaluationParams
    PredictionsConfig = PredictionsParams
else:
    BundledSourceConfig, FileSourceConfig, SqlSourceConfig = map(config_class, (BundledSource, FileSource, SqlSource))
    EvaluationConfig, PredictionsConfig = map(config_class, (EvaluationParams, PredictionsParams))

SourceConfig = BundledSourceConfig | FileSourceConfig | SqlSourceConfig

SOURCE: Any = Field(
    default=BundledSourceConfig(), discriminator="kind", description="where the rows come from; the default is bundled"
)
NEGATIVE_CLASSES: Any = Field(
    default=["0"],
    min_length=1,
    description='labels of the classes that become 0, every other becomes 1; the default is ["0"]',
)


class RawWineConfig(dg.Config, StrictModel):
    """The config of raw_wine."""

    source: SourceConfig = SOURCE


class BinarizedWineConfig(dg.Config, BinarizeParams):
    """The config of binarized_wine."""

    # The launchpad takes `0` and `"0"` alike for this type; BinarizeParams makes text of both.
    negative_classes: list[Any] = NEGATIVE_CLASSES


def _family_config(family: Family[Any]) -> Any:
    """Return the launch form of a family's hyperparameters."""
    name = family.name.title().replace("_", "") + "Config"
    base = config_class(family.hyperparameters)
    return create_model(name, __base__=base, __doc__=family.description, __module__=__name__)


FAMILY_CONFIGS: dict[str, Any] = {name: _family_config(family) for name, family in families().items()}
"""The launch form of each family's hyperparameters, by its name."""


class BestConfig(dg.Config, StrictModel):
    """What the last hyperparameter_search found."""

    config_path: ClassVar[str] = "hyperparameters"

    family: Literal["best"] = Field(default="best", description="whichever family was found to be the best")
    choice: Literal["best", "simplest"] = Field(
        default="best", description="`best` score, or the `simplest` candidate within one standard error of it"
    )


if TYPE_CHECKING:
    HyperparametersConfig = Hyperparameters
    ModelHyperparametersConfig = Hyperparameters | BestConfig
else:
    HyperparametersConfig = Union[tuple(FAMILY_CONFIGS.values())]  # noqa: UP007 - made of a list
    ModelHyperparametersConfig = Union[*FAMILY_CONFIGS.values(), BestConfig]

_HYPERPARAMETERS: Any = Field(
    default=FAMILY_CONFIGS[DEFAULT_FAMILY](),
    discriminator="family",
    description=f"what the estimator is fitted with, by its family, or `best`; the default is {DEFAULT_FAMILY}",
)


class WineModelConfig(dg.Config, StrictModel):
    """The config of wine_model."""

    hyperparameters: ModelHyperparametersConfig = _HYPERPARAMETERS

    def identity(self) -> dict[str, Any]:
        """Return what the data version is made of: named hyperparameters, and the version of their family."""
        family = family_named(self.hyperparameters.family)
        return self.model_dump(mode="json") | {"family_version": family.version}


class DataConfig(dg.Config, StrictModel):
    """The config of data_job."""

    source: SourceConfig = SOURCE
    negative_classes: list[Any] = NEGATIVE_CLASSES


class TrainingConfig(dg.Config, StrictModel):
    """The config of training_job: the whole way from rows to predictions."""

    source: SourceConfig = SOURCE
    negative_classes: list[Any] = NEGATIVE_CLASSES
    hyperparameters: ModelHyperparametersConfig = _HYPERPARAMETERS
    evaluation: EvaluationConfig = Field(default=EvaluationConfig(), description="how held-out figures are made")
    predictions: PredictionsConfig = Field(default=PredictionsConfig(), description="which rows are predicted")


def hyperparameters_config(hyperparameters: Hyperparameters) -> HyperparametersConfig:
    """Return hyperparameters as the config of their family."""
    config: HyperparametersConfig = FAMILY_CONFIGS[hyperparameters.family](**hyperparameters.model_dump())
    return config


def data_configs(config: Any) -> dict[str, Any]:
    """Return the config of each data asset."""
    return {
        "raw_wine": RawWineConfig(source=config.source),
        "binarized_wine": BinarizedWineConfig(negative_classes=config.negative_classes),
    }


def training_configs(config: TrainingConfig) -> dict[str, Any]:
    """Return the config of each asset that training_job materializes and that has one."""
    return data_configs(config) | {
        "wine_model": WineModelConfig(hyperparameters=config.hyperparameters),
        "model_evaluation": config.evaluation,
        "wine_predictions": config.predictions,
    }


def run_config(configs: dict[str, Any]) -> dict[str, Any]:
    """Return what Dagster wants to be told for assets with these configs."""
    config: dict[str, Any] = dg.RunConfig(ops=configs).to_config_dict()  # type: ignore[no-untyped-call]
    return config


def launch_config(config: DataConfig | TrainingConfig) -> dict[str, Any]:
    """Return a job's typed config in the form that the job is launched with, as the launchpad shows it."""
    fields: dict[str, Any] = config.model_dump(mode="json")
    for name, discriminator in (("source", "kind"), ("hyperparameters", "family")):
        if name in fields:
            fields[name] = {fields[name].pop(discriminator): fields[name]}
    return fields
