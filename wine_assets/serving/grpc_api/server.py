"""The gRPC server that runs beside the HTTP one, in the same event loop."""

import importlib.metadata
import logging
from typing import Any

import grpc
from prometheus_client import CollectorRegistry

from wine_assets.errors import SettingsError
from wine_assets.serving.bearer import Bearer
from wine_assets.serving.grpc_api import health
from wine_assets.serving.grpc_api import open_inference_pb2 as pb2
from wine_assets.serving.grpc_api.calls import Calls
from wine_assets.serving.grpc_api.figures import Figures
from wine_assets.serving.grpc_api.health import Health
from wine_assets.serving.grpc_api.service import InferenceService
from wine_assets.serving.logs import log
from wine_assets.serving.plane import SERVER_NAME, DataPlane
from wine_assets.serving.settings import ServeSettings

_METADATA_BYTES = 16 << 10


async def start(plane: DataPlane, settings: ServeSettings, registry: CollectorRegistry) -> Any:
    """Start to listen and return the server, whose `stop(seconds)` lets calls that have begun end.

    Raise SettingsError when the port can't be listened on. Workers share it.
    """
    logging.getLogger("grpc").setLevel(logging.CRITICAL)  # clients that go away could fill a disk with its errors
    server = grpc.aio.server(options=_options(settings), maximum_concurrent_rpcs=settings.connections)
    calls = Calls(
        Figures(registry),
        bearer=Bearer.of(settings.token_file),
        deadline_s=settings.body_deadline_s,
        access_log=settings.access_log,
    )
    inference = InferenceService(plane, version=importlib.metadata.version(SERVER_NAME))
    calls.add(pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"], inference, server)
    calls.add(health.DESCRIPTOR, Health(plane), server)
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
    return server


def _options(settings: ServeSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.body_limit_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", _METADATA_BYTES),
        ("grpc.max_allowed_incoming_connections", settings.connections),
        ("grpc.max_connection_idle_ms", round(settings.idle_s * 1000)),
        ("grpc.server_handshake_timeout_ms", round(settings.header_deadline_s * 1000)),
        ("grpc.so_reuseport", int(settings.workers > 1)),
    ]


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
