"""Fast, verified predictions inside any service: the public names of the library."""

from typing import TYPE_CHECKING, Any

from wine_assets.errors import ArtifactError, ConflictError, InputError, RepositoryError, WineAssetsError
from wine_assets.inference.manifest import Manifest
from wine_assets.inference.predictor import Prediction, Predictor
from wine_assets.inference.repository import ModelRepository
from wine_assets.inference.repository_reader import Promotion, StoredModel

if TYPE_CHECKING:
    from wine_assets.inference.batching import AsyncPredictor, Batching

__all__ = [
    "ArtifactError",
    "AsyncPredictor",
    "Batching",
    "ConflictError",
    "InputError",
    "Manifest",
    "ModelRepository",
    "Prediction",
    "Predictor",
    "Promotion",
    "RepositoryError",
    "StoredModel",
    "WineAssetsError",
]


def __getattr__(name: str) -> Any:
    """Import the names that need asyncio on first use: the import takes a third of a first prediction's time."""
    if name in ("AsyncPredictor", "Batching"):
        from wine_assets.inference import batching

        return getattr(batching, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
