"""The health protocol of gRPC itself, which Kubernetes asks, and clients watch."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from grpc_health.v1 import health_pb2

from wine_assets.serving.data_plane import DataPlane
from wine_assets.serving.errors import NotFoundError, UnavailableError
from wine_assets.serving.grpc import open_inference_pb2 as pb2

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
        self._changes: dict[bool, asyncio.Task[None]] = {}

    async def Check(self, request: Any) -> Any:
        """Say whether requests should be sent here."""
        status = _status(request.service, ready=self._plane.ready)
        if status == _Status.SERVICE_UNKNOWN:
            raise NotFoundError(f"There is no such service. Ask for {_INFERENCE}, or for none.")
        return _Status(status=status)

    async def Watch(self, request: Any) -> AsyncGenerator[Any]:
        """Say it now, and again whenever it has changed, until the server stops."""
        said = None
        while True:
            ready = self._plane.ready
            status = _status(request.service, ready=ready)
            if status != said:
                said = status
                yield _Status(status=status)
            elif self._stopping:
                raise UnavailableError("The server stops. Watch another one.")
            else:
                await self._changed(since=ready)

    def stop(self) -> None:
        """Let those who watch know the last change, and send them away."""
        self._stopping = True

    async def _changed(self, *, since: bool) -> None:
        """Wait until the readiness differs from what it was; one task looks for that, however many wait."""
        change = self._changes.get(since)
        if change is None or change.done():
            change = self._changes[since] = asyncio.create_task(self._look(since=since))
        await asyncio.shield(change)

    async def _look(self, *, since: bool) -> None:
        while self._plane.ready is since and not self._stopping:  # noqa: ASYNC110  the plane tells nobody
            await asyncio.sleep(_LOOK_S)


def _status(service: str, *, ready: bool) -> Any:
    if service not in ("", _INFERENCE):
        return _Status.SERVICE_UNKNOWN
    return _Status.SERVING if ready else _Status.NOT_SERVING
