"""Fast, verified predictions inside any service: the public names of the library."""

from wine_assets.errors import ArtifactError, ConflictError, InputError, RepositoryError, WineAssetsError
from wine_assets.inference.batching import AsyncPredictor, Batching
from wine_assets.inference.manifest import Manifest
from wine_assets.inference.predictor import Prediction, Predictor
from wine_assets.inference.repository import ModelRepository, Promotion, StoredModel

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
