"""The data plane: requests to the model and its results, independent of the transport."""

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
from wine_assets.serving.tensors import Tensor, quote, rows_of

OUTPUTS = (LABEL, PROBABILITIES)
SERVER_NAME = "wine-assets"
EXTENSIONS = ("binary_tensor_data",)
PLATFORM = "onnxruntime_onnx"


class LoadedModel:
    """A model with its name and version, which are swapped together."""

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
    """An inference request: its inputs, the requested outputs (none: all), and the client's id for it."""

    inputs: Sequence[Tensor]
    outputs: Sequence[str] = ()
    id: str = ""


class InferenceResult(NamedTuple):
    """The result of a request: labels int64 [n] and probabilities float32 [n, classes], and the model they are from."""

    model: LoadedModel
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
    """Extensions of the protocol: the columns of the input, and the labels of the probabilities' columns."""

    features: tuple[str, ...]
    classes: tuple[int, ...]
    family: str
    sha256: str


class ModelMetadata(msgspec.Struct, frozen=True):
    """The public description of the loaded model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: ModelParameters


class Observer(Protocol):
    """Counts requests."""

    def count_success(self, model: LoadedModel, rows: Rows) -> None:
        """Count a request that a model answered."""
        ...

    def count_failure(self, model: LoadedModel | None) -> None:
        """Count a request that failed; `model` is None if the request named no loaded model."""
        ...


class DataPlane:
    """The loaded model and its predictions; a request uses one model from start to end."""

    def __init__(self, observer: Observer, *, rows_limit: int) -> None:
        self._observer = observer
        self._rows_limit = rows_limit
        self.model: LoadedModel | None = None
        """Replaced by one assignment; running requests keep the model they started with."""
        self.draining = False
        """Whether the server will stop soon: it isn't ready any more, but still answers."""

    @property
    def ready(self) -> bool:
        """Whether a verified model is loaded, and the server isn't draining."""
        return self.model is not None and not self.draining

    def find(self, name: str, version: str = "") -> LoadedModel:
        """Return the loaded model if it has that name and version; "" stands for any version.

        Raise UnavailableError if no model is loaded, NotFoundError for any other name or version.
        """
        model = self.current()
        if name != model.name:
            raise NotFoundError(f"There is no model {quote(name)}. The model served is `{model.name}`.")
        if version not in ("", model.version):
            raise NotFoundError(
                f"`{model.name}` has no version {quote(version)} here. The version served is {model.version}."
            )
        return model

    def current(self) -> LoadedModel:
        """Return the loaded model; raise UnavailableError if there is none."""
        if self.model is None:
            raise UnavailableError("No model is loaded. Try again when the server is ready.")
        return self.model

    def metadata(self, name: str, version: str = "") -> ModelMetadata:
        """Return the inputs and outputs of the model; raise as `find` does."""
        return metadata_of(self.find(name, version))

    async def infer(self, name: str, version: str, request: Request) -> InferenceResult:
        """Return the result of a request; raise as `find` does, and InvalidRequestError for an invalid request."""
        model = None
        try:
            model = self.find(name, version)
            outputs = _check_outputs(request.outputs)
            rows = rows_of(request.inputs, model.predictor.features, self._rows_limit)
            labels, probabilities = await model.batched.submit(rows)
        except BaseException:
            self._observer.count_failure(model)
            raise
        self._observer.count_success(model, rows)
        return InferenceResult(model, request.id, outputs, labels, probabilities)

    async def predict(self, rows: Sequence[dict[str, Any]]) -> InferenceResult:
        """Return the result for rows of values by feature name; raise as `infer` does."""
        model = None
        try:
            model = self.current()
            values = self._rows_of(rows, model)
            labels, probabilities = await model.batched.submit(values)
        except BaseException:
            self._observer.count_failure(model)
            raise
        self._observer.count_success(model, values)
        return InferenceResult(model, "", OUTPUTS, labels, probabilities)

    async def predict_unobserved(self, rows: Sequence[dict[str, Any]]) -> InferenceResult:
        """Return the result as `predict` does, but count it in no metric: the rows are invented."""
        model = self.current()
        labels, probabilities = await model.batched.submit(self._rows_of(rows, model))
        return InferenceResult(model, "", OUTPUTS, labels, probabilities)

    def _rows_of(self, rows: Sequence[dict[str, Any]], model: LoadedModel) -> Rows:
        if not 1 <= len(rows) <= self._rows_limit:
            raise InvalidRequestError(f"Send from 1 to {self._rows_limit} rows, got {len(rows)}.")
        try:
            return features.rows_of(rows, model.predictor.features)
        except InputError as error:
            raise InvalidRequestError(str(error)) from None


def metadata_of(model: LoadedModel) -> ModelMetadata:
    """Return the inputs and outputs of a model."""
    family = model.predictor.metadata.get("family", "")
    return ModelMetadata(
        name=model.name,
        versions=[model.version],
        platform=PLATFORM,
        inputs=[TensorMetadata(INPUT, "FP32", [-1, len(model.features)])],
        outputs=[
            TensorMetadata(LABEL, "INT64", [-1]),
            TensorMetadata(PROBABILITIES, "FP32", [-1, len(model.classes)]),
        ],
        parameters=ModelParameters(model.features, model.classes, family, model.sha256),
    )


def _check_outputs(outputs: Sequence[str]) -> Sequence[str]:
    """Return the requested outputs in their order, or all if none is requested."""
    if not outputs:
        return OUTPUTS
    for output in outputs:
        if output not in OUTPUTS:
            raise InvalidRequestError(f"There is no output {quote(output)}. The outputs are {', '.join(OUTPUTS)}.")
    if len({*outputs}) < len(outputs):
        raise InvalidRequestError("An output is asked for more than once. Name each output once.")
    return tuple(outputs)
