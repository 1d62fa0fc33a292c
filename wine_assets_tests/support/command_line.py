"""The command line as tests call it: in this process, or as a process of its own."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from wine_assets import settings
from wine_assets.cli.entry import main
from wine_assets.orchestration import data_versions, instance

PROGRAM = str(Path(sys.executable).with_name("wine-assets"))
ASSETS = (
    *("raw_wine", "binarized_wine", "wine_model", "model_evaluation", "wine_model_onnx", "released_model"),
    "wine_predictions",
)
MODEL_ASSETS = ASSETS[2:]
QUICK = ("--folds", "2", "--permutations", "1")
"""An evaluation that takes a tenth of the time, for tests of other things."""
OTHER_VARIABLES = ("DAGSTER_HOME", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "NO_COLOR")
"""What changes what is printed, or where Dagster writes, beside the project's own variables."""


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


def variables() -> list[str]:
    """Return the names of all environment variables that tests must not inherit."""
    return [*OTHER_VARIABLES, *(value for name, value in vars(settings).items() if name.endswith("_VARIABLE"))]


def environment(home: Path, changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a process whose home is `home`, free of the user's own settings."""
    own = {name: value for name, value in os.environ.items() if name not in variables()}
    return {**own, settings.HOME_VARIABLE: str(home), **(changes or {})}


def called(*arguments: str) -> Ended:
    """Call the command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", [PROGRAM, *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
    assert isinstance(ended.value.code, int)
    return Ended(ended.value.code, out.getvalue(), err.getvalue())


def started(
    home: Path, *arguments: str, changes: Mapping[str, str] | None = None, cwd: Path | None = None
) -> "subprocess.Popen[str]":
    """Start the command line as a process of its own, from nothing, in a group of its own, as a shell does."""
    return subprocess.Popen(
        [PROGRAM, *arguments],
        process_group=0,
        env=environment(home, changes),
        cwd=cwd or home.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ran(home: Path, *arguments: str, changes: Mapping[str, str] | None = None) -> Ended:
    """Run the command line as a process of its own, to its end."""
    with started(home, *arguments, changes=changes) as process:
        out, err = process.communicate(timeout=280)
        return Ended(process.returncode, out, err)


def runs(home: Path) -> list[dg.DagsterRun]:
    """Return the runs on record, the newest first."""
    with instance.quiet_instance(settings.Home(home)) as dagster:
        return list(dagster.get_runs())


def recorded(home: Path) -> dict[str, str]:
    """Return the data version on record of each asset that has one."""
    with instance.quiet_instance(settings.Home(home)) as dagster:
        records = {name: data_versions.latest(dagster, dg.AssetKey(name)) for name in ASSETS}
    return {name: data_versions.recorded(record) for name, record in records.items() if record}


def is_sentence(text: str) -> bool:
    """Tell whether a text is one line that ends with a period and shows no traceback."""
    return text.count("\n") == 1 and text.endswith(".\n") and "Traceback" not in text
