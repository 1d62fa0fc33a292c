"""A verified ONNX model in memory, ready to answer."""

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
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast, get_args

# Unless the user wants it: onnxruntime reports its use to its maker, from a thread that a forked process would wait for
# forever when it ends.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnxruntime

from wine_assets.errors import ArtifactError, InputError, RepositoryError
from wine_assets.files import sha256_of_bytes
from wine_assets.inference import features
from wine_assets.inference.features import Extra, Rows
from wine_assets.inference.graphs import with_output
from wine_assets.inference.manifest import Manifest

if TYPE_CHECKING:
    from wine_assets.inference.repository import StoredModel

INPUT = "features"
LABEL = "label"
PROBABILITIES = "probabilities"
THREAD_INVARIANT_FAMILIES = frozenset({"logistic_regression"})
"""Families whose graphs give a row the same bits with any number of threads, where no manifest says so."""
LARGE_BATCH = 1024
"""Rows from which on it pays to compute nothing but the output that was asked for."""
_FATAL_ONLY = 4
_PLAIN_NUMBERS = frozenset({float, int})
_alive: "weakref.WeakSet[Predictor]" = weakref.WeakSet()


class Prediction(NamedTuple):
    """The answer for one row: its label, and the probability of each class in order."""

    label: int
    probabilities: tuple[float, ...]


class Predictor:
    """Answers with labels and probabilities; safe to use from many threads, from asyncio, and after a fork.

    The session is made from bytes, never from a path: external data and links are thereby refused.
    """

    def __init__(  # noqa: PLR0913  # one too many until `extras` goes
        self,
        content: bytes,
        *,
        manifest: Manifest | None = None,
        version: int | None = None,
        threads: int = 1,
        extra: Extra = "forbid",
        extras: str | None = None,
    ) -> None:
        """Make a session of a serialized model; raise ArtifactError for what is no model of this project.

        `threads` compute one batch together; a family whose bits depend on their number gets one. Raise InputError
        for a number of threads or a choice of `extra` that makes no sense. `extras` is the deprecated name of `extra`.
        """
        extra = _renamed(extra, extras)
        _check_options(threads, extra)
        self._content = content
        self._session: Any = _session(content, 1)
        self._reduced: dict[str, Any] = {}
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.features: tuple[str, ...] = _listed(self.metadata, "features")
        self.classes: tuple[int, ...] = _listed(self.metadata, "classes")
        self.manifest, self.version, self.extra = manifest, version, extra
        self.sha256 = sha256_of_bytes(content)
        self.verified = False
        """Whether a checksum from outside of the model's own files vouches for it."""
        self.threads = threads if self._is_thread_invariant() else 1
        _check_signature(self._session, len(self.features))
        if self.threads > 1:
            self._session = _session(content, self.threads)
        self._pick: Callable[[Any], Any] = operator.itemgetter(*self.features)
        self._one = (1, len(self.features))
        self._local = threading.local()
        _alive.add(self)

    @classmethod
    def load(  # noqa: PLR0913  # one too many until `extras` goes
        cls,
        path: Path | str,
        *,
        version: int | None = None,
        expected_sha256: str | None = None,
        threads: int = 1,
        extra: Extra = "forbid",
        extras: str | None = None,
    ) -> Self:
        """Load a repository's champion, or its `version`, or a lone model file, and have it answer once.

        Each file is read once, and its checksum compared before its bytes are used. A lone file is `verified` only by
        an `expected_sha256`. Raise ArtifactError for what is missing, damaged, or answers otherwise than it did when
        it was published, and RepositoryError for a version that isn't there.
        """
        from wine_assets.inference.repository import ModelRepository  # which publishes what a predictor has checked

        path, extra = Path(path), _renamed(extra, extras)
        if path.is_dir():
            predictor = cls.of(ModelRepository(path).read(version), threads=threads, extra=extra)
            _check_sha256(predictor.sha256, expected_sha256, path)
            predictor.verified = predictor.verified or expected_sha256 is not None
            return predictor
        if version is not None:
            raise RepositoryError(f"{path} is no folder with versions. Give the repository's folder, or no version.")
        content = _read(path)
        _check_sha256(sha256_of_bytes(content), expected_sha256, path)
        predictor = cls(content, threads=threads, extra=extra)
        predictor.verified = expected_sha256 is not None
        predictor.warm()
        return predictor

    @classmethod
    def of(cls, stored: "StoredModel", *, threads: int = 1, extra: Extra = "forbid", extras: str | None = None) -> Self:
        """Load what a repository read, and raise ArtifactError unless it answers its samples as it did before."""
        predictor = cls(
            stored.model,
            manifest=stored.manifest,
            version=stored.version,
            threads=threads,
            extra=_renamed(extra, extras),
        )
        predictor.check_samples(stored.manifest)
        predictor.verified = stored.authenticated
        return predictor

    def predict_proba(self, rows: Any) -> Rows:
        """Return the probabilities, float32 [n, classes], of rows as `features.rows_of` takes them."""
        if type(rows) is np.ndarray and rows.shape == self._one and rows.dtype == np.float32:
            return self._answered(rows).probabilities.copy()
        return self._alone(PROBABILITIES, features.rows_of(rows, self.features, self.extra))  # type: ignore[no-any-return]

    def predict(self, rows: Any) -> "np.ndarray[Any, np.dtype[np.int64]]":
        """Return the labels, int64 [n], of rows as `features.rows_of` takes them."""
        return self._alone(LABEL, features.rows_of(rows, self.features, self.extra))  # type: ignore[no-any-return]

    def predict_both(self, rows: Any) -> "tuple[np.ndarray[Any, np.dtype[np.int64]], Rows]":
        """Return labels, int64 [n], and probabilities, float32 [n, classes], of one run."""
        if type(rows) is np.ndarray and rows.shape == self._one and rows.dtype == np.float32:
            bound = self._answered(rows)
            return bound.label.copy(), bound.probabilities.copy()
        return self.answer(features.rows_of(rows, self.features, self.extra))

    def answer(self, rows: Rows) -> "tuple[np.ndarray[Any, np.dtype[np.int64]], Rows]":
        """Return labels and probabilities as `predict_both` does, of rows that `features.rows_of` returned."""
        if rows.shape == self._one:
            bound = self._bound()
            bound.row[...] = rows
            bound.run()
            return bound.label.copy(), bound.probabilities.copy()
        labels, probabilities = self._run([LABEL, PROBABILITIES], rows)
        return labels, probabilities

    def predict_one(self, /, **values: float) -> Prediction:
        """Return the answer for one row of values by feature name; raise InputError for any that can't be used."""
        bound = self._bound()
        try:
            bound.pack(bound.memory, 0, *self._row(values))
        except (OverflowError, struct.error):
            bound.pack(bound.memory, 0, *self._checked_row(values))
        bound.run()
        return Prediction(bound.label.item(), tuple(bound.probabilities.tolist()[0]))

    def warm(self) -> None:
        """Answer one row of zeros; raise ArtifactError when that fails or isn't finite."""
        try:
            answer = self.predict_proba(np.zeros(self._one, dtype=np.float32))
        except Exception as error:
            raise ArtifactError(f"The model can't answer a row of zeros ({error}). Export it again.") from error
        if answer.shape != (1, len(self.classes)) or not np.isfinite(answer).all():
            raise ArtifactError("The model answers a row of zeros with no probabilities. Export it again.")

    def check_samples(self, manifest: Manifest) -> None:
        """Raise ArtifactError unless the model is the one that `manifest` is about, and answers its samples as then."""
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
            close = np.abs(probabilities - expected).max() <= content.parity.tolerance  # False for NaN
        except Exception as error:
            raise ArtifactError(f"The model can't answer the samples of its manifest ({error}).") from error
        if labels.tolist() != list(samples.labels) or not close:
            raise ArtifactError(
                "The model doesn't answer the samples of its manifest as it did when it was published. "
                "Publish it again, with the onnxruntime that is to serve it."
            )

    def _is_thread_invariant(self) -> bool:
        if self.manifest is not None:
            return self.manifest.content.parity.batch_invariant
        return self.metadata.get("family") in THREAD_INVARIANT_FAMILIES

    def _row(self, values: dict[str, Any]) -> Any:
        """Return the values in the features' order, checked in the quick way where they are plain numbers."""
        try:
            row = self._pick(values) if len(self.features) > 1 else (self._pick(values),)
            if len(values) == len(row) and _PLAIN_NUMBERS.issuperset(map(type, row)) and math.isfinite(sum(row)):
                return row
        except (KeyError, OverflowError):
            pass
        return self._checked_row(values)

    def _checked_row(self, values: dict[str, Any]) -> list[float]:
        features.check_names(values.keys(), self.features, self.extra)
        return [features.number(values[name], name) for name in self.features]

    def _answered(self, row: Rows) -> "_OneRow":
        bound = self._bound()
        bound.row[...] = row
        if not math.isfinite(sum(bound.flat.tolist())):
            features.finite(row, self.features)
        bound.run()
        return bound

    def _bound(self) -> "_OneRow":
        try:
            return self._local.bound  # type: ignore[no-any-return]
        except AttributeError:
            bound = self._local.bound = _OneRow(self._current_session(), len(self.features), len(self.classes))
            return bound

    def _alone(self, output: str, rows: Rows) -> Any:
        """Return one output; a large batch is worth a session that computes nothing else."""
        if len(rows) < LARGE_BATCH:
            return self._run([output], rows)[0]
        session = self._reduced.get(output)
        if session is None:
            session = self._reduced[output] = _session(with_output(self._content, output), self.threads)
        return session.run([output], {INPUT: rows})[0]

    def _run(self, outputs: list[str], rows: Rows) -> Any:
        return self._current_session().run(outputs, {INPUT: rows})

    def _current_session(self) -> Any:
        if self._session is None:  # in a forked child, whose parent's threads are not there
            self._session = _session(self._content, self.threads)
        return self._session

    def _start_anew(self) -> None:
        """Forget the session of the process that this one was forked from, without waiting for its threads to end."""
        for abandoned in (self._session, self._reduced, self._local):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(abandoned))
        self._session, self._reduced, self._local = None, {}, threading.local()


class _OneRow:
    """The buffers that one thread's single rows go through: bound to the session once, filled again and again."""

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


def _renamed(extra: Extra, extras: str | None) -> Extra:
    """Return `extra`, or the value of its deprecated name `extras`, whose "refuse" is now "forbid"."""
    if extras is None:
        return extra
    warnings.warn('`extras` is now `extra`, and its "refuse" is now "forbid".', DeprecationWarning, stacklevel=3)
    return cast("Extra", {"refuse": "forbid"}.get(extras, extras))


def _check_options(threads: int, extra: str) -> None:
    if type(threads) is not int or threads < 1:
        raise InputError(f"`threads` must be a whole number of at least 1, got {threads!r}.")
    if extra not in get_args(Extra):
        raise InputError(f'`extra` must be "forbid" or "ignore", got {extra!r}.')


def _session(content: bytes, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads  # onnxruntime knows nothing of cgroups and OMP_NUM_THREADS
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


def _check_sha256(found: str, expected: str | None, path: Path) -> None:
    if expected is not None and found != expected.lower():
        raise ArtifactError(f"The model at {path} has the SHA-256 {found}, not {expected}. Don't use it; get it again.")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"There is no model to read at {path}: {error.strerror}.") from error


def _listed(metadata: dict[str, str], name: str) -> tuple[Any, ...]:
    try:
        return tuple(json.loads(metadata[name]))
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"The model's metadata holds no list of `{name}`, so this project didn't export it. Export it again."
        ) from error


def _start_all_anew() -> None:
    for predictor in list(_alive):
        predictor._start_anew()  # noqa: SLF001 - its own module


os.register_at_fork(after_in_child=_start_all_anew)
