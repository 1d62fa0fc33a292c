"""The memory that a step may add to this process: bounded while it runs, and checked at its end.

RLIMIT_DATA bounds private writable memory (VmData in /proc/self/status) at what the process has, and the request, and
an allowance for imports: going beyond it is a MemoryError at once. VmData counts reserved memory, too, and an import
that is interrupted can leave a library unusable in this process, so that the bound leaves room for all imports, and
whether the step kept to its request is told at its end by its resident memory, in which imports count as they do in a
container. Memory of child processes doesn't count. Where there is no /proc (macOS), the check is all there is.
"""

import contextlib
import functools
import math
import re
import resource
import sys
from collections.abc import Iterator

from wine_assets.compute.environment import environment
from wine_assets.compute.request import ComputeRequest
from wine_assets.compute.threads import usable_threads
from wine_assets.compute.usage import process_status
from wine_assets.errors import MemoryLimitError, TimeLimitError

IMPORTS_BYTES = 384 << 20
"""All libraries of the pipeline together, a fit and a drawing take 372 MiB of VmData (311 MiB are resident)."""
THREAD_BYTES = 96 << 20
"""What each thread but the first takes of it: 32 MiB in each of two OpenBLAS, numpy's and scipy's, and its stacks."""

# What libraries say when the system refuses them memory, where they don't raise MemoryError.
_OUT_OF_MEMORY = re.compile(
    "bad_alloc|can't start new thread|cannot allocate memory|failed to map segment|cannot map zero-fill pages"
    "|failed to allocate memory|cannot create shared object descriptor",
    re.IGNORECASE,
)


@contextlib.contextmanager
def limit_memory(request: ComputeRequest, step: str, used: int | None = None) -> Iterator[int | None]:
    """Bound the block's memory; raise MemoryLimitError where it meets the bound.

    The bound counts from `used` bytes of VmData, by default from what the process has now. Yield that number, so that
    a later block of the same step can count from it; None where there is no /proc.
    """
    _let_blas_take_buffers()
    used = process_status("VmData") if used is None else used
    if used is None:
        yield None
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    ceiling = math.inf if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_DATA, (int(min(used + _most(request), ceiling)), hard))
    try:
        with _arrow_without_reservations():
            yield used
    except Exception as error:
        if _is_out_of_memory(error):
            raise MemoryLimitError(_refused(request, step, ceiling - used, error)) from error
        raise
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def check(request: ComputeRequest, step: str, peak_bytes: int) -> None:
    """Raise MemoryLimitError for a step whose resident memory grew by more than its limit."""
    if peak_bytes > request.memory_limit_bytes:
        raise MemoryLimitError(_too_little(request, step, f"{peak_bytes / 2**20:.0f} MiB, its imports included"))


def _most(request: ComputeRequest) -> int:
    allowance = IMPORTS_BYTES + (usable_threads(request.threads) - 1) * THREAD_BYTES
    return request.memory_limit_bytes + allowance


def _let_blas_take_buffers() -> None:
    """Have each OpenBLAS that is loaded take its buffers, which it does when it first multiplies.

    Refused them, it ends the process: one that a step loads, and first uses 32 MiB or less below the bound, still does.
    """
    for library in {"numpy", "scipy.linalg.blas"} & sys.modules.keys():
        _multiply_once(library)


@functools.cache
def _multiply_once(library: str) -> None:
    numpy = sys.modules["numpy"]
    matrix = numpy.ones((256, 256))  # smaller ones are multiplied without buffers
    if library == "numpy":
        numpy.dot(matrix, matrix)
    else:
        sys.modules[library].dgemm(1.0, matrix, matrix)


@contextlib.contextmanager
def _arrow_without_reservations() -> Iterator[None]:
    """Have Arrow allocate from the system: its own allocator reserves a writable GiB before the first byte is used."""
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is None:
        with environment({"ARROW_DEFAULT_MEMORY_POOL": "system"}):
            yield
        return
    before = pyarrow.default_memory_pool()
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())
    try:
        yield
    finally:
        pyarrow.set_memory_pool(before)


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Tell whether the error, or one that led to it, says that the system refused memory."""
    if error is None or isinstance(error, MemoryLimitError | TimeLimitError):
        return False
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)):
        return True
    return _is_out_of_memory(error.__cause__ or error.__context__)


def _refused(request: ComputeRequest, step: str, left: float, error: Exception) -> str:
    said = f"{type(error).__name__}: {error}".rstrip(": .")
    if left >= request.memory_limit_bytes:
        return _too_little(request, step, said)
    return (
        f"{step} asked for {_asked(request)[1]} of memory and needed more than the {left / 2**20:.0f} MiB that a lower "
        f"limit, set before it began, left ({said}). Raise that limit: an enclosing step's, or the user's (ulimit -d)."
    )


def _too_little(request: ComputeRequest, step: str, needed: str) -> str:
    field, size = _asked(request)
    return (
        f"{step} asked for {size} of memory and needed more ({needed}). "
        f"Raise `{field}` in its compute request (WINE_ASSETS_COMPUTE)."
    )


def _asked(request: ComputeRequest) -> tuple[str, str]:
    return ("memory_limit", request.memory_limit) if request.memory_limit else ("memory", request.memory)
