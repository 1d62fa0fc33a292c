"""A serving process: it starts the HTTP and gRPC servers and the reloader, and drains on SIGTERM."""

import asyncio
import contextlib
import functools
import importlib
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn

from wine_assets.errors import ArtifactError
from wine_assets.inference import ModelRepository
from wine_assets.serving.auth import BearerToken
from wine_assets.serving.data_plane import DataPlane, LoadedModel
from wine_assets.serving.http.allowed_hosts import AllowedHosts
from wine_assets.serving.http.app import App, Options
from wine_assets.serving.http.body_memory import BodyMemory
from wine_assets.serving.http.connection import LimitedConnection, Limits
from wine_assets.serving.observability import telemetry
from wine_assets.serving.observability.drift_watch import DriftWatch
from wine_assets.serving.observability.logs import log
from wine_assets.serving.observability.metrics import Metrics
from wine_assets.serving.reloading import Reloader
from wine_assets.serving.settings import ServeSettings, inherited_socket

_GRPC = "wine_assets.serving.grpc.server"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Server(uvicorn.Server):
    """uvicorn's server, which drains before it stops, and checks the deadlines of connections."""

    def __init__(self, config: uvicorn.Config, data_plane: DataPlane, metrics: Metrics, drain_s: float) -> None:
        super().__init__(config)
        self._data_plane, self._metrics, self._drain_s = data_plane, metrics, drain_s
        self._parent = os.getppid()
        self._is_a_worker = inherited_socket() is not None
        self.stop_grpc: Callable[[], Awaitable[None]] | None = None
        """Stops the gRPC server while the HTTP requests finish."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Drain on SIGTERM and SIGINT, and end with status 0."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.drain)
        yield

    def drain(self) -> None:
        """Report that the server isn't ready, and stop after `drain_s`; stop at once on a second call."""
        if self._data_plane.draining:
            self.should_exit = True
            return
        self._data_plane.draining = True
        log(logging.INFO, "Draining.", seconds=self._drain_s)
        asyncio.get_running_loop().call_later(self._drain_s, setattr, self, "should_exit", True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more requests, and let the running ones finish, over HTTP and gRPC."""
        others = () if self.stop_grpc is None else (self.stop_grpc(),)
        await asyncio.gather(super().shutdown(sockets), *others)

    async def on_tick(self, counter: int) -> bool:
        """Publish the metrics and check the deadlines; uvicorn calls this ten times a second."""
        self._metrics.publish()
        now = asyncio.get_running_loop().time()
        for connection in list(self.server_state.connections):
            if isinstance(connection, LimitedConnection) and connection.deadline < now:
                connection.expire()
        if self._is_a_worker and os.getppid() != self._parent and not self._data_plane.draining:
            self.drain()  # the supervisor died, and no other process would stop this worker
        return await super().on_tick(counter)


def run(settings: ServeSettings, bound: socket.socket) -> None:
    """Serve on a bound socket until SIGTERM or SIGINT."""
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # clients could fill a disk with its warnings
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(settings, bound))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:  # uvloop does not support Windows
        return None
    return uvloop.new_event_loop


async def _serve(settings: ServeSettings, bound: socket.socket) -> None:
    metrics = Metrics(DriftWatch())
    data_plane = DataPlane(metrics, rows_limit=settings.rows_limit)
    tracing = telemetry.start_tracing()
    options = Options(settings.body_limit_bytes, BearerToken.of(settings.token_file), tracing, settings.access_log)
    app = App(data_plane, metrics, options)
    server = Server(_create_config(settings, app, metrics), data_plane, metrics, settings.drain_s)
    reloader = _create_reloader(settings, data_plane, metrics)
    reloader.start()
    grpc = await _start_grpc(settings, data_plane, metrics, tracing)
    if grpc is not None:
        server.stop_grpc = functools.partial(grpc.stop, settings.finish_s)
    host, port = bound.getsockname()[:2]
    log(logging.INFO, "Listening.", address=f"http://{host}:{port}", pid=os.getpid(), model=str(settings.model))
    try:
        await server.serve(sockets=[bound])
    finally:
        reloader.stop()
        metrics.publish()
        if grpc is not None:
            await grpc.stop(settings.finish_s)
        if tracing is not None:
            tracing.stop()
    log(logging.INFO, "Stopped.", pid=os.getpid())


def _create_reloader(settings: ServeSettings, data_plane: DataPlane, metrics: Metrics) -> Reloader:
    loop = asyncio.get_running_loop()

    def swap(model: LoadedModel) -> None:
        with contextlib.suppress(ArtifactError):  # it reproduced its samples, and may not support zeros
            model.predictor.warm()  # in the event loop's thread, which will run the requests
        data_plane.model = model

    def swap_soon(model: LoadedModel) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(swap, model)

    repository = ModelRepository(settings.model)
    return Reloader(repository, swap_soon, metrics, poll_s=settings.poll_s, threads=settings.threads)


def _create_config(settings: ServeSettings, app: App, metrics: Metrics) -> uvicorn.Config:
    limits = Limits(
        header_bytes=settings.header_limit_bytes,
        body_bytes=settings.body_limit_bytes,
        header_deadline_s=settings.header_deadline_s,
        body_deadline_s=settings.body_deadline_s,
        idle_s=settings.idle_s,
        connections=settings.connections,
        body_memory=BodyMemory(settings.bodies_limit_bytes),
        allowed_hosts=AllowedHosts(settings.accepted_hosts),
        on_rejection=metrics.count_rejection,
    )
    protocol: Any = functools.partial(LimitedConnection, limits)
    return uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=settings.finish_s,  # type: ignore[arg-type]  # uvicorn passes it to asyncio, which takes a float
    )


async def _start_grpc(
    settings: ServeSettings, data_plane: DataPlane, metrics: Metrics, tracing: telemetry.Tracing | None
) -> Any:
    """Start the gRPC server with the same data plane; return None if no port is set."""
    if not settings.grpc_port:
        return None
    return await importlib.import_module(_GRPC).start(data_plane, settings, metrics.registry, tracing)
