"""`python -m wine_assets.serving --model FOLDER` runs the server."""

import socket
import sys
from collections.abc import Sequence

from wine_assets.errors import MissingExtraError, SettingsError, WineAssetsError
from wine_assets.serving import settings
from wine_assets.serving.observability import logs
from wine_assets.serving.settings import ServeSettings

FAILED, BAD_USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status, which is 2 for invalid settings."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return _serve(ServeSettings.of(arguments), arguments)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return BAD_USAGE
    except WineAssetsError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED


def _serve(options: ServeSettings, arguments: Sequence[str]) -> int:
    logs.configure()
    settings.limit_threads()
    descriptor = settings.inherited_socket()
    if descriptor is None and options.workers > 1:
        from wine_assets.serving.listening import listening_socket, require_free
        from wine_assets.serving.workers import Workers

        require_free(options)
        return Workers(options, arguments, listening_socket(options)).run()
    try:
        from wine_assets.serving import listening, server
    except ModuleNotFoundError as error:
        raise MissingExtraError("serve", "The inference server") from error
    bound = listening.listening_socket(options) if descriptor is None else socket.socket(fileno=descriptor)
    server.run(options, bound)
    return 0


if __name__ == "__main__":
    sys.exit(main())
