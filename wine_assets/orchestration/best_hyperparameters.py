"""What the last hyperparameter_search found, for a model that is to be fitted with that."""

from typing import Any

import dagster as dg

from wine_assets.errors import ArtifactError
from wine_assets.models.base import Hyperparameters
from wine_assets.models.registry import validate
from wine_assets.orchestration import data_versions
from wine_assets.orchestration.configs import (
    BestConfig,
    ModelHyperparametersConfig,
    TrainingConfig,
    hyperparameters_config,
)

SEARCH = "hyperparameter_search"
DATA = "binarized_wine"
"""The asset that searches and models read."""
_SEARCHES = 100
"""The number of newest searches among which the last one of the same data is looked for."""


def resolve(instance: dg.DagsterInstance, config: ModelHyperparametersConfig, data_version: str) -> Hyperparameters:
    """Return the hyperparameters that a config means: its own, or those that the last search of the same data found.

    `data_version` is that of the rows that the model is fitted on. Raise ArtifactError if no search read that version.
    """
    if not isinstance(config, BestConfig):
        return config
    records = instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=dg.AssetKey(SEARCH)), _SEARCHES).records
    if not records:
        raise ArtifactError(
            f"`hyperparameters` are `best`, and {SEARCH} has never been materialized. Run `wine-assets search`, or "
            "search_job, first; or name the hyperparameters."
        )
    for record in records:
        materialization = record.asset_materialization
        if materialization is not None and data_versions.input_version(record, DATA) == data_version:
            chosen: Any = materialization.metadata[config.choice].value
            return validate(chosen["hyperparameters"])
    raise ArtifactError(
        f"`hyperparameters` are `best`, and no {SEARCH} on record has read this data. Search this data first "
        "(`wine-assets search --source ...`, or search_job with the same source and negative classes); or name the "
        "hyperparameters."
    )


def with_named_hyperparameters(
    instance: dg.DagsterInstance, config: TrainingConfig, data_version: str
) -> TrainingConfig:
    """Return a training config that names its hyperparameters; raise as `resolve` does."""
    if not isinstance(config.hyperparameters, BestConfig):
        return config
    named = hyperparameters_config(resolve(instance, config.hyperparameters, data_version))
    return TrainingConfig(
        source=config.source,
        negative_classes=config.negative_classes,
        hyperparameters=named,
        evaluation=config.evaluation,
        predictions=config.predictions,
    )
