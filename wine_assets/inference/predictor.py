"""A verified ONNX model in memory that predicts labels and probabilities."""

import ctypes
import json
import math
import operator
import os
import struct
import threading
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self, cast, get_args

# Unless the user wants it: onnxruntime's telemetry starts a thread, for which a forked process would wait forever at
# its end.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnxruntime

from wine_assets.errors import ArtifactError, InputError, RepositoryError
from wine_assets.files import sha256_of_bytes
from wine_assets.inference import features
from wine_assets.inference.features import Extra, Rows
from wine_assets.inference.graphs import with_output
from wine_assets.inference.manifest import Manifest
from wine_assets.inference.repository_reader import RepositoryReader, StoredModel

INPUT = "features"
LABEL = "label"
PROBABILITIES = "probabilities"
Labels = np.ndarray[Any, np.dtype[np.int64]]
THREAD_INVARIANT_GRAPH = "linear_classifier"
"""The graph that gives a row the same bits with any number of threads, in models of 0.1.0, which do not say so."""
LARGE_BATCH = 1024
"""Number of rows from which a session with only the requested output is faster."""
_FATAL_ONLY = 4
_PLAIN_NUMBERS = frozenset({float, int})
_instances: "weakref.WeakSet[Predictor]" = weakref.WeakSet()


class Prediction(NamedTuple):
    """The prediction for one row: its label, and the probability of each class in order."""

    label: int
    probabilities: tuple[float, ...]


class Predictor:
    """Predicts labels and probabilities; safe to use from many threads, from asyncio, and after a fork.

    The session is created from bytes, never from a path, so that the model can't refer to other files.
    """

    def __init__(  # noqa: PLR0913 - one too many until `extras` goes
        self,
        content: bytes,
        *,
        manifest: Manifest | None = None,
        version: int | None = None,
        threads: int = 1,
        extra: Extra = "forbid",
        extras: str | None = None,
    ) -> None:
        """Create a session of a serialized model; raise ArtifactError unless this project exported it.

        `threads` compute one batch together; a family whose bits depend on their number gets one. Raise InputError
        for an invalid number of threads or an invalid `extra`. `extras` is the deprecated name of `extra`.
        """
        extra = _resolve_extra(extra, extras)
        if type(threads) is not int or threads < 1:
            raise InputError(f"`threads` must be a whole number of at least 1, got {threads!r}.")
        if extra not in get_args(Extra):
            raise InputError(f'`extra` must be "forbid" or "ignore", got {extra!r}.')
        self._content = content
        self._session: Any = _create_session(content, 1)
        self._single_output_sessions: dict[str, Any] = {}
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.features: tuple[str, ...] = _parse_list(self.metadata, "features")
        self.classes: tuple[int, ...] = _parse_list(self.metadata, "classes")
        self.manifest, self.version, self.extra = manifest, version, extra
        self.sha256 = sha256_of_bytes(content)
        self.verified = False
        """Whether a checksum from outside of the model's own files vouches for it."""
        self.threads = threads if self._is_thread_invariant() else 1
        _check_signature(self._session, len(self.features))
        if self.threads > 1:
            self._session = _create_session(content, self.threads)
        self._pick: Callable[[Any], Any] = operator.itemgetter(*self.features)
        self._one_row_shape = (1, len(self.features))
        self._local = threading.local()
        _instances.add(self)

    @classmethod
    def load(  # noqa: PLR0913 - one too many until `extras` goes
        cls,
        path: Path | str,
        *,
        version: int | None = None,
        expected_sha256: str | None = None,
        threads: int = 1,
        extra: Extra = "forbid",
        extras: str | None = None,
    ) -> Self:
        """Load a repository's champion, or its `version`, or a single model file, and test it once.

        Each file is read once, and its checksum compared before its bytes are used. A single file is `verified` only
        by an `expected_sha256`. Raise ArtifactError if the model is missing, damaged, or does not reproduce the
        samples of its manifest, and RepositoryError if there is no such version.
        """
        path, extra = Path(path), _resolve_extra(extra, extras)
        if path.is_dir():
            predictor = cls.of(RepositoryReader(path).read(version), threads=threads, extra=extra)
            _check_sha256(predictor.sha256, expected_sha256, path)
            predictor.verified = predictor.verified or expected_sha256 is not None
            return predictor
        if version is not None:
            raise RepositoryError(f"{path} is no folder with versions. Give the repository's folder, or no version.")
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ArtifactError(f"There is no model to read at {path}: {error.strerror}.") from error
        _check_sha256(sha256_of_bytes(content), expected_sha256, path)
        predictor = cls(content, threads=threads, extra=extra)
        predictor.verified = expected_sha256 is not None
        predictor.warm()
        return predictor

    @classmethod
    def of(cls, stored: StoredModel, *, threads: int = 1, extra: Extra = "forbid", extras: str | None = None) -> Self:
        """Load a version of a repository, and raise ArtifactError unless it reproduces its samples."""
        predictor = cls(
            stored.model,
            manifest=stored.manifest,
            version=stored.version,
            threads=threads,
            extra=_resolve_extra(extra, extras),
        )
        predictor.check_samples(stored.manifest)
        predictor.verified = stored.authenticated
        return predictor

    def predict_proba(self, rows: Any) -> Rows:
        """Return the probabilities, float32 [n, classes], of rows as `features.rows_of` takes them."""
        if type(rows) is np.ndarray and rows.shape == self._one_row_shape and rows.dtype == np.float32:
            return self._run_one(rows).probabilities.copy()
        return self._run_for_output(PROBABILITIES, features.rows_of(rows, self.features, self.extra))  # type: ignore[no-any-return]  # onnxruntime has no types

    def predict(self, rows: Any) -> Labels:
        """Return the labels, int64 [n], of rows as `features.rows_of` takes them."""
        return self._run_for_output(LABEL, features.rows_of(rows, self.features, self.extra))  # type: ignore[no-any-return]  # onnxruntime has no types

    def predict_both(self, rows: Any) -> tuple[Labels, Rows]:
        """Return labels, int64 [n], and probabilities, float32 [n, classes], of one run."""
        if type(rows) is np.ndarray and rows.shape == self._one_row_shape and rows.dtype == np.float32:
            buffers = self._run_one(rows)
            return buffers.label.copy(), buffers.probabilities.copy()
        return self.answer(features.rows_of(rows, self.features, self.extra))

    def answer(self, rows: Rows) -> tuple[Labels, Rows]:
        """Return labels and probabilities as `predict_both` does, of rows that `features.rows_of` returned."""
        if rows.shape == self._one_row_shape:
            buffers = self._one_row_buffers()
            buffers.row[...] = rows
            buffers.run()
            return buffers.label.copy(), buffers.probabilities.copy()
        labels, probabilities = self._current_session().run([LABEL, PROBABILITIES], {INPUT: rows})
        return labels, probabilities

    def predict_one(self, /, **values: float) -> Prediction:
        """Return the prediction for one row of values by feature name; raise InputError for an invalid value."""
        buffers = self._one_row_buffers()
        try:
            buffers.pack(buffers.memory, 0, *self._order(values))
        except (OverflowError, struct.error):
            buffers.pack(buffers.memory, 0, *self._order_checked(values))
        buffers.run()
        return Prediction(buffers.label.item(), tuple(buffers.probabilities.tolist()[0]))

    def warm(self) -> None:
        """Predict one row of zeros; raise ArtifactError if that fails or isn't finite."""
        try:
            probabilities = self.predict_proba(np.zeros(self._one_row_shape, dtype=np.float32))
        except Exception as error:
            raise ArtifactError(f"The model can't answer a row of zeros ({error}). Export it again.") from error
        if probabilities.shape != (1, len(self.classes)) or not np.isfinite(probabilities).all():
            raise ArtifactError("The model answers a row of zeros with no probabilities. Export it again.")

    def check_samples(self, manifest: Manifest) -> None:
        """Raise ArtifactError unless the model is the one that `manifest` describes, and reproduces its samples."""
        content = manifest.content
        names = tuple(feature.name for feature in content.features)
        if (names, content.classes) != (self.features, self.classes):
            raise ArtifactError("The model's features or classes aren't those of its manifest. Publish it again.")
        samples = content.samples
        if not samples.rows:
            self.warm()
            return
        try:
            labels, probabilities = self.predict_both(np.asarray(samples.rows, dtype=np.float32))
            expected = np.asarray(samples.probabilities, dtype=np.float64)
            is_close = np.abs(probabilities - expected).max() <= content.parity.tolerance  # False for NaN
        except Exception as error:
            raise ArtifactError(f"The model can't answer the samples of its manifest ({error}).") from error
        if labels.tolist() != list(samples.labels) or not is_close:
            raise ArtifactError(
                "The model doesn't answer the samples of its manifest as it did when it was published. "
                "Publish it again, with the onnxruntime that is to serve it."
            )

    def _is_thread_invariant(self) -> bool:
        if self.manifest is not None:
            return self.manifest.content.parity.batch_invariant
        if "batch_invariant" in self.metadata:
            return self.metadata["batch_invariant"] == "true"
        return bool(self._session.get_modelmeta().graph_name == THREAD_INVARIANT_GRAPH)

    def _order(self, values: dict[str, Any]) -> Any:
        """Return the values in the features' order, with a faster check if they are plain numbers."""
        try:
            row = self._pick(values) if len(self.features) > 1 else (self._pick(values),)
            if len(values) == len(row) and _PLAIN_NUMBERS.issuperset(map(type, row)) and math.isfinite(sum(row)):
                return row
        except (KeyError, OverflowError):
            pass
        return self._order_checked(values)

    def _order_checked(self, values: dict[str, Any]) -> list[float]:
        features.check_names(values.keys(), self.features, self.extra)
        return [features.to_number(values[name], name) for name in self.features]

    def _run_one(self, row: Rows) -> "_OneRowBuffers":
        buffers = self._one_row_buffers()
        buffers.row[...] = row
        if not math.isfinite(sum(buffers.flat.tolist())):
            features.check_finite(row, self.features)
        buffers.run()
        return buffers

    def _one_row_buffers(self) -> "_OneRowBuffers":
        """Return this thread's buffers."""
        try:
            return self._local.buffers  # type: ignore[no-any-return]  # threading.local has no types
        except AttributeError:
            buffers = _OneRowBuffers(self._current_session(), len(self.features), len(self.classes))
            self._local.buffers = buffers
            return buffers

    def _run_for_output(self, output: str, rows: Rows) -> Any:
        """Return one output; a large batch runs in a session that computes nothing else."""
        if len(rows) < LARGE_BATCH:
            return self._current_session().run([output], {INPUT: rows})[0]
        session = self._single_output_sessions.get(output)
        if session is None:
            session = _create_session(with_output(self._content, output), self.threads)
            self._single_output_sessions[output] = session
        return session.run([output], {INPUT: rows})[0]

    def _current_session(self) -> Any:
        if self._session is None:  # in a forked process, which has none of the parent's threads
            self._session = _create_session(self._content, self.threads)
        return self._session

    def _abandon_sessions(self) -> None:
        """Leave the parent process's sessions without deleting them: that would wait for threads that don't exist."""
        for abandoned in (self._session, self._single_output_sessions, self._local):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(abandoned))
        self._session, self._single_output_sessions, self._local = None, {}, threading.local()


class _OneRowBuffers:
    """The input and output buffers of one thread's single rows, bound to the session once and reused."""

    def __init__(self, session: Any, width: int, classes: int) -> None:
        self.row = np.zeros((1, width), dtype=np.float32)
        self.flat = self.row[0]
        self.memory = memoryview(self.row.data).cast("B")
        self.pack = struct.Struct(f"={width}f").pack_into
        self.label = np.zeros(1, dtype=np.int64)
        self.probabilities = np.zeros((1, classes), dtype=np.float32)
        self._session, self._binding = session, session.io_binding()
        self._values = [onnxruntime.OrtValue.ortvalue_from_numpy(a) for a in (self.row, self.label, self.probabilities)]
        self._binding.bind_ortvalue_input(INPUT, self._values[0])
        self._binding.bind_ortvalue_output(LABEL, self._values[1])
        self._binding.bind_ortvalue_output(PROBABILITIES, self._values[2])

    def run(self) -> None:
        """Compute label and probabilities of the row."""
        self._session.run_with_iobinding(self._binding)


def _resolve_extra(extra: Extra, extras: str | None) -> Extra:
    """Return `extra`, or the value of its deprecated name `extras`, whose "refuse" is now "forbid"."""
    if extras is None:
        return extra
    warnings.warn('`extras` is now `extra`, and its "refuse" is now "forbid".', DeprecationWarning, stacklevel=3)
    return cast("Extra", {"refuse": "forbid"}.get(extras, extras))


def _create_session(content: bytes, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads  # onnxruntime ignores cgroups and OMP_NUM_THREADS
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ArtifactError(f"onnxruntime can't load the model: {error}. Export it again.") from error


def _check_signature(session: Any, width: int) -> None:
    inputs = [(entry.name, entry.type, entry.shape[1:]) for entry in session.get_inputs()]
    outputs = sorted((entry.name, entry.type) for entry in session.get_outputs())
    if inputs != [(INPUT, "tensor(float)", [width])] or outputs != [
        (LABEL, "tensor(int64)"),
        (PROBABILITIES, "tensor(float)"),
    ]:
        raise ArtifactError(
            f"The model must take `{INPUT}` float32 [n, {width}] and return `{LABEL}` int64 and `{PROBABILITIES}` "
            f"float32, and takes {inputs} and returns {outputs}. Export it again."
        )


def _check_sha256(actual: str, expected: str | None, path: Path) -> None:
    if expected is not None and actual != expected.lower():
        raise ArtifactError(
            f"The model at {path} has the SHA-256 {actual}, not {expected}. Don't use it; get it again."
        )


def _parse_list(metadata: dict[str, str], name: str) -> tuple[Any, ...]:
    try:
        return tuple(json.loads(metadata[name]))
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"The model's metadata holds no list of `{name}`, so this project didn't export it. Export it again."
        ) from error


def _abandon_all_sessions() -> None:
    for predictor in list(_instances):
        predictor._abandon_sessions()  # noqa: SLF001 - its own module


os.register_at_fork(after_in_child=_abandon_all_sessions)
