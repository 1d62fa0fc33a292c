"""The gRPC server, which shares the event loop of the HTTP server."""

import importlib.metadata
import logging
from typing import Any

import grpc
from prometheus_client import CollectorRegistry

from wine_assets.errors import SettingsError
from wine_assets.serving.auth import BearerToken
from wine_assets.serving.data_plane import SERVER_NAME, DataPlane
from wine_assets.serving.grpc import open_inference_pb2 as pb2
from wine_assets.serving.grpc.calls import Calls, Options
from wine_assets.serving.grpc.health import DESCRIPTOR as HEALTH_DESCRIPTOR
from wine_assets.serving.grpc.health import Health
from wine_assets.serving.grpc.metrics import GrpcMetrics
from wine_assets.serving.grpc.service import InferenceService
from wine_assets.serving.observability.logs import log
from wine_assets.serving.observability.telemetry import Tracing
from wine_assets.serving.settings import ServeSettings

_METADATA_BYTES = 16 << 10


class GrpcServer:
    """A running gRPC server."""

    def __init__(self, server: Any, health: Health) -> None:
        self._server, self._health = server, health

    async def stop(self, seconds: float) -> None:
        """Accept no more calls, end those of `Watch`, and let the others finish within some seconds."""
        self._health.stop()
        await self._server.stop(seconds)


async def start(
    data_plane: DataPlane, settings: ServeSettings, registry: CollectorRegistry, tracing: Tracing | None
) -> GrpcServer:
    """Listen and return the server; workers share the port.

    Raise SettingsError if the port can't be bound.
    """
    logging.getLogger("grpc").setLevel(logging.CRITICAL)  # clients that disconnect could fill a disk with its errors
    server = grpc.aio.server(options=_channel_options(settings))
    token = BearerToken.of(settings.token_file)
    options = Options(settings.connections, settings.body_deadline_s, token, tracing, settings.access_log)
    calls, health = Calls(GrpcMetrics(registry), options), Health(data_plane)
    inference = InferenceService(data_plane, version=importlib.metadata.version(SERVER_NAME))
    calls.add(pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"], inference, server)
    calls.add(HEALTH_DESCRIPTOR, health, server)
    calls.add_fallback(server)
    address = _address(settings.host, settings.grpc_port)
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise SettingsError(
            f"gRPC can't listen on {address}: it is in use, or not this machine's. "
            "Give another --grpc-port, or 0 for none."
        ) from error
    await server.start()
    log(logging.INFO, "Listening for gRPC.", address=address)
    return GrpcServer(server, health)


def _channel_options(settings: ServeSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.body_limit_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", _METADATA_BYTES),
        ("grpc.max_allowed_incoming_connections", settings.connections),
        ("grpc.max_connection_idle_ms", round(settings.idle_s * 1000)),
        ("grpc.keepalive_time_ms", round(settings.idle_s * 1000)),  # finds watchers whose connection broke
        ("grpc.http2.ping_timeout_ms", round(settings.header_deadline_s * 1000)),
        ("grpc.http2.max_pings_without_data", 0),  # no limit
        ("grpc.server_handshake_timeout_ms", round(settings.header_deadline_s * 1000)),
        ("grpc.so_reuseport", int(settings.workers > 1)),
    ]


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
