"""The Host header, which says whom a client believes to talk to."""

_KNOWN = 64


class Hosts:
    """The names that the server goes by; None accepts any that is one.

    A page in a browser can have its own name lead to this machine, and then read what it serves: unless the server
    looks at the name that it was called by.
    """

    def __init__(self, names: frozenset[str] | None) -> None:
        self._names = names
        self._known: set[bytes] = set()

    def accepts(self, host: bytes) -> bool:
        """Return whether a Host header names this server."""
        if host in self._known:
            return True
        name = _name(host)
        is_accepted = bool(name) and (self._names is None or name in self._names)
        if is_accepted and len(self._known) < _KNOWN:
            self._known.add(host)
        return is_accepted


def _name(host: bytes) -> str:
    """Return the name in a Host header without the port, in lower case; "" for what can't be one."""
    try:
        text = host.decode("ascii").lower()
    except UnicodeDecodeError:
        return ""
    if text.startswith("["):
        name, _, rest = text[1:].partition("]")
        is_one = all(character in "0123456789abcdef:." for character in name)
        port = rest.removeprefix(":")
    else:
        name, _, port = text.partition(":")
        is_one = all(character.isalnum() or character in "-._" for character in name)
    return name if is_one and (not port or port.isdigit()) else ""
