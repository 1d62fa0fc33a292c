"""Which of the stored files stay, and which are removed."""

import shutil
import time
from pathlib import Path

import dagster as dg

from wine_assets.files import sweep_temporaries

KEPT_VERSIONS = 3
"""How many versions of an asset stay on disk: the recorded one, and the ones before it."""
KEPT_REPORTS = 20
"""How many reports stay on disk; materializations of the past link to them."""
KEPT_RUNS = 20
"""How many runs of searches keep the chunks of their steps, so that a failed run can go on from its failure."""
SPARED_S = 3600.0
"""The least age of a file that is removed: a run that is under way may be about to read a younger one."""
ORPHAN_AGE_S = 3600.0
"""The age at which a temporary file counts as left behind by a killed process."""


def prune(folder: Path, suffix: str, kept: int, needed: set[str]) -> None:
    """Remove all but the newest `kept` files of a folder, never a young one nor one whose name is `needed`."""
    newest_first = sorted(folder.glob(f"[!.]*{suffix}"), key=_modified, reverse=True)
    for path in newest_first[kept:]:
        if path.stem not in needed and time.time() - _modified(path) >= SPARED_S:
            path.unlink(missing_ok=True)
    sweep_temporaries(folder, older_than_s=ORPHAN_AGE_S)


def prune_runs(folder: Path, instance: dg.DagsterInstance) -> None:
    """Remove all but the newest `KEPT_RUNS` folders of runs, never a young one nor that of a run that is under way."""
    newest_first = sorted(folder.iterdir(), key=_modified, reverse=True)
    for path in newest_first[KEPT_RUNS:]:
        if time.time() - _modified(path) < SPARED_S:
            continue
        run = instance.get_run_by_id(path.name)
        if run is None or run.is_finished:
            shutil.rmtree(path, ignore_errors=True)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another run has just removed it
        return 0.0
