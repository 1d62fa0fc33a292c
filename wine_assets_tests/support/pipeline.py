"""The real definitions, run in this process on an instance of their own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from wine_assets.orchestration import data_versions

ASSETS = (
    *("raw_wine", "binarized_wine", "wine_model", "model_evaluation", "wine_model_onnx", "released_model"),
    "wine_predictions",
)
MODEL_ASSETS = ASSETS[2:]
REFERENCE = {"hyperparameters": {"logistic_regression": {"C": 0.01, "scaler": "none"}}}
QUICK = {"evaluation": {"folds": 2, "permutations": 1}}
"""An evaluation that takes a tenth of the time, for tests of other things."""


class Pipeline:
    """What a user does with the definitions, and what Dagster then has on record."""

    def __init__(self, instance: dg.DagsterInstance, definitions: dg.Definitions) -> None:
        self.instance = instance
        self.definitions = definitions

    def launch(
        self, job: str, config: Mapping[str, Any], assets: Sequence[str] | None = None
    ) -> dg.ExecuteInProcessResult:
        """Run a job, or a part of it, to its end, whichever that is; a config that is refused raises."""
        return self.definitions.resolve_job_def(job).execute_in_process(
            run_config=config,
            instance=self.instance,
            asset_selection=[dg.AssetKey(name) for name in assets] if assets else None,
            raise_on_error=False,
        )

    def train(self, **config: Any) -> dg.ExecuteInProcessResult:
        """Run training_job with a short evaluation."""
        return self.launch("training_job", QUICK | config)

    def read(self, source: Path | None = None, **config: Any) -> dg.ExecuteInProcessResult:
        """Run data_job, on a file or on the bundled data."""
        where = {"source": {"file": {"path": str(source)}}} if source else {}
        return self.launch("data_job", where | config)

    def materialize(self, *assets: str, **configs: Any) -> dg.ExecuteInProcessResult:
        """Materialize assets ad hoc, as the UI's button does: each with its own config, or with none."""
        job = self.definitions.get_repository_def().get_implicit_global_asset_job_def()
        return job.execute_in_process(
            run_config={"ops": {name: {"config": config} for name, config in configs.items()}},
            instance=self.instance,
            asset_selection=[dg.AssetKey(name) for name in assets],
            raise_on_error=False,
        )

    def record(self, asset: str) -> dg.EventLogRecord | None:
        """Return the newest materialization."""
        return data_versions.latest(self.instance, dg.AssetKey(asset))

    def made(self) -> dict[str, int]:
        """Return the number of the newest record of each asset that has been materialized."""
        records = {asset: self.record(asset) for asset in ASSETS}
        return {asset: record.storage_id for asset, record in records.items() if record}

    def metadata(self, asset: str) -> dict[str, Any]:
        """Return the metadata of the newest materialization, as Dagster shows it."""
        record = self.record(asset)
        assert record is not None
        assert record.asset_materialization is not None
        return dict(record.asset_materialization.metadata)

    def version(self, asset: str) -> str:
        """Return the recorded data version."""
        record = self.record(asset)
        return data_versions.recorded(record) if record else ""

    def file(self, asset: str) -> Path:
        """Return the file that the newest materialization names."""
        return Path(self.metadata(asset)["path"].value)

    def stale(self) -> set[str]:
        """Return the assets that Dagster itself calls stale or missing."""
        graph = self.definitions.get_repository_def().asset_graph
        resolver = CachingStaleStatusResolver(self.instance, graph, LoadingContextForTest(self.instance))
        return {asset for asset in ASSETS if resolver.get_status(dg.AssetKey(asset)) is not StaleStatus.FRESH}


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """Return the evaluation of each check of a run, by its name."""
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    """Return what each step that failed says, in full."""
    events = [event for event in result.all_events if event.is_step_failure]
    return [_said(event) for event in events]


def started(result: dg.ExecuteInProcessResult) -> list[str]:
    """Return the assets whose steps were started, in order."""
    return [str(event.step_key) for event in result.all_events if event.is_step_start]


def chain(error: BaseException | None) -> str:
    """Return the sentences of an error and of all that led to it."""
    return f"{type(error).__name__}: {error}\n{chain(error.__cause__ or error.__context__)}" if error else ""


def _said(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    described = data.user_failure_data.description if data.user_failure_data else None
    return described or (data.error.to_string() if data.error else "")
