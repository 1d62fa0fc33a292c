"""Usage: what a block of code took of this process's memory and time."""

import contextlib
import re
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_HIGH_WATER = "5"  # man 5 proc, /proc/pid/clear_refs
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass
class Usage:
    """What a block used, or several blocks of one step together; filled when each ends, well or not."""

    peak_memory_bytes: int = 0
    """The most resident memory during the blocks, less that at the start of the first one."""
    cpu_seconds: float = 0.0
    """Of all threads of the process, without its children."""
    wall_seconds: float = 0.0
    resident_before_bytes: int | None = None
    """The resident memory at the start of the first block."""


@contextlib.contextmanager
def measure(usage: Usage | None = None) -> Iterator[Usage]:
    """Measure the block and add it to `usage`, by default to a new one; blocks may enclose each other."""
    usage = Usage() if usage is None else usage
    memory = _HighWater()
    if usage.resident_before_bytes is None:
        usage.resident_before_bytes = memory.start
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield usage
    finally:
        usage.wall_seconds += time.perf_counter() - wall
        usage.cpu_seconds += time.process_time() - cpu
        usage.peak_memory_bytes = max(usage.peak_memory_bytes, memory.stop() - usage.resident_before_bytes)


def process_status(field: str) -> int | None:
    """Return a field of /proc/self/status in bytes, None where there is no such file."""
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


class _HighWater:
    """The most resident memory since it was made, also where another one is made, and the mark reset, meanwhile."""

    active: "list[_HighWater]" = []  # noqa: RUF012 - it is one list, of all that are being measured

    def __init__(self) -> None:
        for enclosing in self.active:
            enclosing.look()
        with contextlib.suppress(OSError):
            _CLEAR_REFS.write_text(_RESET_HIGH_WATER)
        self.start = self.peak = _high_water()
        self.active.append(self)

    def look(self) -> None:
        self.peak = max(self.peak, _high_water())

    def stop(self) -> int:
        """Return the most resident memory since the start, in bytes."""
        self.look()
        self.active.remove(self)
        return self.peak


def _high_water() -> int:
    """Return the most resident memory, in bytes, since it was last reset, where that can be done."""
    return process_status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT
