"""A server that has the libraries of a run imported, and forks a process for each command line.

A cold command spends most of its time importing libraries. A forked process executes the same program from parsing its
arguments to the exit of its interpreter, under a process id, in a process group, with an environment and with files of
its own; only the modules are there already.
"""

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

from wine_assets_tests.support.command_line import PROGRAM, Ended, environment

LIBRARIES = (
    "dagster", "fsspec", "hypothesis.extra.pandas", "matplotlib.figure", "matplotlib.backends.backend_agg", "onnx",
    "pandas", "pandera.pandas", "pandera.backends.pandas.builtin_checks", "pyarrow.parquet", "rich.console", "skl2onnx",
    "sklearn.calibration", "sklearn.datasets", "sklearn.inspection", "sklearn.linear_model", "sklearn.metrics",
    "sklearn.model_selection", "sklearn.pipeline", "sklearn.preprocessing", "skops.io", "sqlalchemy", "threadpoolctl",
    "typer", "wine_assets.cli.commands.run", "wine_assets.data.columns",
    "wine_assets.orchestration.assets.search", "wine_assets.orchestration.jobs", "wine_assets.orchestration.resources",
    "wine_assets.orchestration.sensors", "wine_assets.reports.evaluation_report",
)  # fmt: skip
"""All that a run imports but two: onnxruntime starts a thread, which a fork would not survive, and
`wine_assets.definitions` is made for each command, as its environment describes it."""
CLEAN = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Without threads of linear algebra, because a fork takes none along."""
_REQUEST_BYTES = 1 << 20
_DESCRIPTORS = 4


class WarmProcess:
    """A command that was started warm; a part of what `subprocess.Popen` has."""

    def __init__(self, out: IO[str], err: IO[str], status: IO[str]) -> None:
        self.stdout = out
        self._err = err
        self._status = status
        self.pid = int(status.readline())
        self.returncode: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        for file in (self.stdout, self._err, self._status):
            file.close()

    def send_signal(self, number: int) -> None:
        """Send a signal to the process."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process, and return its status."""
        if self.returncode is None:
            self.returncode = int(self._status.readline())
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Return what is printed until every process that can print has ended."""
        out = self.stdout.read()
        self.wait()
        self._err.seek(0)
        return out, self._err.read()


class WarmCli:
    """The side of the server that tests talk to."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def start(
        self, home: Path, *arguments: str, changes: Mapping[str, str] | None = None, kill_at: int | None = None
    ) -> WarmProcess:
        """Start a command; it kills its process group at its event number `kill_at`, if it comes to that."""
        reader, writer = os.pipe()
        err = tempfile.TemporaryFile("w+")  # noqa: SIM115 - the process closes it
        with open(os.devnull) as nothing, open(writer, "w") as out:  # noqa: PTH123 - a descriptor is no path
            files = [nothing.fileno(), out.fileno(), err.fileno()]
            status = self.fork(home, arguments, files, changes=changes, kill_at=kill_at)
        return WarmProcess(open(reader), err, status)  # noqa: PTH123 - likewise

    def run(self, home: Path, *arguments: str, changes: Mapping[str, str] | None = None) -> Ended:
        """Run a command to its end."""
        with self.start(home, *arguments, changes=changes) as process:
            out, err = process.communicate()
            return Ended(process.wait(), out, err)

    def events(self, home: Path, *arguments: str) -> list[str]:
        """Run a command to its end, and return the names of its events in their order."""
        trace = home.with_name("events")
        with self.start(home, *arguments, changes={"WARM_CLI_TRACE": str(trace)}) as process:
            assert process.wait() == 0, process.communicate()[1]
        return trace.read_text().splitlines()

    def fork(self, home: Path, arguments: Sequence[str], files: Sequence[int], **request: Any) -> IO[str]:
        """Start a command on three open files; return the file that its process id and its status come from."""
        changes = request.pop("changes", None) or {}
        reader, writer = os.pipe()
        request["import_anew"] = bool(changes)  # some settings are read when a module is imported
        request |= {"arguments": arguments, "cwd": str(home.parent), "environment": environment(home, CLEAN | changes)}
        socket.send_fds(self._connection, [json.dumps(request).encode()], [*files, writer])
        os.close(writer)
        return open(reader)  # noqa: PTH123 - a descriptor


@contextmanager
def start_warm_cli() -> Iterator[WarmCli]:
    """Start the server; it ends with this process at the latest."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", __name__, str(theirs.fileno())]
    with ours, tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            command, env=environment(Path(folder), CLEAN), pass_fds=[theirs.fileno()], start_new_session=True
        )
        theirs.close()
        with process:
            yield WarmCli(ours)
            ours.close()


def serve(connection: socket.socket) -> None:
    """Fork a keeper for each request, which forks the command and tells its status; end when nobody can ask."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers are waited for by nobody
    _import_libraries()
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, _REQUEST_BYTES, _DESCRIPTORS)
        if not request:
            return
        if os.fork() == 0:
            connection.close()
            _keep(json.loads(request), descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)


def _import_libraries() -> None:
    """Import what a run imports; Dagster imports a part when it opens an instance."""
    from wine_assets import settings
    from wine_assets.orchestration.instance import quiet_instance

    for name in LIBRARIES:
        importlib.import_module(name)
    with quiet_instance(settings.home()) as instance:
        instance.get_runs()


def _keep(request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Fork the command, and tell its process id and its status; return in the command's process alone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(writer)
        os.read(reader, 1)  # until its process group is made
        os.close(reader)
        _become(request, descriptors)
        return
    os.setpgid(process, process)
    os.close(writer)
    for descriptor in descriptors[:3]:
        os.close(descriptor)
    with open(descriptors[3], "w") as status:  # noqa: PTH123 - a descriptor
        status.write(f"{process}\n")
        status.flush()
        status.write(f"{os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])}\n")
    os._exit(0)


def _become(request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Run the command in this process, as if it had just been started."""
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        os.close(descriptor)
    sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: SIM115 - buffered by what they are
    sys.stderr = open(2, "w", buffering=1)  # noqa: SIM115 - as Python has it
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    sys.argv = [PROGRAM, *request["arguments"]]
    if request["import_anew"]:
        for name in [name for name in sys.modules if name.partition(".")[0] == "wine_assets"]:
            del sys.modules[name]
    from wine_assets.cli.entry import main

    _watch_events(request.get("kill_at"))
    main()


_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_EVENTS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "sqlite3.connect"}


def _watch_events(kill_at: int | None) -> None:
    """Count this process's events, each just before it happens: what it changes in its home.

    At the event number `kill_at` the process kills its group. Where the environment names a trace, every event is
    written there.
    """
    home, trace = os.environ["WINE_ASSETS_HOME"], os.environ.pop("WARM_CLI_TRACE", None)
    if kill_at is None and trace is None:
        return
    descriptor = os.open(trace or os.devnull, os.O_WRONLY | os.O_CREAT)
    count = 0

    def on_event(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if name not in _EVENTS or not _changes(name, arguments, home):
            return
        if count == kill_at:
            os.killpg(0, signal.SIGKILL)
        count += 1
        os.write(descriptor, f"{name}\n".encode())

    sys.addaudithook(on_event)


def _changes(name: str, arguments: tuple[Any, ...], home: str) -> bool:
    """Tell whether an event changes a file, or a database, below a folder."""
    path = arguments[0]
    if not isinstance(path, str | bytes | os.PathLike) or not os.fsdecode(path).startswith(home):
        return False
    return name != "open" or bool(arguments[2] & _WRITES)


if __name__ == "__main__":
    with contextlib.closing(socket.socket(fileno=int(sys.argv[1]))) as listening:
        serve(listening)
