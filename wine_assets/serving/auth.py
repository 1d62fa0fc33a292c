"""The bearer token that a server may require."""

import hmac
import re
from pathlib import Path

from wine_assets.errors import SettingsError
from wine_assets.serving.errors import UnauthorizedError

_SCHEME = b"bearer "
_LEAST = 16
_PRINTABLE = re.compile(rb"[!-~]+")


class Bearer:
    """A token, compared in a time that says nothing about it."""

    def __init__(self, token: bytes) -> None:
        self._token = token

    @classmethod
    def of(cls, path: Path | None) -> "Bearer | None":
        """Return the token in a file, None without one; raise SettingsError for a file that holds no good one."""
        if path is None:
            return None
        try:
            token = path.read_bytes().strip()
        except OSError as error:
            raise SettingsError(f"The token file {path} can't be read: {error.strerror}.") from error
        if len(token) < _LEAST or not _PRINTABLE.fullmatch(token):
            raise SettingsError(
                f"The token file {path} must hold one line of at least {_LEAST} printable characters without spaces. "
                "Write one: openssl rand -hex 32."
            )
        return cls(token)

    def check(self, header: bytes | None) -> None:
        """Raise UnauthorizedError unless an Authorization header holds the token."""
        header = header or b""
        right = header[: len(_SCHEME)].lower() == _SCHEME
        if not hmac.compare_digest(header[len(_SCHEME) :].strip(), self._token) or not right:
            raise UnauthorizedError("A bearer token is required, and this one isn't it. Send Authorization: Bearer.")
