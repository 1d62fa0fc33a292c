"""The check of the Host header, which keeps web pages of other sites from reading the server."""

_MAX_CACHED = 64


class AllowedHosts:
    """The names that a Host header may have; None allows any valid name.

    A web page can let its own name resolve to this machine and then read its responses (DNS rebinding). The Host
    header contains the name that the browser used.
    """

    def __init__(self, names: frozenset[str] | None) -> None:
        self._names = names
        self._cache: set[bytes] = set()

    def accepts(self, host: bytes) -> bool:
        """Return whether a Host header names this server."""
        if host in self._cache:
            return True
        name = _parse_name(host)
        is_accepted = bool(name) and (self._names is None or name in self._names)
        if is_accepted and len(self._cache) < _MAX_CACHED:
            self._cache.add(host)
        return is_accepted


def _parse_name(host: bytes) -> str:
    """Return the name in a Host header without the port, in lower case; "" if it is invalid."""
    try:
        text = host.decode("ascii").lower()
    except UnicodeDecodeError:
        return ""
    if text.startswith("["):
        name, _, rest = text[1:].partition("]")
        is_valid = all(character in "0123456789abcdef:." for character in name)
        port = rest.removeprefix(":")
    else:
        name, _, port = text.partition(":")
        is_valid = all(character.isalnum() or character in "-._" for character in name)
    return name if is_valid and (not port or port.isdigit()) else ""
