"""Credentials in the URL of a file or database, where a configuration must not have them."""

import re
from urllib.parse import unquote_plus

# fsspec takes the text before the path for user and host; SQLAlchemy everything up to an @, unless a path follows ://.
_AUTHORITY = re.compile(r"([a-z0-9+.\-]*)://([^/?#]*)([^?#]*)", re.IGNORECASE)
_DATABASE_PASSWORD = re.compile(r"://(?!/)[^@]*:[^@]*@")
_PARAMETERS = re.compile(r"[?#;].*", re.DOTALL)
_NAME = re.compile(r"([^?&;#=]+)=")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SECRET_NAME = re.compile(
    r"secret|token|pass|pwd|sig|credential|authorization|(?<![a-z])key$|"
    r"(?:api|access|account|auth|private|shared|subscription)key$"
)
_NAMES_OF_FILES = ("passfile", "sslkey", "ssl_key")
_QUOTED_AT_MOST = 3


def in_file_url(url: str) -> bool:
    """Tell whether the path or URL of a file, perhaps a chain such as zip://a.csv::https://host/b.zip, holds any."""
    return any(_is_user(*found.groups()) for found in _AUTHORITY.finditer(url)) or _in_parameters(url)


def in_database_url(url: str) -> bool:
    """Tell whether a SQLAlchemy URL holds any; a user's name alone isn't one."""
    return bool(_DATABASE_PASSWORD.search(url)) or _in_parameters(url)


def _is_user(scheme: str, authority: str, path: str) -> bool:
    """Tell a user with a password, which may have an unquoted slash in it, from a host with a port."""
    user, at, _ = authority.rpartition("@")
    if at:
        return ":" in user or scheme.lower() in ("http", "https")
    _, colon, port = authority.rpartition(":")
    return bool(colon) and not authority.endswith("]") and not port.isdigit() and "@" in path


def _in_parameters(url: str) -> bool:
    """Look at the names of parameters, and at those inside a quoted value, such as odbc_connect has."""
    found = _PARAMETERS.search(url)
    text = found[0] if found else ""
    for _ in range(_QUOTED_AT_MOST):
        if any(_is_secret(name) for name in _NAME.findall(text)):
            return True
        text = unquote_plus(text)
    return False


def _is_secret(name: str) -> bool:
    words = _HUMP.sub("_", name.strip()).lower()
    return words not in _NAMES_OF_FILES and bool(_SECRET_NAME.search(words))
