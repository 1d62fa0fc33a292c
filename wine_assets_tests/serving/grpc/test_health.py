"""Watching the health of a server over gRPC."""

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2

from wine_assets.inference import Predictor
from wine_assets.serving.data_plane import DataPlane, LoadedModel
from wine_assets.serving.grpc.health import Health
from wine_assets.serving.observability.drift_watch import DriftWatch
from wine_assets.serving.observability.metrics import Metrics
from wine_assets_tests.support.serving.clients import (
    read_line,
    send_line,
    serve_http_and_grpc,
    serve_without_model,
    start_client,
)
from wine_assets_tests.support.serving.models import promote, publish_models, rows
from wine_assets_tests.support.serving.server_process import ServerProcess, wait_until
from wine_assets_tests.support.wine_frames import DEFAULT, exported

WATCHER = "grpc_watcher"
SERVICE = "inference.GRPCInferenceService"
CALLS = 20
STOPS = "UNAVAILABLE: The server stops. Watch another one."


@pytest.mark.parametrize("service", ["", SERVICE])
def test_watcher_gets_every_change(tmp_path: Path, service: str) -> None:
    """A watcher gets every change of readiness, from the first model to the end."""
    with (
        serve_without_model(tmp_path, "--drain-s", "60", "--finish-s", "60") as (server, address),
        start_client(WATCHER, "told", address) as client,
    ):
        send_line(client, service)
        assert read_line(client) == "NOT_SERVING"
        promote(publish_models(tmp_path / "wine"), 1)
        assert read_line(client) == "SERVING"
        server.process.send_signal(signal.SIGTERM)
        assert read_line(client) == "NOT_SERVING"
        server.process.send_signal(signal.SIGTERM)  # don't drain any longer
        assert read_line(client) == STOPS
        assert server.process.wait(10) == 0
        assert server.log()[-1]["message"] == "Stopped."


def test_an_unknown_service_may_be_watched_and_stays_unknown(tmp_path: Path) -> None:
    with (
        serve_without_model(tmp_path) as (server, address),
        start_client(WATCHER, "told", address) as client,
    ):
        send_line(client, "other")
        assert read_line(client) == "SERVICE_UNKNOWN"
        promote(publish_models(tmp_path / "wine"), 1)
        server.wait_for_version(1)
        assert server.stop() == 0
        assert read_line(client) == STOPS


def test_the_last_change_is_told_by_a_server_that_does_not_drain(tmp_path: Path) -> None:
    with (
        serve_http_and_grpc(tmp_path, 1, "--finish-s", "60") as (server, address),
        start_client(WATCHER, "told", address) as client,
    ):
        send_line(client, "")
        assert read_line(client) == "SERVING"
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 10
        assert [read_line(client), read_line(client)] == ["NOT_SERVING", STOPS]


def test_as_many_watch_as_may_without_keeping_a_request_out(tmp_path: Path) -> None:
    with (
        serve_http_and_grpc(tmp_path, 1, "--connections", str(CALLS)) as (server, address),
        start_client(WATCHER, "many", address) as client,
    ):
        send_line(client, {"row": rows()[0].tolist(), "calls": CALLS})
        assert read_line(client) == ["SERVING"] * CALLS
        assert read_line(client) == {
            "one more": f"RESOURCE_EXHAUSTED: {CALLS} such calls run already. Try again when some have ended.",
            "a row": "OK",
        }
        server.wait_for(lambda: _watching(server) == CALLS - 1)
        send_line(client, None)
        assert read_line(client) == "OK"
        client.communicate(timeout=60)
        server.wait_for(lambda: _watching(server) == 0)


def test_who_watches_and_is_gone_without_a_word_is_missed(tmp_path: Path) -> None:
    deadlines = ("--idle-s", "0.5", "--header-deadline-s", "0.5")
    with (
        serve_http_and_grpc(tmp_path, 1, *deadlines) as (server, address),
        start_client(WATCHER, "told", address) as client,
    ):
        send_line(client, "")
        assert read_line(client) == "SERVING"
        _stay(server)
        client.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: _watching(server) == 0, seconds=20)
        finally:
            client.kill()


def test_change_before_the_wait_is_not_missed() -> None:
    """A change of readiness between the yield of a status and the wait is reported."""
    data_plane = DataPlane(Metrics(DriftWatch()), rows_limit=1)
    data_plane.model = LoadedModel("wine", Predictor(exported(DEFAULT)))

    async def watch() -> list[Any]:
        watching = Health(data_plane).Watch(health_pb2.HealthCheckRequest())
        first = await anext(watching)
        second = asyncio.ensure_future(anext(watching))
        await asyncio.sleep(0)  # it has found nothing new, and whoever looks for a change hasn't begun to
        data_plane.draining = True
        return [first.status, (await asyncio.wait_for(second, 10)).status]

    serving = health_pb2.HealthCheckResponse
    assert asyncio.run(watch()) == [serving.SERVING, serving.NOT_SERVING]


def _stay(server: ServerProcess) -> None:
    """See that who answers stays, for longer than who doesn't would."""
    end = time.monotonic() + 3
    while time.monotonic() < end:
        assert _watching(server) == 1
        time.sleep(0.1)


def _watching(server: ServerProcess) -> float:
    """Return how many watch."""
    lines = [line for line in server.get("/metrics").body.decode().splitlines() if 'grpc_method="Watch"' in line]
    begun, ended = (
        sum(float(line.split()[-1]) for line in lines if line.startswith(f"grpc_server_{which}_total"))
        for which in ("started", "handled")
    )
    return begun - ended
