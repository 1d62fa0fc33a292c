"""The health protocol of gRPC itself, which Kubernetes asks, and clients watch."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from grpc_health.v1 import health_pb2

from wine_assets.serving.grpc_api import open_inference_pb2 as pb2
from wine_assets.serving.plane import DataPlane
from wine_assets.serving.refusals import NotFoundError, UnavailableError

DESCRIPTOR = health_pb2.DESCRIPTOR.services_by_name["Health"]
_INFERENCE: str = pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
_Status = health_pb2.HealthCheckResponse
_LOOK_S = 0.1


class Health:
    """Says of the server, and of its service, what `ServerReady` says."""

    open = frozenset({"Check", "Watch"})
    traced: frozenset[str] = frozenset()

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._stopping = False
        self._change: asyncio.Task[None] | None = None

    async def Check(self, request: Any) -> Any:
        """Say whether requests should be sent here."""
        status = self._status(request.service)
        if status == _Status.SERVICE_UNKNOWN:
            raise NotFoundError(f"There is no such service. Ask for {_INFERENCE}, or for none.")
        return _Status(status=status)

    async def Watch(self, request: Any) -> AsyncGenerator[Any]:
        """Say it now, and again whenever it has changed, until the server stops."""
        said = None
        while True:
            status = self._status(request.service)
            if status != said:
                said = status
                yield _Status(status=status)
            elif self._stopping:
                raise UnavailableError("The server stops. Watch another one.")
            else:
                await self._changed()

    def stop(self) -> None:
        """Let those who watch know the last change, and send them away."""
        self._stopping = True

    def _status(self, service: str) -> Any:
        if service not in ("", _INFERENCE):
            return _Status.SERVICE_UNKNOWN
        return _Status.SERVING if self._plane.ready else _Status.NOT_SERVING

    async def _changed(self) -> None:
        """Wait for a change; one task looks for it, however many wait."""
        if self._change is None or self._change.done():
            self._change = asyncio.create_task(self._look())
        await asyncio.shield(self._change)

    async def _look(self) -> None:
        was = self._plane.ready
        while self._plane.ready is was and not self._stopping:  # noqa: ASYNC110  the plane tells nobody
            await asyncio.sleep(_LOOK_S)
