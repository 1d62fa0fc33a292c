"""The listening socket of the server."""

import socket

from wine_assets.errors import SettingsError
from wine_assets.serving.settings import ServeSettings

_BACKLOG = 2048


def require_free(settings: ServeSettings) -> None:
    """Raise SettingsError if the port for gRPC is in use; workers can't tell, as they bind it with SO_REUSEPORT."""
    if not settings.grpc_port:
        return
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            settings.host, settings.grpc_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, number) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise SettingsError(
            f"gRPC can't listen on {settings.host} port {settings.grpc_port}: {error.strerror}. "
            "Give another --grpc-port, or 0 for none."
        ) from error


def listening_socket(settings: ServeSettings) -> socket.socket:
    """Return a socket bound to the address of the settings; raise SettingsError if it can't be bound."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, number)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise SettingsError(
            f"The server can't listen on {settings.host} port {settings.port}: {error.strerror}. "
            "Stop what listens there, or choose another --host or --port."
        ) from error
    bound.listen(_BACKLOG)
    bound.setblocking(False)
    return bound
