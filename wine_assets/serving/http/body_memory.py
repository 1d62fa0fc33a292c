"""How much of bodies that are not answered yet all connections of a process may hold in memory together."""

SMALL_BYTES = 64 << 10
"""What a body may always have, so that those who send a lot don't keep out those who send a little."""


class Budget:
    """A number of bytes that is shared; nobody waits for it, who gets none is refused."""

    def __init__(self, limit: int) -> None:
        self._limit, self._taken = limit, 0

    def take(self, count: int, has: int) -> bool:
        """Take bytes for a body that has got `has` with them; return whether they may be kept."""
        self._taken += count
        return self._taken <= self._limit or has <= SMALL_BYTES

    def give(self, count: int) -> None:
        """Give bytes back."""
        self._taken -= count
