"""Estimators on disk, in the skops format: no pickle, and no type that the file itself declares trusted."""

import contextlib
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from wine_assets.errors import ArtifactError
from wine_assets.files import atomic_path

SUFFIX = ".skops"
_ADAPTERS = tuple(f"sklearn.externals.array_api_compat.{library}" for library in ("cupy", "dask", "torch"))
"""Private modules of scikit-learn that import these libraries."""


def import_skops() -> Any:
    """Return `skops.io`, imported without CuPy, Dask and PyTorch.

    To list the estimators that there are, skops imports all modules of scikit-learn. Its adapters to these libraries
    have none. PyTorch costs a cold run seconds, and a low memory limit could leave it half imported.
    """
    hidden = [name for name in _ADAPTERS if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes their import fail
    try:
        import skops.io
    finally:
        for name in hidden:
            del sys.modules[name]
    return skops.io


def save(estimator: Any, path: Path) -> None:
    """Write a fitted scikit-learn estimator to `path`, atomically."""
    with atomic_path(path) as temporary:
        import_skops().dump(estimator, temporary)


def load(path: Path, trusted: Collection[str] = ()) -> Any:
    """Read an estimator that `save` wrote, of types that skops knows or `trusted` names.

    Raise ArtifactError when it is damaged or holds any other type.
    """
    untrusted = untrusted_types(path) - {*trusted}
    if untrusted:
        raise ArtifactError(
            f"{path} holds types that this project doesn't write: {', '.join(sorted(untrusted))}. "
            "Don't load it; materialize wine_model again."
        )
    skops = import_skops()
    with _read_in_sentences(path):
        return skops.load(path, trusted=[*trusted])


def untrusted_types(path: Path) -> set[str]:
    """Return the types in a file that skops doesn't trust by itself, without making anything of them.

    Raise ArtifactError for a file that is missing or damaged.
    """
    skops = import_skops()
    with _read_in_sentences(path):
        return {*skops.get_untrusted_types(file=path)}


@contextlib.contextmanager
def _read_in_sentences(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise ArtifactError(f"There is no estimator at {path}. Materialize wine_model.") from None
    except Exception as error:
        raise ArtifactError(f"{path} can't be read as an estimator: {error}. Materialize wine_model again.") from error
