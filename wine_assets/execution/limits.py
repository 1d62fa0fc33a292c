"""A ComputeRequest held to in this process: its GPUs, memory, threads and time, and what was really used.

What holds, and how:

- **memory** is what a step adds to the process's private writable memory (VmData in /proc/self/status), which Linux
  lets RLIMIT_DATA bound. Address space (RLIMIT_AS) would count what costs nothing: importing pandas, pyarrow,
  scikit-learn, onnxruntime and matplotlib takes 640 MiB of it, for 280 MiB of resident and 277 MiB of writable memory.
  Imports count towards the step that first needs them, as in a container, but are let finish: a step that they took
  above its limit fails at its end, or earlier when it takes ROOM_BYTES more. Memory shared with other processes and
  files mapped to be read do not count. Without /proc (macOS) nothing bounds memory. Child processes inherit the bound.
- **threads** of BLAS and OpenMP libraries that are loaded already are set by threadpoolctl, and of those loaded during
  the block by the environment variables that they read then.
- **time** is bounded by SIGALRM, which stops Python code, in the main thread alone; in every thread, a block still not
  left after a grace period ends the process with status 1, and the stack of each thread on standard error.

Limits belong to the process: blocks may enclose each other, and are not meant to run side by side in threads.
"""

import contextlib
import faulthandler
import functools
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from wine_assets.errors import ComputeRequestError, MemoryLimitError, TimeLimitError
from wine_assets.execution.compute import ComputeRequest

GRACE_S = 5.0
ROOM_BYTES = 128 << 20
"""What C libraries are always left to start threads in and to fail cleanly: refused less, Arrow waits forever for a
thread that never started, and OpenBLAS ends the process. Smaller limits are checked at the end of the block."""
_REMEDY = "in its compute request (WINE_ASSETS_COMPUTE)"
_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_DEVICES = Path("/dev")
_RESET_HIGH_WATER = "5"  # man 5 proc, /proc/pid/clear_refs
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
_STANDARD_ERROR = 2
_SOON_S = 1e-6  # zero would switch a timer off

# What libraries say when the system refuses them memory, where they don't raise MemoryError.
_OUT_OF_MEMORY = re.compile(
    "bad_alloc|can't start new thread|cannot allocate memory|failed to map segment|cannot map zero-fill pages"
    "|failed to allocate memory|cannot create shared object descriptor",
    re.IGNORECASE,
)


@dataclass
class Usage:
    """What a block used; filled when it ends, well or not."""

    peak_memory_bytes: int = 0
    """The most resident memory during the block, less that at its start."""
    cpu_seconds: float = 0.0
    """Of all threads of the process, without its children."""
    wall_seconds: float = 0.0


@contextlib.contextmanager
def enforced(request: ComputeRequest, step: str, *, grace_s: float = GRACE_S) -> Iterator[Usage]:
    """Hold the block to `request` and measure it; `step` names it in errors.

    Raises ComputeRequestError for GPUs that are not there, MemoryLimitError when the block needs more memory than
    its limit, and TimeLimitError when it takes longer than its timeout. The process lives on after each of them;
    it ends, with status 1, only where the block is still not left `grace_s` seconds after its timeout.
    """
    _check_gpus(request.gpu, step)
    deadline = _Deadline.of(request, step)
    with (
        _measured() as usage,
        _in_time(deadline, grace_s),
        _memory_held(request, step),
        _threads(request.threads),
        _alarmed(deadline),  # the innermost, so that it rings in the block alone, not while the others clean up
    ):
        yield usage


# --- what was used


class _HighWater:
    """The most resident memory since it was made, also where another one is made meanwhile."""

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
        """Return the bytes above those at the start."""
        self.look()
        self.active.remove(self)
        return self.peak - self.start


@contextlib.contextmanager
def _measured() -> Iterator[Usage]:
    usage, memory = Usage(), _HighWater()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield usage
    finally:
        usage.wall_seconds, usage.cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
        usage.peak_memory_bytes = memory.stop()


def _high_water() -> int:
    """Return the most resident memory, in bytes, since it was last reset, where that can be done."""
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


def _status(field: str) -> int | None:
    """Return a field of /proc/self/status in bytes, None where there is no such file."""
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


# --- memory


@contextlib.contextmanager
def _memory_held(request: ComputeRequest, step: str) -> Iterator[None]:
    granted = math.inf
    try:
        with _writable_memory_limited(request.memory_limit_bytes) as granted:
            yield
    except Exception as error:
        if math.isfinite(granted) and _is_out_of_memory(error):
            raise MemoryLimitError(_memory_sentence(request, step, granted, error)) from error
        raise


@contextlib.contextmanager
def _writable_memory_limited(size: int) -> Iterator[float]:
    """Let the process have `size` more bytes; yield how many it really may have, infinity where nothing bounds it."""
    used = _status("VmData")
    if used is None:
        yield math.inf
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    ceiling = math.inf if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_DATA, (int(min(used + max(size, ROOM_BYTES), ceiling)), hard))
    try:
        with _arrow_without_reservations(), _whole_imports(soft), _small_limit(size):
            yield min(size, ceiling - used)
            _check_growth((_status("VmData") or used) - used, size)
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@contextlib.contextmanager
def _small_limit(size: int) -> Iterator[None]:
    """Check at the end of the block, by its resident memory, a limit too low for RLIMIT_DATA."""
    if size >= ROOM_BYTES:
        yield
        return
    memory = _HighWater()
    try:
        yield
    finally:
        peak = memory.stop()
    _check_growth(peak, size)


def _check_growth(growth: int, size: int) -> None:
    if growth > size:
        raise MemoryError(f"with the libraries that it imported it took {growth / 2**20:.0f} MiB")


@contextlib.contextmanager
def _whole_imports(soft: int) -> Iterator[None]:
    """Let imports in the block finish under the soft limit `soft`."""
    finder = _WholeImports(soft)
    finder.provide_blas_buffers()
    sys.meta_path.insert(sys.meta_path.index(PathFinder), finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _WholeImports(MetaPathFinder):
    """Lifts the limit while a module is loaded.

    One that was interrupted can leave the process unable to import it again ("cannot load module more than once per
    process", numpy), and OpenBLAS ends the process, or spins, when it is refused its buffers.
    """

    def __init__(self, soft: int) -> None:
        self._soft = soft

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            for name in ("create_module", "exec_module"):
                vars(spec.loader)[name] = functools.partial(self._load, getattr(spec.loader, name))
        return spec

    def _load(self, load: Callable[[Any], Any], what: Any) -> Any:
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (self._soft, hard))
        try:
            return load(what)
        finally:
            if soft != self._soft:  # the outermost of the imports that led to this one
                self.provide_blas_buffers()
                soft = self._with_room(soft)
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))

    def _with_room(self, lowered: int) -> int:
        least = (_status("VmData") or 0) + ROOM_BYTES
        return max(lowered, least if self._soft == resource.RLIM_INFINITY else min(least, self._soft))

    @staticmethod
    def provide_blas_buffers() -> None:
        """Have each OpenBLAS that is loaded take its buffers, which it does when it first multiplies matrices."""
        for name in {"numpy", "scipy.linalg.blas"} & sys.modules.keys():
            _multiply_once(name)


@functools.cache
def _multiply_once(library: str) -> None:
    numpy = sys.modules["numpy"]
    matrix = numpy.ones((256, 256))
    if library == "numpy":
        numpy.dot(matrix, matrix)
    else:
        sys.modules[library].dgemm(1.0, matrix, matrix)


@contextlib.contextmanager
def _arrow_without_reservations() -> Iterator[None]:
    """Have Arrow allocate from the system: its own allocator reserves a writable GiB before the first byte is used."""
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is None:
        with _environment({"ARROW_DEFAULT_MEMORY_POOL": "system"}):
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


def _memory_sentence(request: ComputeRequest, step: str, granted: float, error: Exception) -> str:
    field, size = ("memory_limit", request.memory_limit) if request.memory_limit else ("memory", request.memory)
    said = f"{type(error).__name__}: {error}".rstrip(": .")
    if granted < request.memory_limit_bytes:
        return (
            f"{step} asked for {size} of memory and needed more than the {granted / 2**20:.0f} MiB that a lower limit, "
            f"set before it began, left ({said}). Raise that limit: an enclosing step's, or the user's (ulimit -d)."
        )
    return f"{step} asked for {size} of memory and needed more ({said}). Raise `{field}` {_REMEDY}."


# --- threads


@contextlib.contextmanager
def _threads(most: int) -> Iterator[None]:
    """Cap the threads of BLAS and OpenMP libraries, those loaded already and those loaded in the block."""
    count = min(most, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    with _environment(dict.fromkeys(names, str(count))), _controller(len(sys.modules)).limit(limits=count):
        yield


@functools.lru_cache(maxsize=1)
def _controller(_modules: int) -> Any:
    """Return the libraries loaded now; finding them takes 5 ms, so that it is done anew after imports alone."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# --- time


@dataclass(frozen=True)
class _Deadline:
    """The moment (time.monotonic seconds, infinity is never) when a block is late, and what is said then."""

    moment: float
    message: str = ""

    @classmethod
    def of(cls, request: ComputeRequest, step: str) -> "_Deadline":
        seconds = request.timeout_s
        if seconds is None:
            return cls(math.inf)
        message = (
            f"{step} was stopped after {seconds:g} s, its compute request's timeout ({request.timeout}). "
            f"Raise `timeout` {_REMEDY}."
        )
        return cls(time.monotonic() + seconds, message)


@contextlib.contextmanager
def _in_time(deadline: _Deadline, grace_s: float) -> Iterator[None]:
    """End the process when the block isn't left in time and grace; make it an error when it is left late."""
    with _ended_by_force(deadline.moment + grace_s):
        try:
            yield
        except (MemoryLimitError, TimeLimitError):
            raise
        except Exception as error:
            if time.monotonic() >= deadline.moment:
                raise TimeLimitError(deadline.message) from error
            raise
        if time.monotonic() >= deadline.moment:
            raise TimeLimitError(deadline.message)


@contextlib.contextmanager
def _alarmed(deadline: _Deadline) -> Iterator[None]:
    """Raise TimeLimitError in the block at its deadline, where signals reach this thread."""
    if math.isinf(deadline.moment) or threading.current_thread() is not threading.main_thread():
        yield
        return
    alarm = _Alarm(deadline)
    try:  # Two, because the alarm may ring until it is switched off, also on the way there.
        try:
            alarm.set()
            yield
        finally:
            alarm.switch_off()
    finally:
        alarm.restore()


class _Alarm:
    """One SIGALRM of our own beside the timer and the handler that were there, which go on."""

    def __init__(self, deadline: _Deadline) -> None:
        self._own, self._message = deadline.moment, deadline.message
        self._handler = signal.getsignal(signal.SIGALRM) or signal.SIG_DFL
        delay, self._interval = signal.getitimer(signal.ITIMER_REAL)
        self._theirs = time.monotonic() + delay if delay else math.inf

    def set(self) -> None:
        signal.signal(signal.SIGALRM, self._ring)
        self._set_timer()

    def _set_timer(self) -> None:
        following = min(self._own, self._theirs)
        signal.setitimer(signal.ITIMER_REAL, _until(following) if math.isfinite(following) else 0)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if time.monotonic() >= self._own:
            self._own = math.inf
            self._set_timer()
            raise TimeLimitError(self._message)
        if time.monotonic() >= self._theirs and callable(self._handler):
            self._theirs = time.monotonic() + self._interval if self._interval else math.inf
            self._set_timer()
            self._handler(number, frame)
            return
        self._set_timer()

    def switch_off(self) -> None:
        self._own = math.inf

    def restore(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._handler)
        if math.isfinite(self._theirs):
            signal.setitimer(signal.ITIMER_REAL, _until(self._theirs), self._interval)


def _until(moment: float) -> float:
    return max(moment - time.monotonic(), _SOON_S)


_ends: list[float] = []
_ends_lock = threading.Lock()


@contextlib.contextmanager
def _ended_by_force(end: float) -> Iterator[None]:
    """End the process at `end` (time.monotonic seconds), by a thread of C that needs no lock of Python's.

    There is one such thread in a process: the earliest end of the blocks that are open counts.
    """
    with _ends_lock:
        _ends.append(end)
        _watch()
    try:
        yield
    finally:
        with _ends_lock:
            _ends.remove(end)
            _watch()


def _watch() -> None:
    if math.isfinite(min(_ends, default=math.inf)):
        faulthandler.dump_traceback_later(_until(min(_ends)), exit=True, file=_STANDARD_ERROR)
    else:
        faulthandler.cancel_dump_traceback_later()


# --- GPUs


def _check_gpus(asked: int, step: str) -> None:
    if not asked:
        return
    found = _gpus_visible()
    if found < asked:
        raise ComputeRequestError(
            f"{step} asked for {asked} GPU{'s' if asked > 1 else ''} and {found or 'none'} can be used here "
            f"(CUDA_VISIBLE_DEVICES is {os.environ.get('CUDA_VISIBLE_DEVICES')!r}). "
            f"Run it where there are enough, or lower `gpu` {_REMEDY}."
        )


def _gpus_visible() -> int:
    """Return how many NVIDIA GPUs a CUDA program started here may use."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    present = _gpus_present()
    if named is None or not present:
        return present
    names = [name.strip() for name in named.split(",")]
    usable = names.index("-1") if "-1" in names else len(names)  # CUDA stops at the first name that is none
    return min(len([name for name in names[:usable] if name]), present)


def _gpus_present() -> int:
    devices = sum(re.fullmatch(r"nvidia\d+", path.name) is not None for path in _DEVICES.glob("nvidia*"))
    return devices or _gpus_listed()


def _gpus_listed() -> int:
    """Ask the driver's own tool, for machines that show their GPUs under other names (WSL)."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False, timeout=10)  # noqa: S603 - found on the path
    return listed.stdout.count("GPU ")
