"""The data plane: what is asked of the model and answered by it, whatever transport carries it."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np

from wine_assets.errors import InputError
from wine_assets.inference import features
from wine_assets.inference.batching import AsyncPredictor
from wine_assets.inference.features import Rows
from wine_assets.inference.predictor import INPUT, LABEL, PROBABILITIES, Predictor
from wine_assets.serving.errors import InvalidRequestError, NotFoundError, UnavailableError
from wine_assets.serving.tensors import Tensor, rows_of, shown

OUTPUTS = (LABEL, PROBABILITIES)
SERVER_NAME = "wine-assets"
EXTENSIONS = ("binary_tensor_data",)
PLATFORM = "onnxruntime_onnx"


class Served:
    """A model as it is served: what computes belongs to what it is called, and is swapped together with it."""

    __slots__ = ("batched", "name", "predictor", "sha256", "version")

    def __init__(self, name: str, predictor: Predictor) -> None:
        self.name = name
        self.predictor = predictor
        self.version = str(predictor.version or 0)
        self.sha256 = predictor.sha256
        self.batched = AsyncPredictor(predictor)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the columns of the input, in order."""
        return self.predictor.features

    @property
    def classes(self) -> tuple[int, ...]:
        """The labels, in the order of the columns of the probabilities."""
        return self.predictor.classes


class Request(NamedTuple):
    """An inference request: its inputs, the outputs wanted (none named: all), and the caller's own id for it."""

    inputs: Sequence[Tensor]
    outputs: Sequence[str] = ()
    id: str = ""


class Answer(NamedTuple):
    """What one request is answered: labels int64 [n], probabilities float32 [n, classes], by the model `served`."""

    served: Served
    id: str
    outputs: Sequence[str]
    labels: "np.ndarray[Any, np.dtype[np.int64]]"
    probabilities: Rows

    def values(self, output: str) -> "np.ndarray[Any, Any]":
        """Return the values of one of the `outputs`."""
        return self.labels if output == LABEL else self.probabilities


class TensorMetadata(msgspec.Struct, frozen=True):
    """An input or an output of the model; -1 stands for any number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelParameters(msgspec.Struct, frozen=True):
    """What the protocol has no fields for: the columns of the input, and the labels of the probabilities' columns."""

    features: tuple[str, ...]
    classes: tuple[int, ...]
    family: str
    sha256: str


class ModelMetadata(msgspec.Struct, frozen=True):
    """What a client may know of the model that is served."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: ModelParameters


class Observer(Protocol):
    """Who hears of what happens, and counts it."""

    def answered(self, served: Served, rows: Rows) -> None:
        """Hear that rows were answered by a model."""
        ...

    def failed(self, served: Served | None) -> None:
        """Hear that a request wasn't answered; None when it asked for no model that is served."""
        ...


class DataPlane:
    """The one model that is served, and the answers that it gives; every request sees one model from start to end."""

    def __init__(self, observer: Observer, *, rows_limit: int) -> None:
        self._observer = observer
        self._rows_limit = rows_limit
        self.served: Served | None = None
        """Replaced by one assignment: requests that run keep the one they started with."""
        self.draining = False
        """Whether the server is about to stop: it isn't ready any more, and still answers."""

    @property
    def ready(self) -> bool:
        """Whether a verified and warmed model is there, and the server isn't about to stop."""
        return self.served is not None and not self.draining

    def find(self, name: str, version: str = "") -> Served:
        """Return the model that is served, if it goes by that name and version; "" stands for any version.

        Raise UnavailableError while there is none, NotFoundError for any other.
        """
        served = self.current()
        if name != served.name:
            raise NotFoundError(f"There is no model {shown(name)}. The model served is `{served.name}`.")
        if version not in ("", served.version):
            raise NotFoundError(
                f"`{served.name}` has no version {shown(version)} here. The version served is {served.version}."
            )
        return served

    def current(self) -> Served:
        """Return the model that is served, by whatever name; raise UnavailableError while there is none."""
        if self.served is None:
            raise UnavailableError("No model is loaded. Try again when the server is ready.")
        return self.served

    def metadata(self, name: str, version: str = "") -> ModelMetadata:
        """Return what the model takes and returns; raise as `find` does."""
        return metadata_of(self.find(name, version))

    async def infer(self, name: str, version: str, request: Request) -> Answer:
        """Answer an inference request; raise as `find` does, and InvalidRequestError for what can't be predicted."""
        served = None
        try:
            served = self.find(name, version)
            outputs = _wanted(request.outputs)
            rows = rows_of(request.inputs, served.predictor.features, self._rows_limit)
            labels, probabilities = await served.batched.submit(rows)
        except BaseException:
            self._observer.failed(served)
            raise
        self._observer.answered(served, rows)
        return Answer(served, request.id, outputs, labels, probabilities)

    async def predict(self, rows: Sequence[dict[str, Any]]) -> Answer:
        """Answer rows of values by feature name; raise as `infer` does."""
        served = None
        try:
            served = self.current()
            values = self._named(rows, served)
            labels, probabilities = await served.batched.submit(values)
        except BaseException:
            self._observer.failed(served)
            raise
        self._observer.answered(served, values)
        return Answer(served, "", OUTPUTS, labels, probabilities)

    async def explore(self, rows: Sequence[dict[str, Any]]) -> Answer:
        """Answer rows as `predict` does, of which no figure takes note: they are what a person tries, and no wines."""
        served = self.current()
        labels, probabilities = await served.batched.submit(self._named(rows, served))
        return Answer(served, "", OUTPUTS, labels, probabilities)

    def _named(self, rows: Sequence[dict[str, Any]], served: Served) -> Rows:
        if not 1 <= len(rows) <= self._rows_limit:
            raise InvalidRequestError(f"Send from 1 to {self._rows_limit} rows, got {len(rows)}.")
        try:
            return features.rows_of(rows, served.predictor.features)
        except InputError as error:
            raise InvalidRequestError(str(error)) from None


def metadata_of(served: Served) -> ModelMetadata:
    """Return what a model takes and returns."""
    family = served.predictor.metadata.get("family", "")
    return ModelMetadata(
        name=served.name,
        versions=[served.version],
        platform=PLATFORM,
        inputs=[TensorMetadata(INPUT, "FP32", [-1, len(served.features)])],
        outputs=[
            TensorMetadata(LABEL, "INT64", [-1]),
            TensorMetadata(PROBABILITIES, "FP32", [-1, len(served.classes)]),
        ],
        parameters=ModelParameters(served.features, served.classes, family, served.sha256),
    )


def _wanted(outputs: Sequence[str]) -> Sequence[str]:
    """Return the outputs to send: those that were named, in the order in which they were, or all."""
    if not outputs:
        return OUTPUTS
    for output in outputs:
        if output not in OUTPUTS:
            raise InvalidRequestError(f"There is no output {shown(output)}. The outputs are {', '.join(OUTPUTS)}.")
    if len({*outputs}) < len(outputs):
        raise InvalidRequestError("An output is asked for more than once. Name each output once.")
    return tuple(outputs)
