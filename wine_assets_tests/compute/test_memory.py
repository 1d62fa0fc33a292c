import re
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from wine_assets.compute import memory, usage
from wine_assets.compute.limits import enforce
from wine_assets.compute.request import ComputeRequest
from wine_assets.errors import MemoryLimitError

pytestmark = pytest.mark.usefixtures("nothing_left_behind")
RunProgram = Callable[[str], "subprocess.CompletedProcess[str]"]
_MIB = 1 << 20
_REFUSED = 2 << 30  # beyond every request below and what is allowed for imports


def _take(size: int) -> None:
    np.ones(size // 8)


def _reserve(size: int) -> None:
    """Allocate what is never used: it counts towards what is refused, not towards what the step took."""
    np.empty(size // 8)


def test_a_step_that_would_go_far_beyond_its_request_is_refused_at_once() -> None:
    expected = (
        r"^wine_model asked for 500Mi of memory and needed more \(.*2\.00 GiB.*\)\. Raise `memory` in its compute"
    )
    with pytest.raises(MemoryLimitError, match=expected), enforce(ComputeRequest(memory="500Mi"), "wine_model"):
        _take(_REFUSED)


def test_what_is_refused_is_the_request_and_the_imports_allowance() -> None:
    beyond = 500 * _MIB + memory.IMPORTS_BYTES
    with pytest.raises(MemoryLimitError), enforce(ComputeRequest(memory="500Mi"), "step"):
        _reserve(beyond + 100 * _MIB)
    with enforce(ComputeRequest(memory="500Mi"), "step"):
        _reserve(beyond - 100 * _MIB)


def test_a_step_that_went_a_little_beyond_its_request_fails_at_its_end() -> None:
    expected = r"^step asked for 10Mi of memory and needed more \(5\d MiB, its imports included\)\. Raise `memory` in"
    with pytest.raises(MemoryLimitError, match=expected), enforce(ComputeRequest(memory="10Mi"), "step"):
        _take(50 * _MIB)


def test_a_small_request_suffices_for_a_step_that_needs_less() -> None:
    with enforce(ComputeRequest(memory="20Mi"), "step"):
        _take(_MIB)


@pytest.mark.parametrize("size", [400 * _MIB, _REFUSED])
def test_a_step_with_a_limit_of_its_own_is_told_to_raise_that(size: int) -> None:
    request = ComputeRequest(memory="200Mi", memory_limit="300Mi")
    with pytest.raises(MemoryLimitError, match=r"300Mi .* Raise `memory_limit`"), enforce(request, "wine_model"):
        _take(size)


def test_the_next_step_of_the_process_has_its_memory_again() -> None:
    with pytest.raises(MemoryLimitError), enforce(ComputeRequest(memory="100Mi"), "first"):
        _reserve(900 * _MIB)
    with enforce(ComputeRequest(memory="1Gi"), "second"):
        _reserve(900 * _MIB)


def test_each_thread_asked_for_has_room_for_its_stacks_and_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "usable_threads", lambda most: most)
    with enforce(ComputeRequest(cpu="9", memory="500Mi"), "step"):
        _reserve(500 * _MIB + memory.IMPORTS_BYTES + 7 * memory.THREAD_BYTES)


# --- What libraries make of it


def test_arrow_s_own_memory_error_is_recognised() -> None:
    with pytest.raises(MemoryLimitError, match=r"ArrowMemoryError"), enforce(ComputeRequest(memory="200Mi"), "step"):
        pa.allocate_buffer(_REFUSED)


def test_arrow_reserves_no_gigabyte_out_of_a_step_s_memory() -> None:
    with enforce(ComputeRequest(memory="200Mi"), "step"):
        assert pa.array(np.arange(1_000_000)).nbytes == 8_000_000
        assert pa.default_memory_pool().backend_name == "system"


@pytest.mark.parametrize(
    "message",
    ["std::bad_alloc", "can't start new thread", "[Errno 12] Cannot allocate memory", "Failed to allocate memory"],
)
def test_what_libraries_say_for_want_of_memory_is_recognised(message: str) -> None:
    with pytest.raises(MemoryLimitError, match=re.escape(message)), enforce(ComputeRequest(), "step"):
        raise RuntimeError(message)


def test_a_memory_error_that_a_library_made_its_own_of_is_recognised() -> None:
    def fail() -> None:
        try:
            _reserve(_REFUSED)
        except MemoryError as error:
            raise ValueError("no frame") from error

    with pytest.raises(MemoryLimitError, match="ValueError: no frame"), enforce(ComputeRequest(), "step"):
        fail()


def test_blas_has_its_buffers_however_little_memory_is_left(run_program: RunProgram) -> None:
    """Refused them, OpenBLAS ends the process."""
    ended = run_program("""
    import numpy as np
    from scipy.linalg.blas import dgemm
    matrix = np.ones((256, 256))
    with enforce(ComputeRequest(memory="500Mi"), "step"):
        spare, hoard, size = np.empty(1 << 19), [], 1 << 27
        while size > 1 << 20:
            try:
                hoard.append(np.empty(size, np.uint8))
            except MemoryError:
                size //= 2
        del spare
        print((matrix @ matrix).sum(), dgemm(1.0, matrix, matrix).sum())
    """)
    assert (ended.stdout, ended.stderr) == ("16777216.0 16777216.0\n", "")


# --- Lower limits


def test_an_enclosing_step_s_lower_limit_holds_and_is_named() -> None:
    outer, inner = ComputeRequest(memory="200Mi"), ComputeRequest(memory="4Gi")
    expected = "inner asked for 4Gi of memory and needed more than the .* MiB that a lower limit.*ulimit"
    with enforce(outer, "outer"), pytest.raises(MemoryLimitError, match=expected), enforce(inner, "inner"):
        _reserve(_REFUSED)


@pytest.fixture
def ulimit() -> Iterator[int]:
    """The user's own limit: a GiB more than the process has."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    own = (usage.process_status("VmData") or 0) + (1 << 30)
    resource.setrlimit(resource.RLIMIT_DATA, (own, before[1]))
    yield own
    resource.setrlimit(resource.RLIMIT_DATA, before)


def test_the_user_s_lower_limit_holds_is_named_and_stays(ulimit: int) -> None:
    expected = "asked for 4Gi .* lower limit.*ulimit"
    with pytest.raises(MemoryLimitError, match=expected), enforce(ComputeRequest(memory="4Gi"), "step"):
        _reserve(_REFUSED)
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] == ulimit


def test_an_enclosed_step_s_error_is_not_blamed_on_the_enclosing_one() -> None:
    inner = ComputeRequest(memory="150Mi")
    with (
        pytest.raises(MemoryLimitError, match=r"^inner"),
        enforce(ComputeRequest(memory="4Gi"), "outer"),
        enforce(inner, "inner"),
    ):
        _reserve(_REFUSED)


# --- Imports

_STEPS = """
    def read():
        import io, numpy as np, pandas as pd, pandera.pandas
        file = io.BytesIO()
        pd.DataFrame(np.ones((178, 14)), columns=list("abcdefghijklmn")).to_parquet(file)
        assert len(pd.read_parquet(file)) == 178
    def fit():
        import numpy as np, onnxruntime, skl2onnx
        from wine_assets.models.formats import skops_file
        from sklearn.linear_model import LogisticRegression
        skops_file.import_skops()
        LogisticRegression().fit(np.arange(20.0).reshape(10, 2), [0, 1] * 5)
    def draw():
        import io, matplotlib.figure
        matplotlib.figure.Figure().savefig(io.BytesIO())
    def everything():
        read(), fit(), draw()
    def hog():
        import numpy as np
        return np.ones(700_000_000 // 8).sum()
    def held(memory, step):
        try:
            with enforce(ComputeRequest(memory=memory), step.__name__) as usage:
                step()
            print(step.__name__, "did", 0 < usage.peak_memory_bytes < 500 << 20)
        except MemoryLimitError as error:
            print(error)
"""


def test_500mi_suffice_to_read_the_wine_data_in_a_cold_process_and_not_for_700_megabytes(
    run_program: RunProgram,
) -> None:
    ended = run_program(
        _STEPS
        + """
    held("500Mi", read)
    held("500Mi", hog)
    print(hog())
    """
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(r"read did True\nhog asked for 500Mi .*\n87500000\.0\n", ended.stdout)


@pytest.mark.parametrize("small", ["2Mi", "100Mi"])
def test_a_step_whose_imports_take_too_much_fails_and_leaves_them_usable(run_program: RunProgram, small: str) -> None:
    ended = run_program(
        _STEPS
        + f"""
    held("{small}", everything)
    held("{small}", everything)
    """
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    expected = rf"everything asked for {small} .* \(\d+ MiB, its imports included\)\. .*\neverything (did|asked) .*\n"
    assert re.fullmatch(expected, ended.stdout)


# --- Where the system does not tell memory


def test_without_proc_a_memory_error_is_nobody_s_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "_STATUS", Path("/nowhere/status"))
    with pytest.raises(MemoryError), enforce(ComputeRequest(), "step"):
        raise MemoryError


def test_without_proc_the_request_is_checked_at_the_end(run_program: RunProgram) -> None:
    """By the most memory that the process ever had: a new process, which Linux starts with its parent's figure."""
    ended = run_program("""
    import resource
    from pathlib import Path
    from wine_assets.compute import usage
    usage._STATUS = usage._CLEAR_REFS = Path("/nowhere/file")
    try:
        with enforce(ComputeRequest(memory="10Mi"), "step"):
            bytearray(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + (100 << 20))
    except MemoryLimitError as error:
        print(error)
    """)
    assert re.fullmatch(r"step asked for 10Mi .* \(\d+ MiB, its imports included\).*\n", ended.stdout)
