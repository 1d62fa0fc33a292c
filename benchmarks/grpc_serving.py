"""Calls over gRPC from 16 callers of one process, over MLServer, one process each and the same client for both.

Seconds that a thousand calls take, published without a bound: one row as typed values; a thousand rows as bytes, over
MLServer with bytes and with typed values. MLServer is asked for the probabilities alone, ours answers with labels and
probabilities.

The client takes about two thirds of the CPU time that our server does. Where they share few processors, the CPU time of
the serving processes, which stands beside the seconds, says more than the ratio.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import http_serving
import measure
import mlserver_peer
import reference_model
from grpc_load import RAW, TYPED, Ask, put_under_load
from http_load import Served
from http_serving import CLOSE, MANY, throughput
from measure import Figure
from server_process import ServerProcess, free_ports


class Servers(NamedTuple):
    """Both, each with the model loaded; one waits for calls while the other is measured."""

    ours: ServerProcess
    mlserver: ServerProcess


def figures(runs: int) -> list[Figure]:
    """Put the servers under load in turns, after one unmeasured round."""
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
    port = free_ports(1)[0]
    (folder / "ours").mkdir()
    (folder / "mlserver").mkdir()
    with ExitStack() as stack:
        ours = stack.enter_context(http_serving.ours(repository, folder / "ours", "--grpc-port", str(port)))
        mlserver = stack.enter_context(mlserver_peer.serve(folder / "mlserver"))
        yield Servers(replace(ours, grpc_port=port), mlserver)


def _asks(servers: Servers) -> dict[str, Ask]:
    mlserver = partial(Ask, servers.mlserver, output="predict_proba")
    return {
        "ours": Ask(servers.ours, 1, TYPED),
        "mlserver": mlserver(1, TYPED),
        "ours, many": Ask(servers.ours, MANY, RAW),
        "mlserver, many": mlserver(MANY, RAW),
        "mlserver, typed": mlserver(MANY, TYPED),
    }


def _figures(measured: Mapping[str, Sequence[Served]], note: str) -> list[Figure]:
    figure = partial(throughput, measured, note=note)
    return [
        figure("1,000 calls over gRPC, one row", "ours", "mlserver", "MLServer"),
        figure("1,000 calls over gRPC, 1,000 rows as bytes", "ours, many", "mlserver, many", "MLServer"),
        figure("1,000 calls over gRPC, 1,000 rows", "ours, many", "mlserver, typed", "MLServer, typed values"),
    ]


def _refuse_unless_equal(asks: Mapping[str, Ask]) -> None:
    """Make sure that the servers answer the same, and as many rows as they are asked for."""
    answers = {name: ask.once() for name, ask in asks.items()}
    for name, ask in asks.items():
        values, others = answers[name], answers["mlserver"] * ask.rows
        if len(values) != len(others) or max(abs(a - b) for a, b in zip(values, others, strict=True)) > CLOSE:
            raise SystemExit(f"{name!r} is answered differently: there is nothing to compare")


if __name__ == "__main__":
    measure.script(figures, runs=5)
