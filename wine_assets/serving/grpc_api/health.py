"""The health protocol of gRPC itself, which Kubernetes asks."""

from typing import Any

from grpc_health.v1 import health_pb2

from wine_assets.serving.grpc_api import open_inference_pb2 as pb2
from wine_assets.serving.plane import DataPlane
from wine_assets.serving.refusals import NotFoundError

DESCRIPTOR = health_pb2.DESCRIPTOR.services_by_name["Health"]
_INFERENCE: str = pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name


class Health:
    """Says of the server, and of its service, what `ServerReady` says."""

    open = frozenset({"Check"})

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    async def Check(self, request: Any) -> Any:
        """Say whether requests should be sent here."""
        if request.service not in ("", _INFERENCE):
            raise NotFoundError(f"There is no such service. Ask for {_INFERENCE}, or for none.")
        state = health_pb2.HealthCheckResponse
        return state(status=state.SERVING if self._plane.ready else state.NOT_SERVING)
