"""The methods of the Open Inference Protocol over gRPC."""

from wine_assets.serving.data_plane import EXTENSIONS, SERVER_NAME, DataPlane
from wine_assets.serving.errors import NotFoundError, UnavailableError
from wine_assets.serving.grpc import messages
from wine_assets.serving.grpc import open_inference_pb2 as pb2


class InferenceService:
    """Answers calls from the same data plane as the HTTP routes."""

    open_methods = frozenset({"ServerLive", "ServerReady"})
    traced_methods = frozenset({"ModelInfer"})

    def __init__(self, data_plane: DataPlane, *, version: str) -> None:
        self._data_plane, self._version = data_plane, version

    async def ServerLive(self, _: pb2.ServerLiveRequest) -> pb2.ServerLiveResponse:
        """Tell that the process runs, whether or not it is ready."""
        return pb2.ServerLiveResponse(live=True)

    async def ServerReady(self, _: pb2.ServerReadyRequest) -> pb2.ServerReadyResponse:
        """Tell whether clients should send requests."""
        return pb2.ServerReadyResponse(ready=self._data_plane.ready)

    async def ModelReady(self, request: pb2.ModelReadyRequest) -> pb2.ModelReadyResponse:
        """Tell whether a model is ready; an unknown model isn't."""
        try:
            self._data_plane.find(request.name, request.version)
        except (NotFoundError, UnavailableError):
            return pb2.ModelReadyResponse(ready=False)
        return pb2.ModelReadyResponse(ready=self._data_plane.ready)

    async def ServerMetadata(self, _: pb2.ServerMetadataRequest) -> pb2.ServerMetadataResponse:
        """Return the server's name, version and extensions."""
        return pb2.ServerMetadataResponse(name=SERVER_NAME, version=self._version, extensions=EXTENSIONS)

    async def ModelMetadata(self, request: pb2.ModelMetadataRequest) -> pb2.ModelMetadataResponse:
        """Return the model's inputs and outputs."""
        return messages.metadata_of(self._data_plane.metadata(request.name, request.version))

    async def ModelInfer(self, request: pb2.ModelInferRequest) -> pb2.ModelInferResponse:
        """Answer an inference request, with raw bytes if its inputs are raw bytes."""
        decoded = messages.request_of(request)
        result = await self._data_plane.infer(request.model_name, request.model_version, decoded)
        return messages.response_of(result, raw=messages.is_raw(request))
