"""Watchers of gRPC's health: `grpc_watcher.py FUNCTION ADDRESS < data.json` prints each status on a line."""

import json
import sys
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from wine_assets_tests.support.serving.grpc_client import CALL_S, good, refusal


def told(address: str, service: str) -> None:
    """Say each status, and how the watching ends."""

    def follow() -> None:
        for answer in _watch(grpc.insecure_channel(address), service):
            _print(_name(answer))

    _print(refusal(follow))


def many(address: str, given: Any) -> None:
    """Begin to watch from one connection, once for each of some calls; then watch once more, and ask for one row.

    Then leave one of the watches, and begin another when a second line was read.
    """
    with grpc.insecure_channel(address) as channel:
        watching = [_watch(channel, "") for _ in range(given["calls"])]
        _print([_name(next(one)) for one in watching])
        _print({"one more": refusal(lambda: next(_watch(channel, ""))), "a row": good(address, given["row"])})
        watching[0].cancel()
        sys.stdin.readline()
        again = _watch(channel, "")
        _print(refusal(lambda: next(again)))


def _watch(channel: Any, service: str) -> Any:
    return health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=service), timeout=CALL_S)


def _name(answer: Any) -> str:
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def _print(what: Any) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201 - an answer


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2], json.loads(sys.stdin.readline()))
