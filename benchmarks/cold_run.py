"""CPU seconds of `wine-assets run`, cold, over those of `pyflyte run` on the same three steps.

Two figures, both ratios of CPU seconds (user and system, of the command and of every process it starts):

- `run --force` with a home that exists: at most 1.8, target 1.3, although it also evaluates, draws, exports and checks;
- an unchanged rerun, which has nothing to launch: at most 0.6.

The first is itemized: CPU time that each top-level package's modules took to import, as the interpreter reports it.
"""

import json
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import flyte_peer
import measure
from measure import Figure, Item

COMMAND: list[str | Path] = [measure.SCRIPTS / "wine-assets", "run"]
FORCED = [*COMMAND, "--force"]
LISTED = 20
IMPORT = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", re.MULTILINE)


def figures(runs: int) -> list[Figure]:
    """Measure both runs against the peer, in turns, after one unmeasured run of each."""
    note = flyte_peer.prepare()
    with tempfile.TemporaryDirectory(prefix="wine-bench-") as folder:
        ours = measure.environment(WINE_ASSETS_HOME=str(Path(folder) / "home"))
        theirs = flyte_peer.isolated(Path(folder))
        measure.run_child(COMMAND, ours)
        measure.run_child(flyte_peer.COMMAND, theirs)
        _refuse_unless_launched(FORCED, ours, launched=True)
        _refuse_unless_launched(COMMAND, ours, launched=False)
        forced, unchanged, peer = measure.interleaved(
            runs,
            partial(_cpu, FORCED, ours),
            partial(_cpu, COMMAND, ours),
            partial(_cpu, flyte_peer.COMMAND, theirs),
        )
        items = _itemized(_imports(FORCED, ours), _imports(flyte_peer.COMMAND, theirs))
    return [
        Figure("cold run, CPU", "s", forced, peer, "pyflyte run", 1.8, 1.3, note, items),
        Figure("unchanged rerun, CPU", "s", unchanged, peer, "pyflyte run", 0.6, note=note),
    ]


def _cpu(argv: Sequence[str | Path], env: Mapping[str, str]) -> float:
    return measure.run_child(argv, env).cpu


def _refuse_unless_launched(argv: Sequence[str | Path], env: Mapping[str, str], *, launched: bool) -> None:
    """Make sure that the two commands do what their figures say: all of it, and nothing."""
    ended = subprocess.run([*argv, "--json"], env=env, cwd=measure.ROOT, check=True, capture_output=True, text=True)
    if bool(names := json.loads(ended.stdout)["launched"]) is not launched:
        raise SystemExit(f"{' '.join(map(str, argv))} launched {names or 'nothing'}: there is nothing to compare")


def _imports(argv: Sequence[str | Path], env: Mapping[str, str]) -> Counter[str]:
    """Count the microseconds spent in each top-level package's own module bodies, in the command and its children.

    Self times add up; the clock is the interpreter's, and asking for the report costs a little itself.
    """
    env = {**env, "PYTHONPROFILEIMPORTTIME": "1"}
    ended = subprocess.run(argv, env=env, cwd=measure.ROOT, check=True, capture_output=True, text=True)
    microseconds: Counter[str] = Counter()
    for taken, module in IMPORT.findall(ended.stderr):
        microseconds[module.partition(".")[0]] += int(taken)
    return microseconds


def _itemized(ours: Counter[str], theirs: Counter[str]) -> list[Item]:
    largest = [name for name, _ in (ours + theirs).most_common(LISTED)]
    others = (ours + theirs).keys() - set(largest)
    return [
        Item("all imports", ours.total() / 1e6, theirs.total() / 1e6),
        *(Item(name, ours[name] / 1e6, theirs[name] / 1e6) for name in largest),
        Item("every other package", *(sum(each[name] for name in others) / 1e6 for each in (ours, theirs))),
    ]


if __name__ == "__main__":
    measure.script(figures, runs=5)
