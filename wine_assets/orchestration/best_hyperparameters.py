"""What the last hyperparameter_search found, for a model that is to be fitted with that."""

from typing import Any

import dagster as dg

from wine_assets.errors import ArtifactError
from wine_assets.models.hyperparameters import Hyperparameters, validated
from wine_assets.orchestration import data_versions
from wine_assets.orchestration.configs import (
    BestConfig,
    ModelHyperparametersConfig,
    TrainingConfig,
    hyperparameters_config,
)

SEARCH = "hyperparameter_search"


def resolved(instance: dg.DagsterInstance, config: ModelHyperparametersConfig) -> Hyperparameters:
    """Return the hyperparameters that a config means; raise ArtifactError where it needs a search, and none was run."""
    if not isinstance(config, BestConfig):
        return config
    record = data_versions.latest(instance, dg.AssetKey(SEARCH))
    if record is None or record.asset_materialization is None:
        raise ArtifactError(
            f"`hyperparameters` are `best`, and {SEARCH} has never been materialized. Run `wine-assets search`, or "
            "search_job, first; or name the hyperparameters."
        )
    found: Any = record.asset_materialization.metadata[config.choice].value
    return validated(found["hyperparameters"])


def with_resolved(instance: dg.DagsterInstance, config: TrainingConfig) -> TrainingConfig:
    """Return a training config that names its hyperparameters; raise as `resolved` does."""
    if not isinstance(config.hyperparameters, BestConfig):
        return config
    named = hyperparameters_config(resolved(instance, config.hyperparameters))
    return TrainingConfig(
        source=config.source,
        negative_classes=config.negative_classes,
        hyperparameters=named,
        evaluation=config.evaluation,
        predictions=config.predictions,
    )
