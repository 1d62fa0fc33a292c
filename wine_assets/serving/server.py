"""The life of a serving process: it listens, looks for the champion, drains when told to stop, and ends."""

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
from wine_assets.serving.auth import Bearer
from wine_assets.serving.data_plane import DataPlane, Served
from wine_assets.serving.http.allowed_hosts import Hosts
from wine_assets.serving.http.body_memory import Budget
from wine_assets.serving.http.connection import LimitedConnection, Limits
from wine_assets.serving.http.routes import App, Options
from wine_assets.serving.observability import telemetry
from wine_assets.serving.observability.drift_watch import DriftWatch
from wine_assets.serving.observability.logs import log
from wine_assets.serving.observability.metrics import Metrics
from wine_assets.serving.reloading import Reloader
from wine_assets.serving.settings import ServeSettings, inherited_socket

_GRPC = "wine_assets.serving.grpc.server"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Server(uvicorn.Server):
    """uvicorn's server, which says that it isn't ready before it stops, and keeps connections to their deadlines."""

    def __init__(self, config: uvicorn.Config, plane: DataPlane, metrics: Metrics, drain_s: float) -> None:
        super().__init__(config)
        self._plane, self._metrics, self._drain_s = plane, metrics, drain_s
        self._parent = os.getppid()
        self._is_a_worker = inherited_socket() is not None
        self.beside: Callable[[], Awaitable[None]] | None = None
        """Stops what listens beside this server, in the time in which its own requests may end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Drain on SIGTERM and SIGINT, and end with status 0."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.drain)
        yield

    def drain(self) -> None:
        """Say from now on that the server isn't ready, and stop a while later; stop at once when told again."""
        if self._plane.draining:
            self.should_exit = True
            return
        self._plane.draining = True
        log(logging.INFO, "Draining.", seconds=self._drain_s)
        asyncio.get_running_loop().call_later(self._drain_s, setattr, self, "should_exit", True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more requests, and let those that have begun end, whichever way they came."""
        others = () if self.beside is None else (self.beside(),)
        await asyncio.gather(super().shutdown(sockets), *others)

    async def on_tick(self, counter: int) -> bool:
        """Refuse what hasn't come in time, and tell what was counted; ten times a second."""
        self._metrics.publish()
        now = asyncio.get_running_loop().time()
        for connection in list(self.server_state.connections):
            if isinstance(connection, LimitedConnection) and connection.deadline < now:
                connection.expire()
        if self._is_a_worker and os.getppid() != self._parent and not self._plane.draining:
            self.drain()  # nobody is there any more who would tell it to
        return await super().on_tick(counter)


def run(settings: ServeSettings, bound: socket.socket) -> None:
    """Serve on a bound socket until a signal says otherwise."""
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # clients could fill a disk with its warnings
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(settings, bound))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:  # there is none for Windows
        return None
    return uvloop.new_event_loop


async def _serve(settings: ServeSettings, bound: socket.socket) -> None:
    metrics = Metrics(DriftWatch())
    plane = DataPlane(metrics, rows_limit=settings.rows_limit)
    tracing = telemetry.tracing()
    options = Options(settings.body_limit_bytes, Bearer.of(settings.token_file), tracing, settings.access_log)
    app = App(plane, metrics, options)
    server = Server(_config(settings, app, metrics), plane, metrics, settings.drain_s)
    reloader = _reloader(settings, plane, metrics)
    reloader.start()
    grpc = await _start_grpc(settings, plane, metrics, tracing)
    if grpc is not None:
        server.beside = functools.partial(grpc.stop, settings.finish_s)
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


def _reloader(settings: ServeSettings, plane: DataPlane, metrics: Metrics) -> Reloader:
    loop = asyncio.get_running_loop()

    def swap(served: Served) -> None:
        with contextlib.suppress(ArtifactError):  # it has answered its samples; zeros may be beyond it
            served.predictor.warm()  # in the loop's own thread, where the rows of requests will be answered
        plane.served = served

    def swap_soon(served: Served) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(swap, served)

    repository = ModelRepository(settings.model)
    return Reloader(repository, swap_soon, metrics, poll_s=settings.poll_s, threads=settings.threads)


def _config(settings: ServeSettings, app: App, metrics: Metrics) -> uvicorn.Config:
    limits = Limits(
        header_bytes=settings.header_limit_bytes,
        body_bytes=settings.body_limit_bytes,
        header_deadline_s=settings.header_deadline_s,
        body_deadline_s=settings.body_deadline_s,
        idle_s=settings.idle_s,
        connections=settings.connections,
        budget=Budget(settings.bodies_limit_bytes),
        hosts=Hosts(settings.accepted_hosts),
        refused=metrics.refused,
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
        timeout_graceful_shutdown=settings.finish_s,  # type: ignore[arg-type]
    )


async def _start_grpc(
    settings: ServeSettings, plane: DataPlane, metrics: Metrics, tracing: telemetry.Tracing | None
) -> Any:
    """Start the gRPC server beside this one, over the same data plane; None when no port is set for it."""
    if not settings.grpc_port:
        return None
    return await importlib.import_module(_GRPC).start(plane, settings, metrics.registry, tracing)
