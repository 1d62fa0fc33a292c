"""The methods of the Open Inference Protocol over gRPC, answered from the data plane that REST is answered from."""

from wine_assets.serving.data_plane import EXTENSIONS, SERVER_NAME, DataPlane
from wine_assets.serving.errors import NotFoundError, UnavailableError
from wine_assets.serving.grpc import messages
from wine_assets.serving.grpc import open_inference_pb2 as pb2


class InferenceService:
    """Says what REST says, in messages, and refuses what it refuses."""

    open = frozenset({"ServerLive", "ServerReady"})
    traced = frozenset({"ModelInfer"})

    def __init__(self, plane: DataPlane, *, version: str) -> None:
        self._plane, self._version = plane, version

    async def ServerLive(self, _: pb2.ServerLiveRequest) -> pb2.ServerLiveResponse:
        """Say that the process answers, whatever else is the matter."""
        return pb2.ServerLiveResponse(live=True)

    async def ServerReady(self, _: pb2.ServerReadyRequest) -> pb2.ServerReadyResponse:
        """Say whether requests should be sent here."""
        return pb2.ServerReadyResponse(ready=self._plane.ready)

    async def ModelReady(self, request: pb2.ModelReadyRequest) -> pb2.ModelReadyResponse:
        """Say whether a model can be asked; one that isn't served here can't."""
        try:
            self._plane.find(request.name, request.version)
        except (NotFoundError, UnavailableError):
            return pb2.ModelReadyResponse(ready=False)
        return pb2.ModelReadyResponse(ready=self._plane.ready)

    async def ServerMetadata(self, _: pb2.ServerMetadataRequest) -> pb2.ServerMetadataResponse:
        """Say what the server is."""
        return pb2.ServerMetadataResponse(name=SERVER_NAME, version=self._version, extensions=EXTENSIONS)

    async def ModelMetadata(self, request: pb2.ModelMetadataRequest) -> pb2.ModelMetadataResponse:
        """Say what the model takes and returns."""
        return messages.metadata_of(self._plane.metadata(request.name, request.version))

    async def ModelInfer(self, request: pb2.ModelInferRequest) -> pb2.ModelInferResponse:
        """Answer an inference request, in bytes where it came in bytes."""
        asked = messages.request_of(request)
        answer = await self._plane.infer(request.model_name, request.model_version, asked)
        return messages.response_of(answer, raw=messages.is_raw(request))
