"""Authentication by a bearer token."""

import hmac
import re
from pathlib import Path

from wine_assets.errors import SettingsError
from wine_assets.serving.errors import UnauthorizedError

_SCHEME = b"bearer "
_MIN_LENGTH = 16
_PRINTABLE = re.compile(rb"[!-~]+")


class BearerToken:
    """The token that clients have to send; it is compared in constant time."""

    def __init__(self, token: bytes) -> None:
        self._token = token

    @classmethod
    def of(cls, path: Path | None) -> "BearerToken | None":
        """Return the token in a file, None without a file; raise SettingsError if the file holds no valid token."""
        if path is None:
            return None
        try:
            token = path.read_bytes().strip()
        except OSError as error:
            raise SettingsError(f"The token file {path} can't be read: {error.strerror}.") from error
        if len(token) < _MIN_LENGTH or not _PRINTABLE.fullmatch(token):
            raise SettingsError(
                f"The token file {path} must hold one line of at least {_MIN_LENGTH} printable characters without "
                "spaces. Write one: openssl rand -hex 32."
            )
        return cls(token)

    def check(self, header: bytes | None) -> None:
        """Raise UnauthorizedError unless the Authorization header holds the token."""
        header = header or b""
        is_bearer = header[: len(_SCHEME)].lower() == _SCHEME
        if not hmac.compare_digest(header[len(_SCHEME) :].strip(), self._token) or not is_bearer:
            raise UnauthorizedError("A bearer token is required, and this one isn't it. Send Authorization: Bearer.")
