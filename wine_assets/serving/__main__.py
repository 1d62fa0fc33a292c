"""`python -m wine_assets.serving --model FOLDER`: the server as a command."""

import socket
import sys
from collections.abc import Sequence

from wine_assets.errors import MissingExtraError, SettingsError, WineAssetsError
from wine_assets.serving import settings
from wine_assets.serving.observability import logs
from wine_assets.serving.settings import ServeSettings

FAILED, BAD_USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal says otherwise; return the exit status: 2 for settings that can't be."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        return _serve(ServeSettings.of(given), given)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return BAD_USAGE
    except WineAssetsError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED


def _serve(chosen: ServeSettings, arguments: Sequence[str]) -> int:
    logs.configure()
    settings.spare_threads()
    descriptor = settings.inherited_socket()
    if descriptor is None and chosen.workers > 1:
        from wine_assets.serving.listening import listening_socket, require_free
        from wine_assets.serving.workers import Workers

        require_free(chosen)
        return Workers(chosen, arguments, listening_socket(chosen)).run()
    try:
        from wine_assets.serving import listening, server
    except ModuleNotFoundError as error:
        raise MissingExtraError("serve", "The inference server") from error
    bound = listening.listening_socket(chosen) if descriptor is None else socket.socket(fileno=descriptor)
    server.run(chosen, bound)
    return 0


if __name__ == "__main__":
    sys.exit(main())
