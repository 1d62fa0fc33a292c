"""Runs started from Python: which assets are stale, and the job that makes those alone."""

import contextlib
import signal
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from wine_assets import errors, settings
from wine_assets.data import sources
from wine_assets.errors import SourceError, as_sentence
from wine_assets.files import sha256_of_file
from wine_assets.orchestration import best_hyperparameters, data_versions
from wine_assets.orchestration.configs import TrainingConfig, WineModelConfig, data_configs, training_configs
from wine_assets.orchestration.dagster_internals import SerializableErrorInfo
from wine_assets.orchestration.jobs import ASSETS, DATA_ASSETS
from wine_assets.orchestration.run_watchdog import guarded

Listener = Callable[[dg.DagsterEvent], None]
_OWN_ERRORS = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
"""The names of the errors whose messages are fit to be shown as they are."""


@dataclass(frozen=True)
class Finished:
    """How a run ended."""

    run_id: str
    success: bool
    error: str
    """What went wrong, in one sentence; empty when nothing did."""
    traceback: str
    """Where it went wrong, for developers; empty when nothing did."""
    made: tuple[str, ...] = ()
    """The assets that the run recorded anew, in the order in which it made them."""
    failed: tuple[str, ...] = ()
    """The assets whose steps failed; the others that were to be made wait for these, or for a later run."""


def all_assets() -> list[str]:
    """Return the names of all assets, each after those that it reads."""
    return [_name(asset) for asset in ASSETS]


def stale_assets(instance: dg.DagsterInstance, config: TrainingConfig) -> list[str]:
    """Return the names of the assets that `config` would make otherwise than they are, in order.

    The versions to expect are computed from the content of the source, the config and the code, without reading
    a row; an asset whose file is gone is stale, too. A source that can't be reached makes all of them stale, so
    that the run says why.
    """
    try:
        versions = _expected_versions(DATA_ASSETS, data_configs(config), sources.fingerprint(config.source))
    except SourceError:
        return all_assets()
    data = versions[best_hyperparameters.DATA]
    named = best_hyperparameters.with_named_hyperparameters(instance, config, data)
    return _stale(instance, _expected_versions(ASSETS, training_configs(named), versions=versions))


def stale_data(instance: dg.DagsterInstance, config: Any) -> list[str]:
    """Return the names of the data assets that a job's config would make otherwise than they are, in order."""
    try:
        versions = _expected_versions(DATA_ASSETS, data_configs(config), sources.fingerprint(config.source))
    except SourceError:
        return [_name(asset) for asset in DATA_ASSETS]
    return _stale(instance, versions)


def _expected_versions(
    assets: Sequence[dg.AssetsDefinition],
    configs: Mapping[str, Any],
    fingerprint: str = "",
    versions: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the data versions that assets will have, by name; those in `versions` are known."""
    expected = dict(versions or {})
    for asset in assets:
        name = _name(asset)
        if name not in expected:
            config = configs.get(name)
            made_of = config.identity() if isinstance(config, WineModelConfig) else config
            if asset is ASSETS[0]:
                made_of = {"fingerprint": fingerprint}
            inputs = {each: expected[each] for each in data_versions.input_names(asset)}
            expected[name] = data_versions.asset_version(asset, made_of, inputs)
    return expected


def _stale(instance: dg.DagsterInstance, expected: Mapping[str, str]) -> list[str]:
    return [name for name, version in expected.items() if not _is_fresh(instance, name, version)]


def execute(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    config: Mapping[str, Any],
    assets: list[str],
    listener: Listener,
) -> Finished:
    """Run the job for these assets in this process, recorded as any other run; tell each event as it comes."""
    run_id = str(uuid.uuid4())
    failures: list[dg.DagsterEvent] = []
    made: dict[str, None] = {}

    def heard(entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None:
            return
        if event.is_step_failure:
            failures.append(event)
        if event.is_step_materialization and event.asset_key is not None:
            made[event.asset_key.to_user_string()] = None
        listener(event)

    instance.add_event_listener(run_id, heard)
    with (
        guarded(Path(instance.root_directory), run_id),
        _closed_when_interrupted(instance, run_id),
        _captures_deaf_to_ctrl_c(instance),
    ):
        result = job.execute_in_process(
            run_config=config,
            instance=instance,
            run_id=run_id,
            asset_selection=[dg.AssetKey(name) for name in assets],
            raise_on_error=False,
        )
    sentences, tracebacks = map(_sentence, failures), map(_traceback, failures)
    failed = tuple(event.step_key or "" for event in failures)
    return Finished(run_id, result.success, " ".join(sentences), "\n".join(tracebacks), tuple(made), failed)


def latest_metadata(instance: dg.DagsterInstance, run_id: str = "") -> dict[str, dict[str, Any]]:
    """Return the metadata of each asset's materialization by this run, or else of its newest, as plain values.

    Beside them are the `run_id` that it is of, its `data_version`, and the `inputs` that it was made of: the data
    version of each, by name.
    """
    records = {asset: data_versions.chosen(instance, run_id, asset.key) for asset in ASSETS}
    return {
        _name(asset): {key: value.value for key, value in record.asset_materialization.metadata.items()}
        | {
            "run_id": record.run_id,
            "data_version": data_versions.recorded(record),
            "inputs": _input_versions(asset, record),
        }
        for asset, record in records.items()
        if record is not None and record.asset_materialization is not None
    }


def _input_versions(asset: dg.AssetsDefinition, record: dg.EventLogRecord) -> dict[str, str]:
    return {name: data_versions.input_version(record, name) for name in data_versions.input_names(asset)}


def metadata_of(instance: dg.DagsterInstance, name: str, run_id: str) -> dict[str, Any]:
    """Return the metadata of one asset's materialization by this run, or else of its newest, as plain values."""
    record = data_versions.chosen(instance, run_id, dg.AssetKey(name))
    materialization = record.asset_materialization if record is not None else None
    return {key: value.value for key, value in materialization.metadata.items()} if materialization is not None else {}


@contextlib.contextmanager
def _closed_when_interrupted(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Record the run as failed when the block is left by a signal that came where Dagster doesn't expect one."""
    try:
        yield
    except BaseException:
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            instance.report_run_failed(run, "The run was interrupted before it ended. Start it again.")
        raise


@contextlib.contextmanager
def _captures_deaf_to_ctrl_c(instance: dg.DagsterInstance) -> Iterator[None]:
    """Have processes that capture what steps print not be ended by Ctrl-C, each with a traceback; Dagster ends them.

    A process inherits which signals are blocked where it is started.
    """
    manager = instance.compute_log_manager
    capture = manager.capture_logs

    @contextlib.contextmanager
    def blocked_at_first(log_key: Sequence[str]) -> Iterator[Any]:
        with contextlib.ExitStack() as stack:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            try:
                context = stack.enter_context(capture(log_key))
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            yield context

    manager.capture_logs = blocked_at_first  # type: ignore[method-assign]
    try:
        yield
    finally:
        del manager.capture_logs  # the class has its own


def _name(asset: dg.AssetsDefinition) -> str:
    return asset.key.to_user_string()


def _is_fresh(instance: dg.DagsterInstance, name: str, expected: str) -> bool:
    """Tell whether the newest materialization has the expected version, and all files that it names are as written."""
    record = data_versions.latest(instance, dg.AssetKey(name))
    if record is None or record.asset_materialization is None or data_versions.recorded(record) != expected:
        return False
    metadata = record.asset_materialization.metadata
    named = {key: _in_this_home(value) for key, value in metadata.items() if isinstance(value, dg.PathMetadataValue)}
    if "path" not in named or not named["path"].is_file() or not all(path.exists() for path in named.values()):
        return False
    return metadata["sha256"].value == sha256_of_file(named["path"])


def _in_this_home(recorded: dg.PathMetadataValue) -> Path:
    """Return where a recorded path is now, in a home that may have been moved since."""
    path, home = Path(str(recorded.value)), settings.home()
    for folder in (home.data, home.reports, home.models):
        if folder.name in path.parts:
            last = len(path.parts) - path.parts[::-1].index(folder.name)
            return folder.joinpath(*path.parts[last:])
    return path


def _sentence(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return as_sentence(data.user_failure_data.description)
    links = _chain(data.error)
    own = [link for link in links if link.cls_name in _OWN_ERRORS]
    if own:
        return as_sentence(own[0].message.strip().partition(": ")[2])
    return as_sentence(f"{event.step_key} failed: {links[-1].message.strip() if links else 'it failed'}")


def _chain(error: SerializableErrorInfo | None) -> list[SerializableErrorInfo]:
    """Return an error and those that led to it."""
    return [error, *_chain(error.cause)] if error is not None else []


def _traceback(event: dg.DagsterEvent) -> str:
    error = event.step_failure_data.error
    return error.to_string() if error is not None else ""
