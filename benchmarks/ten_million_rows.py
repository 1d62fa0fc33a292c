"""Ten million rows of 13 features: load, validate and binarize a Parquet file, against reading it with pyarrow.

- wall seconds: under 2 x `pyarrow.parquet.read_table(path).to_pandas()`;
- peak memory (MiB, what the work adds to an interpreter with everything imported): under 3 x the frame's own size;
- the content fingerprint of the file, alone (wall seconds): published, no bound. Loading includes it.

The file holds random float64 values within the ranges of the wine data, and a class of 0, 1 or 2. It is written once,
and read whole before every measurement, so that both find it in the page cache. Every measurement has its own process,
in which a file of a thousand rows has gone the same way before.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import measure
from measure import CACHE, MIB, Figure, Item

ROWS, FEW_ROWS = 10_000_000, 1_000
ROWS_AT_ONCE = 1_000_000
RANGES = {
    "alcohol": (11.03, 14.83),
    "malic_acid": (0.74, 5.80),
    "ash": (1.36, 3.23),
    "alcalinity_of_ash": (10.6, 30.0),
    "magnesium": (70.0, 162.0),
    "total_phenols": (0.98, 3.88),
    "flavanoids": (0.34, 5.08),
    "nonflavanoid_phenols": (0.13, 0.66),
    "proanthocyanins": (0.41, 3.58),
    "color_intensity": (1.28, 13.0),
    "hue": (0.48, 1.71),
    "od280/od315_of_diluted_wines": (1.27, 4.0),
    "proline": (278.0, 1680.0),
}
LARGE, SMALL = CACHE / "wine-10m.parquet", CACHE / "wine-1k.parquet"


def figures(runs: int) -> list[Figure]:
    """Run ours, pyarrow and the fingerprint in turns."""
    if not (LARGE.exists() and SMALL.exists()):
        measure.ask_child(__file__, "write")
    _asked("pyarrow")  # a virtual machine is slow the first time that it uses this much memory
    ours, peer, fingerprint = measure.interleaved(
        runs, *(partial(_asked, child) for child in ("pipeline", "pyarrow", "fingerprint"))
    )
    reading, frame = _of(peer, "wall"), [peer[0]["frame"] / MIB]
    stages = [Item(name, _median(ours, name)) for name in ("load", "validate", "binarize")]
    memory = [Item("pyarrow, read and converted", None, _median(peer, "peak") / MIB)]
    peak = [sample["peak"] / MIB for sample in ours]
    return [
        Figure("10 million rows, wall", "s", _of(ours, "wall"), reading, "pyarrow to pandas", 2.0, items=stages),
        Figure("10 million rows, peak memory", "MiB", peak, frame, "the frame itself", 3.0, items=memory),
        Figure("their fingerprint, wall", "s", _of(fingerprint, "wall"), reading, "pyarrow to pandas"),
    ]


def write() -> None:
    """Write both files, each whole or not at all."""
    CACHE.mkdir(parents=True, exist_ok=True)
    _write(SMALL, FEW_ROWS)
    _write(LARGE, ROWS)


def pipeline() -> dict[str, float]:
    """Cost of ours: what a run does with a file before it fits anything."""
    return _cost(_pipeline)


def pyarrow() -> dict[str, float]:
    """Cost of reading the file as pyarrow's own documentation does."""
    return _cost(_read)


def fingerprint() -> dict[str, float]:
    """Cost of the content fingerprint alone."""
    return _cost(_fingerprint)


def _pipeline(path: Path) -> dict[str, float]:
    from wine_assets.data import dataset, sources, validation

    start = time.perf_counter()
    table = sources.load(sources.FileSource(path=str(path)))
    loaded = time.perf_counter()
    outcomes = validation.validate(table.frame, table.layout)
    validated = time.perf_counter()
    binarized = dataset.binarize(table.frame, dataset.BinarizeParams())
    end = time.perf_counter()
    if not all(outcome.passed for outcome in outcomes) or set(binarized["target"].unique()) != {0, 1}:
        raise SystemExit(f"{path} did not come out valid and binarized: there is nothing to compare")
    return {"load": loaded - start, "validate": validated - loaded, "binarize": end - validated, "wall": end - start}


def _read(path: Path) -> dict[str, float]:
    import pyarrow.parquet

    start = time.perf_counter()
    frame = pyarrow.parquet.read_table(path).to_pandas()
    wall = time.perf_counter() - start
    return {"wall": wall, "frame": int(frame.memory_usage(index=False).sum())}


def _fingerprint(path: Path) -> dict[str, float]:
    from wine_assets.data import sources

    return {"wall": measure.seconds(lambda: sources.fingerprint(sources.FileSource(path=str(path))))}


def _cost(work: Callable[[Path], dict[str, float]]) -> dict[str, float]:
    """Do the work on the small file, then on the large one, and add the bytes that the latter took at its peak."""
    work(SMALL)
    _into_page_cache(LARGE)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the kernel's way to start the peak (VmHWM) anew
    taken = work(LARGE)
    return {**taken, "peak": _status("VmHWM") - before}


def _into_page_cache(path: Path) -> None:
    buffer = bytearray(16 * MIB)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def _write(path: Path, rows: int) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    random, names = np.random.default_rng(41), [*RANGES, "target"]
    schema = pa.schema([(name, pa.int64() if name == "target" else pa.float64()) for name in names])
    unfinished = path.with_suffix(".unfinished")
    with pq.ParquetWriter(unfinished, schema) as writer:
        for start in range(0, rows, ROWS_AT_ONCE):
            count = min(ROWS_AT_ONCE, rows - start)
            columns = [pa.array(random.uniform(*RANGES[name], count)) for name in RANGES]
            writer.write_table(pa.table([*columns, pa.array(random.integers(0, 3, count))], schema=schema))
    unfinished.replace(path)


def _asked(child: str) -> Any:
    return measure.ask_child(__file__, child)


def _of(samples: list[dict[str, float]], name: str) -> list[float]:
    return [sample[name] for sample in samples]


def _median(samples: list[dict[str, float]], name: str) -> float:
    return statistics.median(_of(samples, name))


if __name__ == "__main__":
    children: dict[str, Callable[..., Any]] = {
        "write": write,
        "pipeline": pipeline,
        "pyarrow": pyarrow,
        "fingerprint": fingerprint,
    }
    measure.script(figures, runs=3, children=children)
