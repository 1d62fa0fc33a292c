"""A command line that is warm: a server which has the libraries imported, and forks a process for each command.

A run spends most of its time importing libraries, when nothing can be lost. Killing runs by the dozen from cold would
spend minutes there. A forked process executes the very same program, from parsing its arguments to its exit, under
its own process id, in a process group and with files of its own; only what Python has imported is there already, so
that nearly every moment at which it can be killed is one at which it works.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from wine_assets_tests.support.command_line import Ended, environment

LIBRARIES = (
    "dagster", "fsspec", "matplotlib.figure", "matplotlib.backends.backend_agg", "onnx", "pandas",
    "pandera.pandas", "pyarrow.parquet", "rich.console", "skl2onnx", "sklearn.calibration", "sklearn.datasets",
    "sklearn.inspection", "sklearn.linear_model", "sklearn.metrics", "sklearn.model_selection", "sklearn.pipeline",
    "sklearn.preprocessing", "skops.io", "sqlalchemy", "threadpoolctl", "typer", "wine_assets.cli.commands.pipeline",
    "wine_assets.definitions", "wine_assets.reports.evaluation_report", "wine_assets.data.columns",
)  # fmt: skip
"""All that a run imports but onnxruntime, which opens a database and starts a thread that a fork would not survive."""


@dataclass
class WarmProgram:
    """The side of the server that tests talk to."""

    server: "subprocess.Popen[str]"
    folder: Path

    def run(self, *arguments: str) -> tuple[Ended, float]:
        """Run a command to its end; return how it ended and how many seconds it took."""
        self._start(arguments)
        began = time.monotonic()
        status = self._status()
        return self._ended(status), time.monotonic() - began

    def killed(self, *arguments: str, after_s: float) -> bool:
        """Start a command and kill its process group; return whether it was still at work."""
        group = self._start(arguments)
        time.sleep(after_s)
        with suppress(ProcessLookupError):  # it has ended already
            os.killpg(group, signal.SIGKILL)
        return self._status() == -signal.SIGKILL

    def _start(self, arguments: tuple[str, ...]) -> int:
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps(arguments) + "\n")
        self.server.stdin.flush()
        return self._answer()

    def _status(self) -> int:
        return self._answer()

    def _answer(self) -> int:
        assert self.server.stdout is not None
        return int(self.server.stdout.readline())

    def _ended(self, status: int) -> Ended:
        return Ended(status, (self.folder / "out").read_text(), (self.folder / "err").read_text())


@contextmanager
def warm_program(home: Path, folder: Path) -> Iterator[WarmProgram]:
    """Start the server for commands on the home `home`; what they print goes to files in `folder`."""
    changes = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # a fork takes no threads along
    command = [sys.executable, "-m", __name__, str(folder)]
    with subprocess.Popen(
        command, env=environment(home, changes), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        program = WarmProgram(server, folder)
        assert program._answer() == 0
        yield program
        assert server.stdin is not None
        server.stdin.close()


def serve(folder: Path) -> None:
    """Fork a process for each line of arguments; say its id at once, and its status when it has ended."""
    for name in LIBRARIES:
        importlib.import_module(name)
    _say(0)
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            _become(json.loads(line), folder)
        _wait_for_group(process)
        _say(process)
        _say(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))


def _become(arguments: list[str], folder: Path) -> None:
    """Turn this process into the command, as if it had just been started."""
    from wine_assets.cli.entry import main

    os.setpgid(0, 0)
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["wine-assets", *arguments]
    status = 1
    try:
        main()
    except SystemExit as ended:
        status = int(ended.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait_for_group(process: int) -> None:
    while os.getpgid(process) != process:
        time.sleep(0.0005)


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
