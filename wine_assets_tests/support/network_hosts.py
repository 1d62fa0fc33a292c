"""Hosts of a network of their own: namespaces of this machine, of which one can be cut off."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

NETWORK = "10.77.0"


class Host:
    """A network namespace, and a place of its own for the files of Ray."""

    def __init__(self, name: str, number: int) -> None:
        self.name, self.address = name, f"{NETWORK}.{number}"
        ip("netns", "add", name)
        alone = "mkdir -p /tmp/ray && mount -t tmpfs tmpfs /tmp/ray && echo up && exec sleep infinity"
        command = ["ip", "netns", "exec", name, "unshare", "--mount", "sh", "-c", alone]
        self._first = subprocess.Popen(command, stdout=subprocess.PIPE)
        self._started = [self._first]
        assert self._first.stdout is not None
        assert self._first.stdout.readline() == b"up\n"

    def command(self, *command: str) -> list[str]:
        """Return a command as this host runs it; it has the same process id."""
        return ["nsenter", f"--target={self._first.pid}", "--mount", "--net", *command]

    def start(self, command: list[str], **how: Any) -> None:
        """Start a process that ends with the host."""
        self._started.append(subprocess.Popen(command, **how))

    @property
    def pids(self) -> list[int]:
        return [int(pid) for pid in ip("netns", "pids", self.name).split()]

    def cut_off(self, first: "Host") -> None:
        """Take the host's cable out."""
        ip("-n", first.name, "link", "set", self.name[-12:], "down")

    def end(self) -> None:
        """Kill all that runs on it, and remove it."""
        while pids := self.pids:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
            time.sleep(0.1)
        for process in self._started:
            process.communicate()
        ip("netns", "del", self.name)


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def network(count: int) -> Iterator[list[Host]]:
    """Yield hosts that reach each other over a switch, which is the first one's; skip the test where there are none."""
    if shutil.which("ip") is None or shutil.which("nsenter") is None:
        _miss("needs iproute2 and util-linux")
    hosts: list[Host] = []
    with contextlib.ExitStack() as stack:
        for number in range(1, count + 1):
            try:
                host = Host(f"wine{os.getpid()}h{number}", number)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"needs network namespaces, and may not make any: {error.stderr.strip()}")
            stack.callback(host.end)
            ip("-n", host.name, "link", "set", "lo", "up")
            hosts.append(host)
        _wire(hosts)
        yield hosts


def _wire(hosts: list[Host]) -> None:
    first = hosts[0]
    ip("-n", first.name, "link", "add", "switch", "type", "bridge")
    ip("-n", first.name, "addr", "add", f"{first.address}/24", "dev", "switch")
    ip("-n", first.name, "link", "set", "switch", "up")
    for host in hosts[1:]:
        port = host.name[-12:]
        ip("link", "add", port, "netns", first.name, "type", "veth", "peer", "name", "cable", "netns", host.name)
        ip("-n", first.name, "link", "set", port, "master", "switch", "up")
        ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", "cable")
        ip("-n", host.name, "link", "set", "cable", "up")


def _miss(reason: str) -> None:
    if os.environ.get("REQUIRE_SYSTEM") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
