"""The data group: rows as they are measured, and with two classes."""

import dagster as dg

from wine_assets.compute.request import ComputeRequest
from wine_assets.data import dataset, sources
from wine_assets.data.checks import CHECKS
from wine_assets.data.validation import validate
from wine_assets.orchestration import checks, metadata
from wine_assets.orchestration.configs import BinarizedWineConfig, RawWineConfig
from wine_assets.orchestration.enforcement import Events, declaration, enforced
from wine_assets.orchestration.io_managers import Frame
from wine_assets.orchestration.outputs import versioned_output


@dg.asset(
    group_name="data",
    kinds={"python", "pandas", "parquet"},
    io_manager_key="frame",
    code_version=sources.VERSION,
    **declaration("raw_wine", ComputeRequest(cpu="1", memory="500Mi", timeout="10m", retries=1), CHECKS),
)
@enforced
def raw_wine(context: dg.AssetExecutionContext, config: RawWineConfig) -> Events:
    """Rows as their source has them: features first, the class of each row last, as `target`."""
    table = yield from checks.read(config.source)
    results = validate(table.frame, table.layout)
    yield from checks.require(results)
    shown = {
        **metadata.frame(table.frame),
        "origin": table.origin,
        "features": dataset.feature_names(table.frame),
        "indexes_left_out": list(table.indexes),
        "classes": metadata.class_counts(table.frame["target"]),
    }
    yield versioned_output(context, table.frame, {"fingerprint": table.fingerprint}, shown, checks.warnings(results))


@dg.asset(
    group_name="data",
    kinds={"python", "pandas", "parquet"},
    io_manager_key="frame",
    code_version=dataset.VERSION,
    **declaration("binarized_wine", ComputeRequest(cpu="1", memory="500Mi", timeout="10m")),
)
@enforced
def binarized_wine(context: dg.AssetExecutionContext, config: BinarizedWineConfig, raw_wine: Frame) -> Events:
    """Rows whose target is 0 for the negative classes and 1 for every other."""
    frame = dataset.binarize(raw_wine, config)
    shown = {**metadata.frame(frame), "classes": metadata.class_counts(frame["target"])}
    yield versioned_output(context, frame, config, shown)
