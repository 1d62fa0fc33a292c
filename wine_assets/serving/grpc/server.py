"""The gRPC server that runs beside the HTTP one, in the same event loop."""

import importlib.metadata
import logging
from typing import Any

import grpc
from prometheus_client import CollectorRegistry

from wine_assets.errors import SettingsError
from wine_assets.serving.auth import Bearer
from wine_assets.serving.data_plane import SERVER_NAME, DataPlane
from wine_assets.serving.grpc import health
from wine_assets.serving.grpc import open_inference_pb2 as pb2
from wine_assets.serving.grpc.calls import Calls, Options
from wine_assets.serving.grpc.health import Health
from wine_assets.serving.grpc.metrics import Figures
from wine_assets.serving.grpc.service import InferenceService
from wine_assets.serving.observability.logs import log
from wine_assets.serving.observability.telemetry import Tracing
from wine_assets.serving.settings import ServeSettings

_METADATA_BYTES = 16 << 10


class GrpcServer:
    """The server while it listens."""

    def __init__(self, server: Any, watched: Health) -> None:
        self._server, self._watched = server, watched

    async def stop(self, seconds: float) -> None:
        """Take no more calls, send those away who watch, and give the others that have begun some seconds to end."""
        self._watched.stop()
        await self._server.stop(seconds)


async def start(
    plane: DataPlane, settings: ServeSettings, registry: CollectorRegistry, tracing: Tracing | None
) -> GrpcServer:
    """Start to listen and return the server.

    Raise SettingsError when the port can't be listened on. Workers share it.
    """
    logging.getLogger("grpc").setLevel(logging.CRITICAL)  # clients that go away could fill a disk with its errors
    server = grpc.aio.server(options=_options(settings))
    bearer = Bearer.of(settings.token_file)
    options = Options(settings.connections, settings.body_deadline_s, bearer, tracing, settings.access_log)
    calls, watched = Calls(Figures(registry), options), Health(plane)
    inference = InferenceService(plane, version=importlib.metadata.version(SERVER_NAME))
    calls.add(pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"], inference, server)
    calls.add(health.DESCRIPTOR, watched, server)
    calls.refuse_others(server)
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
    return GrpcServer(server, watched)


def _options(settings: ServeSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.body_limit_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", _METADATA_BYTES),
        ("grpc.max_allowed_incoming_connections", settings.connections),
        ("grpc.max_connection_idle_ms", round(settings.idle_s * 1000)),
        ("grpc.keepalive_time_ms", round(settings.idle_s * 1000)),  # or who watches and is gone would never be missed
        ("grpc.http2.ping_timeout_ms", round(settings.header_deadline_s * 1000)),
        ("grpc.http2.max_pings_without_data", 0),  # for any number of them
        ("grpc.server_handshake_timeout_ms", round(settings.header_deadline_s * 1000)),
        ("grpc.so_reuseport", int(settings.workers > 1)),
    ]


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
