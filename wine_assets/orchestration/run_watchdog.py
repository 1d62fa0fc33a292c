"""A small process that outlives a run's process, and records the run as failed when that one is killed.

A run started from the command line has no server that watches it. Its guardian waits at the other end of a pipe: when
the pipe closes without a word, the run's process is gone, whatever killed it, and the run is put on record as failed.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_DONE = b"done"


@contextlib.contextmanager
def guarded(dagster_home: Path, run_id: str) -> Iterator[None]:
    """Have a guardian watch this process for the length of the block."""
    command = [sys.executable, "-m", "wine_assets.orchestration.run_watchdog", str(dagster_home), run_id]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:  # noqa: S603 - our own
        try:
            yield
        finally:
            process.communicate(_DONE)


def watch(dagster_home: str, run_id: str) -> None:
    """Wait until the pipe closes; record the run as failed when it closes without a word."""
    if sys.stdin.buffer.read() == _DONE:
        return
    from dagster import DagsterInstance

    with DagsterInstance.from_config(dagster_home) as instance:
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            message = (
                "The process of this run ended in the middle of it: it was killed, or a step went on after its "
                "timeout. What was stored before stays as it was. Start the run again."
            )
            instance.report_run_failed(run, message)
            sys.stderr.write(f"{message}\n")


if __name__ == "__main__":
    watch(*sys.argv[1:])
