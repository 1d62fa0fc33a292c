"""The data version of every asset: what it is made of, hashed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import BaseModel

from wine_assets.errors import ArtifactError
from wine_assets.orchestration.dagster_internals import (
    extract_data_version_from_entry,
    get_input_data_version_tag,
)

_DIGITS = 32
_CONSUMED_LIMIT = 1024
_LATE_RECORDS = 20
"""Among how many of the newest records a run's own is looked for."""
_consumed: dict[tuple[str, str], str] = {}


def data_version(asset: str, code_version: str, made_of: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Return 32 hexadecimal digits that change when, and only when, the asset would be made otherwise.

    `made_of` is the asset's config, or what identifies its content; `inputs` are the data versions of the assets
    that it reads, by name.
    """
    parts = {"asset": asset, "code": code_version, "made_of": made_of, "inputs": inputs}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:_DIGITS]


def input_names(asset: dg.AssetsDefinition) -> list[str]:
    """Return the names of the assets whose content an asset reads, in order."""
    return [each.name for each in asset.node_def.input_defs if not each.dagster_type.is_nothing]


def asset_version(
    asset: dg.AssetsDefinition, made_of: BaseModel | Mapping[str, Any] | None, inputs: Mapping[str, str]
) -> str:
    """Return the data version that an asset has, or will have, if it is made of these; None is no config."""
    if isinstance(made_of, BaseModel):
        made_of = made_of.model_dump(mode="json")
    code_version = asset.code_versions_by_key[asset.key] or ""
    return data_version(asset.key.to_user_string(), code_version, made_of or {}, inputs)


def latest(instance: dg.DagsterInstance, key: dg.AssetKey) -> dg.EventLogRecord | None:
    """Return the record of the newest materialization of an asset, or None."""
    records = instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=key), limit=1).records
    return records[0] if records else None


def chosen(instance: dg.DagsterInstance, run_id: str, key: dg.AssetKey) -> dg.EventLogRecord | None:
    """Return the record of an asset's materialization by a run, or else of the newest there is, or None."""
    records = instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=key), limit=_LATE_RECORDS).records
    own = [record for record in records if record.run_id == run_id]
    return next(iter([*own, *records]), None)


def recorded(record: dg.EventLogRecord) -> str:
    """Return the data version that a materialization was recorded with, or "" when it has none."""
    version = extract_data_version_from_entry(record.event_log_entry)
    return version.value if version else ""


def input_version(record: dg.EventLogRecord, name: str) -> str:
    """Return the data version that an input of a materialization had, or "" where Dagster has noted none."""
    materialization = record.asset_materialization
    tags = (materialization.tags if materialization is not None else None) or {}
    return tags.get(get_input_data_version_tag(dg.AssetKey(name)), "")


def consumed(instance: dg.DagsterInstance, run_id: str, key: dg.AssetKey) -> str:
    """Return the version of an input that a run reads: the run's own, or else the newest there is.

    The answer stays the same for the rest of the run, so that what is loaded and what the versions below it are
    made of are one, even while another run materializes the same asset; with "" for no run, it is the newest each
    time. Raise ArtifactError when there is none.
    """
    remembered = _consumed.get((run_id, key.to_user_string()))
    if remembered:
        return remembered
    version = _look_up(instance, run_id, key)
    return _remember(run_id, key, version) if run_id else version


def forget(run_id: str, key: dg.AssetKey) -> None:
    """Let the next reader look up an asset that this run has just made anew."""
    _consumed.pop((run_id, key.to_user_string()), None)


def _look_up(instance: dg.DagsterInstance, run_id: str, key: dg.AssetKey) -> str:
    record = chosen(instance, run_id, key)
    if record is None:
        raise ArtifactError(f"{key.to_user_string()} has never been materialized. Materialize it first.")
    return recorded(record)


def _remember(run_id: str, key: dg.AssetKey, version: str) -> str:
    if len(_consumed) >= _CONSUMED_LIMIT:
        _consumed.pop(next(iter(_consumed)))
    _consumed[run_id, key.to_user_string()] = version
    return version
