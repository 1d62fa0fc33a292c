"""Estimators on disk, in the skops format: no pickle, and no type that the file itself declares trusted."""

import contextlib
from collections.abc import Collection, Iterator
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
    import skops.io

    with _read_in_sentences(path):
        return skops.io.load(path, trusted=[*trusted])


def untrusted_types(path: Path) -> set[str]:
    """Return the types in a file that skops doesn't trust by itself, without making anything of them.

    Raise ArtifactError for a file that is missing or damaged.
    """
    import skops.io

    with _read_in_sentences(path):
        return {*skops.io.get_untrusted_types(file=path)}


@contextlib.contextmanager
def _read_in_sentences(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise ArtifactError(f"There is no estimator at {path}. Materialize wine_model.") from None
    except Exception as error:
        raise ArtifactError(f"{path} can't be read as an estimator: {error}. Materialize wine_model again.") from error
