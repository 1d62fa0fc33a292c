"""CPU seconds of `wine-assets run`, cold, over those of `pyflyte run` on the same three steps.

Two figures, both ratios of CPU seconds (user and system, of the command and of every process it starts):

- `run --force` with a home that exists: at most 1.8, target 1.3, although it also evaluates, draws, exports and checks;
- an unchanged rerun, which has nothing to launch: at most 0.6.

The first is itemized: what one run's imports took, by top-level package, and the rest.
"""

import json
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
IMPORT_SECONDS = Path(__file__).with_name("import_seconds.py")


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
        items = _items(FORCED, ours, flyte_peer.COMMAND, theirs)
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


def _items(
    ours: Sequence[str | Path], our_env: Mapping[str, str], theirs: Sequence[str | Path], their_env: Mapping[str, str]
) -> list[Item]:
    """Say what one more run of each is made of."""
    our_total, our_imports = _imports(ours, our_env)
    their_total, their_imports = _imports(theirs, their_env)
    largest = [name for name, _ in (our_imports + their_imports).most_common(LISTED)]
    others = (our_imports + their_imports).keys() - set(largest)
    return [
        Item("such a run", our_total, their_total),
        Item("all but imports", our_total - our_imports.total(), their_total - their_imports.total()),
        Item("all imports", our_imports.total(), their_imports.total()),
        *(Item(f"  {name}", our_imports[name], their_imports[name]) for name in largest),
        Item("  every other package", *(sum(each[name] for name in others) for each in (our_imports, their_imports))),
    ]


def _imports(argv: Sequence[str | Path], env: Mapping[str, str]) -> tuple[float, Counter[str]]:
    """Return the CPU seconds of a run, and those of importing each top-level package in it."""
    script, *arguments = argv
    python = Path(script).parent / "python"
    with tempfile.TemporaryDirectory(prefix="wine-bench-") as folder:
        answer = Path(folder) / "seconds.json"
        cost = measure.run_child([python, IMPORT_SECONDS, answer, script, *arguments], env)
        return cost.cpu, Counter(json.loads(answer.read_text()))


if __name__ == "__main__":
    measure.script(figures, runs=5)
