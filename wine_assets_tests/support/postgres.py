"""A real PostgreSQL of the tests' own: a private cluster in a temporary folder, gone when they end."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PASSWORD = "sesame-0pen"  # noqa: S105 - of a server that lives for one test run, on this machine alone
_OWNER = "postgres"


@dataclass(frozen=True)
class Postgres:
    """Where a running server listens."""

    port: int

    @property
    def url(self) -> str:
        """The URL with the password in it, as an environment variable would hold it."""
        return f"postgresql://{_OWNER}:{PASSWORD}@127.0.0.1:{self.port}/postgres"


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a cluster, yield where it listens, stop it and remove it."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="wine_assets-postgres-"))
    try:
        cluster = _made_cluster(programs, folder)
        port = _free_port()
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} -c fsync=off"
        _run(programs / "pg_ctl", "-D", cluster, "-w", "-l", folder / "log", "-o", options, "start")
        try:
            yield Postgres(port)
        finally:
            _run(programs / "pg_ctl", "-D", cluster, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _made_cluster(programs: Path, folder: Path) -> Path:
    password_file = folder / "password"
    password_file.write_text(PASSWORD)
    if os.geteuid() == 0:
        shutil.chown(folder, _OWNER)
        shutil.chown(password_file, _OWNER)
    cluster = folder / "cluster"
    _run(programs / "initdb", "-D", cluster, "-U", _OWNER, "-A", "scram-sha-256", f"--pwfile={password_file}", "-N")
    return cluster


def _programs() -> Path:
    """Return the folder of initdb and pg_ctl; skip the test without them, or fail it where the system must be whole."""
    found = [Path(path).parent for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    whole = [folder for folder in found if (folder / "initdb").exists() and (folder / "pg_ctl").exists()]
    if whole:
        return whole[0]
    reason = "PostgreSQL is not installed (no initdb in PATH or /usr/lib/postgresql)"
    if os.environ.get("REQUIRE_SYSTEM") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _run(*command: str | Path) -> None:
    """Run a program of PostgreSQL, which refuses to be root, as the user that the package made for it."""
    arguments = [str(part) for part in command]
    if os.geteuid() == 0:
        arguments = ["setpriv", f"--reuid={_OWNER}", f"--regid={_OWNER}", "--clear-groups", *arguments]
    subprocess.run(arguments, check=True, cwd="/", stdout=subprocess.DEVNULL, timeout=120)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
