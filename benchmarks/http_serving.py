"""Requests over HTTP with 16 connections, over a bare echo route and over MLServer, one process each.

Seconds that a thousand requests take, so that less is better as everywhere else:

- one row as JSON of the Open Inference Protocol, answered with label and probabilities, over a bare ASGI route which
  sends the body back on the same uvicorn: at most 2.22, that is, 0.45 of its requests per second; target 1.67 (0.6);
- the same over MLServer with its scikit-learn runtime, no worker processes and no logs, which is asked for the
  probabilities alone: at most 0.1; and the 99th percentile of our latencies over the median of MLServer's: at most 1;
- a thousand rows as JSON, and as bytes after the JSON (which MLServer doesn't take: its peer is the JSON), and one row
  with two processes over one: published, no bound.

Beside them stands what CPU time the serving process itself takes for a thousand requests.
"""

import json
import statistics
import struct
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import measure
import mlserver_peer
import reference_model
from http_load import Ask, Served, put_under_load, require_wrk
from measure import Figure, Item
from server_process import ServerProcess, free_ports, serving

ROW = (14.23, 1.71, 2.43, 15.6, 127.0, 2.8, 3.06, 0.28, 2.29, 5.64, 1.04, 3.92, 1065.0)
MANY = 1000
PATH = f"/v2/models/{mlserver_peer.NAME}/infer"
JSON = {"Content-Type": "application/json"}
ECHO = Path(__file__).with_name("echo_app.py")
CLOSE = 1e-4


class Servers(NamedTuple):
    """All that are asked, each with the model loaded; they wait for requests while another is measured."""

    ours: ServerProcess
    two_workers: ServerProcess
    echo: ServerProcess
    mlserver: ServerProcess


def figures(runs: int) -> list[Figure]:
    """Put the servers under load in turns, after one unmeasured round."""
    require_wrk()
    note = mlserver_peer.prepare()
    with tempfile.TemporaryDirectory(prefix="wine-bench-") as folder, _servers(Path(folder)) as servers:
        asks = _asks(servers)
        _refuse_unless_equal(asks)
        calls = [partial(put_under_load, ask) for ask in asks.values()]
        measure.interleaved(1, *calls)
        measured = dict(zip(asks, measure.interleaved(runs, *calls), strict=True))
    return _figures(measured, note)


@contextmanager
def _servers(folder: Path) -> Iterator[Servers]:
    repository = reference_model.released(folder)
    with ExitStack() as stack:
        yield Servers(
            stack.enter_context(ours(repository, _made(folder / "ours"))),
            stack.enter_context(ours(repository, _made(folder / "workers"), "--workers", "2")),
            stack.enter_context(_echo(_made(folder / "echo"))),
            stack.enter_context(mlserver_peer.serve(_made(folder / "mlserver"))),
        )


@contextmanager
def ours(repository: Path, folder: Path, *more: str) -> Iterator[ServerProcess]:
    """Serve the champion of a repository until the end of the block."""
    port = free_ports(1)[0]
    given = {"--model": str(repository), "--port": str(port), "--grpc-port": "0"}
    flags = [part for pair in given.items() for part in pair]
    argv = [sys.executable, "-m", "wine_assets.serving", *flags, *more]
    with serving(argv, port, folder, "/v2/health/ready") as server:
        yield server


@contextmanager
def _echo(folder: Path) -> Iterator[ServerProcess]:
    port = free_ports(1)[0]
    with serving([sys.executable, ECHO, str(port)], port, folder, "/") as server:
        yield server


def _asks(servers: Servers) -> dict[str, Ask]:
    probabilities = {"outputs": [{"name": "predict_proba"}]}
    return {
        "ours": Ask(servers.ours, PATH, request(1), JSON),
        "echo": Ask(servers.echo, PATH, request(1), JSON),
        "mlserver": Ask(servers.mlserver, PATH, request(1, **probabilities), JSON),
        "ours, many": Ask(servers.ours, PATH, request(MANY), JSON),
        "mlserver, many": Ask(servers.mlserver, PATH, request(MANY, **probabilities), JSON),
        "ours, binary": Ask(servers.ours, PATH, *binary_request(MANY)),
        "two workers": Ask(servers.two_workers, PATH, request(1), JSON),
    }


def request(rows: int, **more: Any) -> bytes:
    """Return the JSON of a request for equal rows."""
    tensor = {"name": "features", "shape": [rows, len(ROW)], "datatype": "FP32", "data": list(ROW) * rows}
    return json.dumps({"inputs": [tensor], **more}).encode()


def binary_request(rows: int) -> tuple[bytes, dict[str, str]]:
    """Return the body of such a request with its values, and those of the answer, as bytes; and its headers."""
    values = struct.pack(f"<{len(ROW)}f", *ROW) * rows
    tensor = {"name": "features", "shape": [rows, len(ROW)], "datatype": "FP32"}
    sized = {**tensor, "parameters": {"binary_data_size": len(values)}}
    head = json.dumps({"inputs": [sized], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return head + values, headers


def _figures(measured: Mapping[str, Sequence[Served]], note: str) -> list[Figure]:
    figure = partial(throughput, measured)
    p99 = [served.p99_ms for served in measured["ours"]]
    p50 = [served.p50_ms for served in measured["mlserver"]]
    return [
        figure("1,000 requests, one row", "ours", "echo", "a bare echo route", bound=1 / 0.45, target=1 / 0.6),
        figure("1,000 requests, one row", "ours", "mlserver", "MLServer", bound=0.1, note=note),
        Figure("latency, our p99", "ms", p99, p50, "MLServer's p50", 1.0, note=note),
        figure("1,000 requests, 1,000 rows in JSON", "ours, many", "mlserver, many", "MLServer", note=note),
        figure("1,000 requests, 1,000 rows as bytes", "ours, binary", "mlserver, many", "MLServer, JSON", note=note),
        figure("1,000 requests, two workers", "two workers", "ours", "one worker"),
    ]


def throughput(  # noqa: PLR0913  what a figure has
    measured: Mapping[str, Sequence[Served]],
    name: str,
    ours: str,
    peer: str,
    peer_name: str,
    *,
    bound: float | None = None,
    target: float | None = None,
    note: str = "",
) -> Figure:
    """Compare the seconds of two of those that were measured, with the CPU of their processes beside them."""
    a, b = ([served.seconds for served in measured[which]] for which in (ours, peer))
    cpu_a, cpu_b = (statistics.median(served.cpu for served in measured[which]) for which in (ours, peer))
    items = [Item("CPU of the serving process", cpu_a, cpu_b)] if ours != "two workers" else []
    return Figure(name, "s", a, b, peer_name, bound, target, note, items)


def _refuse_unless_equal(asks: dict[str, Ask]) -> None:
    """Make sure that the servers answer the same, and as many rows as they are asked for."""
    for ours, peer in (("ours", "mlserver"), ("ours, many", "mlserver, many"), ("two workers", "mlserver")):
        values, others = (_probabilities(asks[which].once()) for which in (ours, peer))
        if len(values) != len(others) or max(abs(a - b) for a, b in zip(values, others, strict=True)) > CLOSE:
            raise SystemExit(f"the servers answer {ours!r} differently: there is nothing to compare")


def _probabilities(answer: bytes) -> list[float]:
    probabilities: list[float] = json.loads(answer)["outputs"][-1]["data"]
    return probabilities


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    measure.script(figures, runs=5)
