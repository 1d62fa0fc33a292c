"""How every figure is measured: interleaved runs, medians, and what a child process cost.

This module imports nothing heavy. Linux hands a parent's peak memory down to the child that it starts, so a script
that measures the memory of children stays small itself, and does its own heavy work in a child (`ask_child`).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".wine_assets" / "bench"
SCRIPTS = Path(sys.executable).parent
MIB = 2**20

T = TypeVar("T")


@dataclass(frozen=True)
class Cost:
    """What one child process and its own children took: seconds of wall and CPU, and the largest one's peak bytes."""

    wall: float
    cpu: float
    peak: int


@dataclass(frozen=True)
class Item:
    """One line of what a figure is made of, in the figure's unit."""

    name: str
    ours: float | None
    peer: float | None = None


@dataclass(frozen=True)
class Figure:
    """One published figure: samples of ours and of the peer, and the largest ratio of their medians allowed."""

    name: str
    unit: str
    ours_samples: Sequence[float]
    peer_samples: Sequence[float]
    peer_name: str
    bound: float | None = None
    target: float | None = None
    note: str = ""
    items: Sequence[Item] = field(default_factory=tuple)

    @property
    def ours(self) -> float:
        """Median of our samples."""
        return statistics.median(self.ours_samples)

    @property
    def peer(self) -> float:
        """Median of the peer's samples."""
        return statistics.median(self.peer_samples)

    @property
    def ratio(self) -> float:
        """Ours over the peer's: below 1 is better than the peer."""
        return self.ours / self.peer

    @property
    def met(self) -> bool | None:
        """Whether the ratio keeps the bound; None where the figure is published without one."""
        return None if self.bound is None else self.ratio <= self.bound

    def as_json(self) -> dict[str, Any]:
        """Everything above as plain values."""
        computed = {"ours": self.ours, "peer": self.peer, "ratio": self.ratio, "met": self.met}
        return {**asdict(self), **computed}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Figure":
        """Read the figure that `as_json` wrote."""
        known = {name: values[name] for name in cls.__dataclass_fields__ if name != "items"}
        return cls(**known, items=[Item(**item) for item in values["items"]])


def interleaved(runs: int, *calls: Callable[[], T]) -> list[list[T]]:
    """Call A B A B ... and return one list of results per call, so that a slow minute of the machine hits all alike."""
    rounds = [[call() for call in calls] for _ in range(runs)]
    return [list(samples) for samples in zip(*rounds, strict=True)]


def seconds(call: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def run_child(argv: Sequence[str | Path], env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> Cost:
    """Run a command to its end and return its cost; its output is shown only if it fails."""
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        child = subprocess.Popen(
            argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            output.seek(0)
            raise SystemExit(f"{_shown(argv)} ended with status {child.returncode}:\n{output.read().decode()[-4000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def ask_child(script: str, child: str, *arguments: str, env: Mapping[str, str] | None = None) -> Any:
    """Call one of a script's `children` in a fresh interpreter and return its answer."""
    argv = [sys.executable, script, "--child", child, *arguments]
    ended = subprocess.run(argv, stdout=subprocess.PIPE, check=False, cwd=ROOT, env=env)
    if ended.returncode:
        raise SystemExit(f"{_shown(argv)} ended with status {ended.returncode}")
    return json.loads(ended.stdout)


def environment(**changes: str) -> dict[str, str]:
    """Copy the user's environment without what would point ours or the peer at another installation, with `changes`."""
    left_out = ("PYTHON", "DAGSTER", "WINE_", "FLYTE", "MLSERVER", "OTEL_", "PROMETHEUS", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return {**kept, **changes}


def one_thread() -> dict[str, str]:
    """Give an environment with one BLAS and OpenMP thread: idle ones spin, and a busy machine upsets them."""
    return environment(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")


def script(
    figures: Callable[[int], list[Figure]], runs: int, children: Mapping[str, Callable[..., Any]] | None = None
) -> None:
    """Be a command: measure and print, or answer as one of the script's own children."""
    arguments = command_line(runs)
    if arguments.child:
        name, *rest = arguments.child
        json.dump((children or {})[name](*rest), sys.stdout)
        return
    finish(figures(arguments.runs), arguments)


def command_line(runs: int | None) -> argparse.Namespace:
    """Read the flags that every script takes."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument(
        "--runs",
        type=_at_least_one,
        default=runs,
        help=f"measured rounds; {runs or 'what each script finds enough'} by default",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--strict", action="store_true", help="exit with status 1 when a bound is missed")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    return parser.parse_args()


def finish(figures: list[Figure], arguments: argparse.Namespace, *, failed: bool = False) -> None:
    """Print the figures, and exit: 2 if a script failed, 1 if the caller is strict and a bound is missed, else 0."""
    if arguments.json:
        print(json.dumps({"machine": machine(), "figures": [figure.as_json() for figure in figures]}, indent=2))
    else:
        print_figures(figures)
    missed = arguments.strict and any(figure.met is False for figure in figures)
    sys.exit(2 if failed else int(missed))


def machine() -> dict[str, Any]:
    """Where it was measured: processors, load at the end, Python."""
    return {
        "processors": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg(),
        "python": sys.version.split()[0],
    }


def print_figures(figures: Sequence[Figure]) -> None:
    """Print one table of the figures, then what each is made of."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table("figure", "unit", "peer", title="Speed and memory against a peer in the same run")
    for heading in ("ours", "peer's", "ratio", "bound", "met?"):
        table.add_column(heading, justify="right", no_wrap=True)
    for figure in figures:
        table.add_row(figure.name, figure.unit, figure.peer_name, *_cells(figure))
    console.print(table)
    for figure in figures:
        _print_items(console, figure)
    for note in dict.fromkeys(figure.note for figure in figures if figure.note):
        console.print(note, markup=False)


def _print_items(console: Any, figure: Figure) -> None:
    from rich.table import Table

    if not figure.items:
        return
    table = Table(f"{figure.name}: made of", title_justify="left")
    for heading in (f"ours, {figure.unit}", f"peer's, {figure.unit}"):
        table.add_column(heading, justify="right")
    for item in figure.items:
        table.add_row(item.name, _number(item.ours), _number(item.peer))
    console.print(table)


def _cells(figure: Figure) -> list[str]:
    met = {None: "-", True: "yes", False: "NO"}[figure.met]
    return [_number(figure.ours), _number(figure.peer), f"{figure.ratio:.2f}", _bound(figure), met]


def _bound(figure: Figure) -> str:
    bound = "none" if figure.bound is None else f"{figure.bound:.3g}"
    return bound + (f" (target {figure.target:.3g})" if figure.target else "")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if value < 1000 else f"{value:,.0f}"  # noqa: PLR2004  figures' width


def _shown(argv: Sequence[str | Path]) -> str:
    return " ".join(str(part) for part in argv)


def _at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least one run is needed")
    return number
