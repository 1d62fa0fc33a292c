"""A limit for the memory of all request bodies of a process."""

SMALL_BYTES = 64 << 10
"""Size up to which a body is always accepted, so that large bodies can't keep out small ones."""


class BodyMemory:
    """A number of bytes that all connections share; a body that exceeds it is rejected at once."""

    def __init__(self, limit: int) -> None:
        self._limit, self.allocated = limit, 0

    def allocate(self, count: int, body_size: int) -> bool:
        """Allocate bytes for a body of `body_size` bytes including them; return whether it is within the limit."""
        self.allocated += count
        return self.allocated <= self._limit or body_size <= SMALL_BYTES

    def free(self, count: int) -> None:
        """Free bytes."""
        self.allocated -= count
