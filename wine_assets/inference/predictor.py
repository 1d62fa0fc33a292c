"""A verified ONNX model in memory, ready to answer."""

import json
from pathlib import Path
from typing import Any, Self

from wine_assets.errors import ArtifactError


class Predictor:
    """Answers with the probabilities and the labels of rows; safe to call from many threads.

    The session is made from bytes, never from a path: external data and links are thereby refused.
    """

    def __init__(self, content: bytes, *, threads: int = 1) -> None:
        """Make a session of a serialized model; raise ArtifactError when onnxruntime refuses it."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ArtifactError(f"onnxruntime can't load the model: {error}. Export it again.") from error
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.features: tuple[str, ...] = _listed(self.metadata, "features")
        self.classes: tuple[int, ...] = _listed(self.metadata, "classes")

    @classmethod
    def load(cls, path: Path | str, *, threads: int = 1) -> Self:
        """Read the model at `path` once, and make a session of those bytes."""
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise ArtifactError(f"There is no model to read at {path}: {error.strerror}.") from error
        return cls(content, threads=threads)

    def predict_proba(self, rows: Any) -> Any:
        """Return the probabilities, float32 [n, 2], of rows [n, features]; columns are the classes in order."""
        return self._session.run(["probabilities"], {"features": _float32(rows)})[0]

    def predict(self, rows: Any) -> Any:
        """Return the labels, int64 [n], of rows [n, features]."""
        return self._session.run(["label"], {"features": _float32(rows)})[0]


def _listed(metadata: dict[str, str], name: str) -> tuple[Any, ...]:
    try:
        return tuple(json.loads(metadata[name]))
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"The model's metadata holds no list of `{name}`, so this project didn't export it. Export it again."
        ) from error


def _float32(rows: Any) -> Any:
    import numpy as np

    return np.ascontiguousarray(rows, dtype=np.float32)
