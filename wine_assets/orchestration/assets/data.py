"""The data group: rows as they are measured, and with two classes."""

from wine_assets.compute.request import ComputeRequest
from wine_assets.data import checks, dataset, sources, validation
from wine_assets.orchestration import metadata
from wine_assets.orchestration.configs import BinarizedWineConfig, RawWineConfig
from wine_assets.orchestration.steps import Frame, Made, step


@step(
    group="data",
    format_name="frame",
    kinds={"python", "pandas", "parquet"},
    code_version=sources.VERSION,
    request=ComputeRequest(cpu="1", memory="500Mi", timeout="10m", retries=1),
    checks=checks.CHECKS,
)
def raw_wine(config: RawWineConfig) -> Made:
    """Rows as their source has them: features first, the class of each row last, as `target`."""
    source = sources.load(config.source)
    return Made(
        source.frame,
        outcomes=validation.validate(source.frame, source.layout),
        identity={"fingerprint": source.fingerprint},
        metadata={
            **metadata.frame(source.frame),
            "origin": source.origin,
            "features": [name for name in source.frame.columns if name != "target"],
            "indexes_left_out": list(source.indexes),
            "classes": metadata.class_counts(source.frame["target"]),
        },
    )


@step(
    group="data",
    format_name="frame",
    kinds={"python", "pandas", "parquet"},
    code_version=dataset.VERSION,
    request=ComputeRequest(cpu="1", memory="500Mi", timeout="10m"),
)
def binarized_wine(config: BinarizedWineConfig, raw_wine: Frame) -> Made:
    """Rows whose target is 0 for the negative classes and 1 for every other."""
    frame = dataset.binarize(raw_wine, config)
    return Made(
        frame,
        metadata={**metadata.frame(frame), "classes": metadata.class_counts(frame["target"])},
    )
