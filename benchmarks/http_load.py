"""The load for HTTP servers: wrk with 16 connections that send one request repeatedly."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from server_process import ServerProcess

CONNECTIONS = 16
SECONDS = 2
_SCRIPT = """
local file = io.open([[{body}]], "rb")
wrk.method, wrk.body = "POST", file:read("*a")
file:close()
{headers}
function done(summary, latency)
  local errors = summary.errors
  local answer = io.open([[{answer}]], "w")
  answer:write(string.format('{{"seconds": %f, "requests": %d, "failed": %d, "p50": %f, "p99": %f}}',
    summary.duration / 1e6, summary.requests,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
  answer:close()
end
"""


@dataclass(frozen=True)
class Ask:
    """A request that is sent again and again."""

    server: ServerProcess
    path: str
    body: bytes
    headers: Mapping[str, str]

    def once(self) -> bytes:
        """Return the answer to it."""
        return self.server.post(self.path, self.body, self.headers)


@dataclass(frozen=True)
class Served:
    """What a server did under load: seconds for a thousand requests, CPU seconds of the server for them, latencies."""

    seconds: float
    cpu: float
    p50_ms: float
    p99_ms: float


def require_wrk() -> str:
    """Return the path of wrk; end the program if it isn't installed."""
    command = shutil.which("wrk")
    if command is None:
        raise SystemExit("The benchmarks of HTTP need wrk, which is not installed. Install it: apt-get install wrk.")
    return command


def put_under_load(ask: Ask) -> Served:
    """Send requests for some seconds, and fail unless every response has status 200."""
    before = ask.server.cpu_seconds()
    measured = _wrk(ask)
    cpu = ask.server.cpu_seconds() - before
    if measured["failed"] or not measured["requests"]:
        raise SystemExit(f"{measured['failed']} of {measured['requests']} requests to {ask.path} failed")
    thousands = measured["requests"] / 1000
    return Served(measured["seconds"] / thousands, cpu / thousands, measured["p50"], measured["p99"])


def _wrk(ask: Ask) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="wine-bench-") as name:
        folder = Path(name)
        headers = "\n".join(f"wrk.headers[{json.dumps(key)}] = {json.dumps(to)}" for key, to in ask.headers.items())
        script = _SCRIPT.format(body=folder / "body", headers=headers, answer=folder / "answer")
        (folder / "body").write_bytes(ask.body)
        (folder / "load.lua").write_text(script)
        asked: list[str | Path] = [
            require_wrk(),
            "-t1",
            f"-c{CONNECTIONS}",
            f"-d{SECONDS}s",
            "-s",
            folder / "load.lua",
            ask.server.url(ask.path),
        ]
        subprocess.run(asked, check=True, stdout=subprocess.DEVNULL)
        answer: dict[str, float] = json.loads((folder / "answer").read_text())
        return answer
