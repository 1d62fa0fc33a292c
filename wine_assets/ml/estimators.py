"""Estimators on disk, in the skops format: no pickle, and no type that the file itself declares trusted."""

from pathlib import Path
from typing import Any

from wine_assets.errors import ArtifactError
from wine_assets.files import atomic_path

SUFFIX = ".skops"


def save(estimator: Any, path: Path) -> None:
    """Write a fitted scikit-learn estimator to `path`, atomically."""
    import skops.io

    with atomic_path(path) as temporary:
        skops.io.dump(estimator, temporary)


def load(path: Path) -> Any:
    """Read an estimator that `save` wrote; raise ArtifactError when it is damaged or holds an untrusted type."""
    import skops.io

    try:
        untrusted = skops.io.get_untrusted_types(file=path)
        if not untrusted:
            return skops.io.load(path, trusted=[])
    except FileNotFoundError:
        raise ArtifactError(f"There is no estimator at {path}. Materialize wine_model.") from None
    except Exception as error:
        raise ArtifactError(f"{path} can't be read as an estimator: {error}. Materialize wine_model again.") from error
    raise ArtifactError(
        f"{path} holds types that this project doesn't write: {', '.join(untrusted)}. "
        "Don't load it; materialize wine_model again."
    )
