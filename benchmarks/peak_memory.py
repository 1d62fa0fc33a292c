"""Peak resident memory of a whole `wine-assets run --force`: under 450 MiB.

The figure is the peak of the largest process of the run (MiB, as the kernel reports it). What all its processes held
together at one moment, sampled every 20 ms, stands beside it, and so does what `pyflyte run` takes for three steps.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import flyte_peer
import measure
from measure import MIB, Figure, Item

COMMAND: list[str | Path] = [measure.SCRIPTS / "wine-assets", "run", "--force"]
LIMIT_MIB = 450
EVERY_SECONDS = 0.02


def figures(runs: int) -> list[Figure]:
    """Measure the run as often as asked, in a home that exists."""
    note = flyte_peer.prepare()
    with tempfile.TemporaryDirectory(prefix="wine-bench-") as folder:
        ours = measure.environment(WINE_ASSETS_HOME=str(Path(folder) / "home"))
        theirs = flyte_peer.isolated(Path(folder))
        measure.run_child(COMMAND, ours)
        largest, peer = measure.interleaved(
            runs, partial(_peak, COMMAND, ours), partial(_peak, flyte_peer.COMMAND, theirs)
        )
        together = peak_together(COMMAND, ours)
    items = [Item("all processes together", together), Item("pyflyte run, largest process", None, max(peer))]
    return [Figure("peak memory of a run", "MiB", largest, [LIMIT_MIB], "the limit", 1.0, note=note, items=items)]


def _peak(argv: Sequence[str | Path], env: Mapping[str, str]) -> float:
    return measure.run_child(argv, env).peak / MIB


def peak_together(argv: Sequence[str | Path], env: Mapping[str, str]) -> float:
    """MiB that the command and all its descendants held at once, at the worst sampled moment."""
    child = subprocess.Popen(
        argv, env=env, cwd=measure.ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    peak = 0.0
    while child.poll() is None:
        peak = max(peak, sum(map(_resident, _tree(child.pid))) / MIB)
        time.sleep(EVERY_SECONDS)
    if child.returncode:
        raise SystemExit(f"the run ended with status {child.returncode}")
    return peak


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = listed.read_text().split()
        except OSError:  # the thread ended between the listing and the reading
            continue
        for child in children:
            yield from _tree(int(child))


def _resident(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # the process ended between the listing and the reading
        return 0
    return sum(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


if __name__ == "__main__":
    measure.script(figures, runs=3)
