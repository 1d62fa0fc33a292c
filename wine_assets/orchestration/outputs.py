"""The output of an asset: its value, its data version and its metadata."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from pydantic import BaseModel

from wine_assets.orchestration import data_versions


def versioned_output(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    value: Any,
    made_of: BaseModel | Mapping[str, Any],
    metadata: Mapping[str, Any],
    warnings: Sequence[str] = (),
) -> dg.Output[Any]:
    """Return the output of the asset that the step makes, and set its data version.

    The version depends on the asset's code version, on the versions of the inputs that this run consumes, and on
    `made_of`: the config, or what identifies the content. Warnings go to the run's log and to the metadata.
    """
    asset = context.assets_def
    inputs = {
        name: data_versions.consumed(context.instance, context.run.run_id, dg.AssetKey(name))
        for name in data_versions.input_names(asset)
    }
    context.set_data_version(asset.key, dg.DataVersion(data_versions.asset_version(asset, made_of, inputs)))
    for warning in warnings:
        context.log.warning(warning)
    return dg.Output(value, metadata={**metadata, "warnings": " ".join(warnings) or "none"})
