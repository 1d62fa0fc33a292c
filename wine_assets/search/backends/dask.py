"""The backend `dask`: trials on the workers of a Dask cluster, its own or one by its address."""

import contextlib
import logging
import secrets
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any, Literal

from pydantic import Field

from wine_assets.compute.threads import granted_cores
from wine_assets.errors import FailedSearchError, MissingExtraError
from wine_assets.search.backends.base import WORKERS, TrialBackend
from wine_assets.search.study import Study
from wine_assets.search.trial_context import TrialContext
from wine_assets.search.trials import Trial, TrialResult, failed
from wine_assets.search.workers import remote_worker

_CONNECT_S = 30
_OWN: dict[str, Any] = {
    "threads_per_worker": 1,
    "processes": True,
    "host": "127.0.0.1",
    "dashboard_address": "127.0.0.1:0",  # without one, its HTTP server takes port 8787, or warns that it can't
    "scheduler_kwargs": {"dashboard": False},
    "silence_logs": logging.CRITICAL,  # a worker that died is a result
}
"""A cluster of its own: it listens on this machine alone, and has no dashboard."""


class DaskBackend(TrialBackend):
    """A Dask cluster: one that is started for the search, or the one at `address`."""

    kind: Literal["dask"] = "dask"
    address: str = Field(
        default="", description="address of the scheduler, as in tcp://10.0.0.1:8786; empty for a cluster of its own"
    )
    workers: int | None = WORKERS

    def run(self, study: Study, context: TrialContext) -> None:
        """Run as many trials at a time as the cluster has threads; raise FailedSearchError if there is no cluster."""
        with _client(self.address, self.workers or granted_cores()) as client:
            try:
                _run(study, client, _Shared(client, context), secrets.token_hex(8))
            finally:
                with contextlib.suppress(Exception):  # a cluster that is gone has nothing to release
                    client.run(remote_worker.release)


class _Shared:
    """A context on the workers of a cluster, brought there again when all that had it are gone."""

    def __init__(self, client: Any, context: TrialContext) -> None:
        self._client, self._context, self._future = client, context, None

    def future(self) -> Any:
        if self._future is None or self._future.status != "finished":
            [self._future] = self._client.scatter([self._context], broadcast=True, hash=False)
        return self._future


def _run(study: Study, client: Any, shared: _Shared, search: str) -> None:
    running: dict[Any, Trial] = {}
    while True:
        parallel = max(sum(client.nthreads().values()), 1)
        while len(running) < parallel and (trial := study.ask(complex_first=True)) is not None:
            key = f"trial-{search}-{trial.number}-{trial.attempt}"
            running[client.submit(remote_worker.run_trial, trial, shared.future(), search, key=key, pure=False)] = trial
        if not running:
            return
        for future in _first(client, running):
            study.tell(_result(running.pop(future), future))


def _first(client: Any, running: dict[Any, Trial]) -> Any:
    """Return the futures that are done, or of which nothing will come, after waiting for one."""
    from distributed import wait

    with client.as_current(), contextlib.suppress(CancelledError):
        return wait(list(running), return_when="FIRST_COMPLETED").done  # type: ignore[no-untyped-call]
    return [future for future in running if future.cancelled()]


def _result(trial: Trial, future: Any) -> TrialResult:
    try:
        result: TrialResult = future.result()
    except (Exception, CancelledError) as error:  # noqa: BLE001 - whatever became of the task, there is no result
        return failed(trial, _reason(error))
    return result


def _reason(error: BaseException) -> str:
    """Say why there is no result; Dask runs a task again itself when its worker goes, up to a number of times."""
    return f"Dask has no result of it ({type(error).__name__}: {error}".partition("\n")[0] + ")."


@contextlib.contextmanager
def _client(address: str, workers: int) -> Iterator[Any]:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise MissingExtraError("dask", "The backend `dask`") from error
    if address:
        try:
            client = Client(address, timeout=_CONNECT_S, set_as_default=False)  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:
            raise FailedSearchError(
                f"There is no Dask scheduler at {address!r} ({error}). Start one, or change `backend.address`."
            ) from error
        with client:
            yield client
        return
    cluster = LocalCluster(**_OWN, n_workers=workers)  # type: ignore[no-untyped-call]
    with cluster, Client(cluster, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        yield client
