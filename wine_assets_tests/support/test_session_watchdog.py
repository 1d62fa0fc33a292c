"""Sessions that end in the middle, and what is left of the processes and folders that they started."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wine_assets_tests.support.processes import all_gone, descendants, eventually

pytestmark = pytest.mark.process

SESSION = """
import subprocess, sys
from wine_assets_tests.support import session_watchdog

session_watchdog.start()
for command in ("sleep 600; true", "trap '' TERM; sleep 600; sleep 600", "env -i sleep 600; true"):
    subprocess.Popen(["sh", "-c", command], start_new_session=True)
print(session_watchdog.scratch_folder("watched"), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_session_that_ends_leaves_nothing(number: signal.Signals) -> None:
    """Servers in sessions of their own and scratch folders are gone after a session that was interrupted or killed."""
    command = [sys.executable, "-c", SESSION]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as session:
        assert session.stdout is not None
        folder = Path(session.stdout.readline().decode().strip())
        assert folder.is_dir()
        eventually(lambda: len(descendants(session.pid)) == 7)
        started = descendants(session.pid)
        os.kill(session.pid, number)
    eventually(lambda: all_gone(started))
    eventually(lambda: not folder.exists())
