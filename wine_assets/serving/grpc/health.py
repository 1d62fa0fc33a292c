"""The health checking protocol of gRPC, which Kubernetes and clients use."""

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
_POLL_S = 0.1


class Health:
    """Reports the readiness of the server and of its inference service."""

    open_methods = frozenset({"Check", "Watch"})
    traced_methods: frozenset[str] = frozenset()

    def __init__(self, data_plane: DataPlane) -> None:
        self._data_plane = data_plane
        self._stopping = False
        self._changes: dict[bool, asyncio.Task[None]] = {}

    async def Check(self, request: Any) -> Any:
        """Return the current status."""
        status = _status(request.service, ready=self._data_plane.ready)
        if status == _Status.SERVICE_UNKNOWN:
            raise NotFoundError(f"There is no such service. Ask for {_INFERENCE}, or for none.")
        return _Status(status=status)

    async def Watch(self, request: Any) -> AsyncGenerator[Any]:
        """Yield the current status, and each change of it, until the server stops."""
        last_status = None
        while True:
            ready = self._data_plane.ready
            status = _status(request.service, ready=ready)
            if status != last_status:
                last_status = status
                yield _Status(status=status)
            elif self._stopping:
                raise UnavailableError("The server stops. Watch another one.")
            else:
                await self._wait_for_change(ready=ready)

    def stop(self) -> None:
        """End the calls of `Watch` after the last change."""
        self._stopping = True

    async def _wait_for_change(self, *, ready: bool) -> None:
        """Wait until the readiness changes; one task polls for all watchers."""
        change = self._changes.get(ready)
        if change is None or change.done():
            change = self._changes[ready] = asyncio.create_task(self._poll(ready=ready))
        await asyncio.shield(change)

    async def _poll(self, *, ready: bool) -> None:
        while self._data_plane.ready is ready and not self._stopping:  # noqa: ASYNC110 - the data plane has no events
            await asyncio.sleep(_POLL_S)


def _status(service: str, *, ready: bool) -> Any:
    if service not in ("", _INFERENCE):
        return _Status.SERVICE_UNKNOWN
    return _Status.SERVING if ready else _Status.NOT_SERVING
