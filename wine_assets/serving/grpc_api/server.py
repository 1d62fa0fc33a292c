"""The gRPC server that runs beside the HTTP one, in the same event loop."""

import importlib.metadata
import logging
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc

from wine_assets.errors import SettingsError
from wine_assets.serving.bearer import Bearer
from wine_assets.serving.grpc_api import open_inference_pb2_grpc
from wine_assets.serving.grpc_api.service import Health, InferenceService
from wine_assets.serving.logs import log
from wine_assets.serving.plane import DataPlane
from wine_assets.serving.settings import ServeSettings

_METADATA_BYTES = 16 << 10


async def start(plane: DataPlane, settings: ServeSettings) -> Any:
    """Start to listen and return the server, whose `stop(seconds)` lets calls that have begun end.

    Raise SettingsError when the port can't be listened on. Workers share it.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", settings.body_limit_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", _METADATA_BYTES),
            ("grpc.so_reuseport", int(settings.workers > 1)),
        ],
        maximum_concurrent_rpcs=settings.connections,
    )
    version = importlib.metadata.version("wine-assets")
    service = InferenceService(plane, version=version, bearer=Bearer.of(settings.token_file))
    open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    health_pb2_grpc.add_HealthServicer_to_server(Health(plane), server)
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


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
