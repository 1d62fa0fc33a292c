"""The code location as a new process loads it, with the settings of this moment."""

import importlib
import sys

import dagster as dg
import pytest

_ORCHESTRATION = "wine_assets.orchestration"
_FOLLOWERS = [f"{_ORCHESTRATION}.{name}" for name in ("jobs", "runs", "sensors")]
_ASSEMBLY = "wine_assets.definitions"


def fresh_definitions(patch: pytest.MonkeyPatch) -> dg.Definitions:
    """Import the assets, and what is made of them, anew; `patch` brings back the modules as they were."""
    assets = [name for name in sys.modules if name.startswith(f"{_ORCHESTRATION}.assets.")]
    for name in {*assets, *_FOLLOWERS, _ASSEMBLY} & sys.modules.keys():
        parent, _, child = name.rpartition(".")
        patch.delattr(sys.modules[parent], child)
        patch.delitem(sys.modules, name)
    definitions: dg.Definitions = importlib.import_module(_ASSEMBLY).defs
    return definitions
