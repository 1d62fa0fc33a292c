"""Every trial backend there is, by its kind."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from wine_assets.errors import SearchError
from wine_assets.search.backends.base import TrialBackend, kind_of
from wine_assets.search.backends.dask import DaskBackend
from wine_assets.search.backends.pool import PoolBackend
from wine_assets.search.backends.ray.backend import RayBackend
from wine_assets.search.backends.steps import StepsBackend

GROUP = "wine_assets.trial_backends"
"""The group of entry points by which other packages add backends."""
BACKENDS: Mapping[str, type[TrialBackend]] = {
    kind_of(backend): backend
    for backend in (
        PoolBackend,
        StepsBackend,
        DaskBackend,
        RayBackend,
        *(entry_point.load() for entry_point in entry_points(group=GROUP)),
    )
}
"""The backends by kind; config, launch form, flags and the guide's table are made from them."""


def parse(fields: Mapping[str, Any]) -> TrialBackend:
    """Return the backend that its fields describe; raise SearchError if there is none of that kind."""
    backend = BACKENDS.get(fields.get("kind", PoolBackend().kind))
    if backend is None:
        known = ", ".join(BACKENDS)
        raise SearchError(f"There is no backend {fields['kind']!r}. The backends are: {known}. Change `backend`.")
    return backend.model_validate(fields)
