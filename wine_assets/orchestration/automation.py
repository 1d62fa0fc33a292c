"""When assets follow others by themselves."""

from typing import Any

import dagster as dg

_CONDITION = dg.AutomationCondition
_SEARCH = dg.AssetSelection.assets("hyperparameter_search")
"""A search is started by people, and a model asks for what it found by its config."""

FOLLOW_UPSTREAM: Any = (
    (
        _CONDITION.newly_missing()
        | _CONDITION.any_deps_match(_CONDITION.data_version_changed() | _CONDITION.will_be_requested()).ignore(_SEARCH)
    ).since_last_handled()
    & ~_CONDITION.any_deps_missing().ignore(_SEARCH)
    & ~_CONDITION.any_deps_in_progress().ignore(_SEARCH)
    & ~_CONDITION.in_progress()
).with_label("follow upstream when its data version changes")
"""Materialize when an asset above has new content; not when it was made again with the same, nor while a run that
will make this asset is under way, nor when that run has made it already."""
