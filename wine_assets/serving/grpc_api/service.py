"""The methods of the Open Inference Protocol over gRPC, answered from the data plane that REST is answered from."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from wine_assets.serving.bearer import Bearer
from wine_assets.serving.grpc_api import messages, open_inference_pb2_grpc
from wine_assets.serving.grpc_api import open_inference_pb2 as pb2
from wine_assets.serving.logs import LOGGER
from wine_assets.serving.plane import EXTENSIONS, SERVER_NAME, DataPlane
from wine_assets.serving.refusals import (
    InvalidRequestError,
    NotFoundError,
    RefusalError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
)

T = TypeVar("T")
SERVICE = "inference.GRPCInferenceService"
CODES: dict[type[RefusalError], grpc.StatusCode] = {
    InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    TooLargeError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnauthorizedError: grpc.StatusCode.UNAUTHENTICATED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
}


class InferenceService(open_inference_pb2_grpc.GRPCInferenceServiceServicer):
    """Says what REST says, in messages; a refusal is a status with the same sentence."""

    def __init__(self, plane: DataPlane, *, version: str, bearer: Bearer | None) -> None:
        self._plane, self._version, self._bearer = plane, version, bearer

    async def ServerLive(self, request: Any, context: Any) -> pb2.ServerLiveResponse:
        """Say that the process answers, whatever else is the matter."""
        return pb2.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> pb2.ServerReadyResponse:
        """Say whether requests should be sent here."""
        return pb2.ServerReadyResponse(ready=self._plane.ready)

    async def ModelReady(self, request: pb2.ModelReadyRequest, context: Any) -> pb2.ModelReadyResponse:
        """Say whether a model can be asked; one that isn't served here can't."""

        async def answer() -> pb2.ModelReadyResponse:
            try:
                self._plane.find(request.name, request.version)
            except (NotFoundError, UnavailableError):
                return pb2.ModelReadyResponse(ready=False)
            return pb2.ModelReadyResponse(ready=self._plane.ready)

        return await self._answered(context, answer)

    async def ServerMetadata(self, request: Any, context: Any) -> pb2.ServerMetadataResponse:
        """Say what the server is."""

        async def answer() -> pb2.ServerMetadataResponse:
            return pb2.ServerMetadataResponse(name=SERVER_NAME, version=self._version, extensions=EXTENSIONS)

        return await self._answered(context, answer)

    async def ModelMetadata(self, request: pb2.ModelMetadataRequest, context: Any) -> pb2.ModelMetadataResponse:
        """Say what the model takes and returns."""

        async def answer() -> pb2.ModelMetadataResponse:
            return messages.metadata_of(self._plane.metadata(request.name, request.version))

        return await self._answered(context, answer)

    async def ModelInfer(self, request: pb2.ModelInferRequest, context: Any) -> pb2.ModelInferResponse:
        """Answer an inference request, in bytes where it came in bytes."""

        async def answer() -> pb2.ModelInferResponse:
            asked = messages.request_of(request)
            given = await self._plane.infer(request.model_name, request.model_version, asked)
            return messages.response_of(given, raw=messages.is_raw(request))

        return await self._answered(context, answer)

    async def _answered(self, context: Any, answer: Callable[[], Awaitable[T]]) -> T:
        """Return the answer, or end the call with the status of what kept it from being given."""
        try:
            if self._bearer is not None:
                self._bearer.check(_authorization(context))
            return await answer()
        except RefusalError as error:
            code, sentence = CODES.get(type(error), grpc.StatusCode.UNAVAILABLE), str(error)
        except Exception:
            logging.getLogger(LOGGER).exception("A gRPC call failed.")
            code, sentence = grpc.StatusCode.UNAVAILABLE, "The server couldn't answer this request. Its log says why."
        return await context.abort(code, sentence)  # type: ignore[no-any-return]


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """The health protocol of gRPC itself, which Kubernetes asks."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    async def Check(self, request: Any, context: Any) -> Any:
        """Say whether requests should be sent here."""
        if request.service not in ("", SERVICE):
            await context.abort(grpc.StatusCode.NOT_FOUND, f"There is no such service. Ask for {SERVICE}, or for none.")
        state = health_pb2.HealthCheckResponse
        return state(status=state.SERVING if self._plane.ready else state.NOT_SERVING)


def _authorization(context: Any) -> bytes | None:
    found = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
    return str(found[0]).encode() if found else None
