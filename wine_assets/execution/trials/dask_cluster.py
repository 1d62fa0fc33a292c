"""The backend `dask`: trials on the workers of a Dask cluster, its own or one by its address."""

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

from wine_assets.errors import FailedSearchError, MissingExtraError
from wine_assets.execution.trials import there
from wine_assets.execution.trials.workload import Workload
from wine_assets.ml.search.conductor import Conductor
from wine_assets.ml.search.trials import Trial, failed

_CONNECT_S = 30


def run_on_dask(conductor: Conductor, workload: Workload, address: str, workers: int) -> None:
    """Run trials until there are none, as many at a time as the cluster has threads.

    Raise MissingExtraError without Dask, and FailedSearchError for a cluster that isn't there.
    """
    with _client(address, workers) as client:
        search = secrets.token_hex(8)
        [shared] = client.scatter([workload], broadcast=True)
        try:
            _run(conductor, client, shared, search)
        finally:
            with contextlib.suppress(Exception):  # a cluster that is gone has nothing to release
                client.run(there.release)


def _run(conductor: Conductor, client: Any, shared: Any, search: str) -> None:
    running: dict[Any, Trial] = {}
    while True:
        parallel = max(sum(client.nthreads().values()), 1)
        while len(running) < parallel and (trial := conductor.next()) is not None:
            key = f"trial-{search}-{trial.number}-{trial.attempt}"
            running[client.submit(there.run_there, trial, shared, search, key=key, pure=False)] = trial
        if not running:
            return
        for future in _first(client, running):
            trial = running.pop(future)
            error = future.exception()
            conductor.tell(failed(trial, _reason(error)) if error is not None else future.result())


def _first(client: Any, running: dict[Any, Trial]) -> Any:
    """Return the futures that are done, after waiting for one."""
    from distributed import wait

    with client.as_current():
        return wait(list(running), return_when="FIRST_COMPLETED").done  # type: ignore[no-untyped-call]


def _reason(error: BaseException) -> str:
    """Say why there is no outcome; Dask runs a task again itself when its worker goes, up to a number of times."""
    return f"Dask has no outcome of it ({type(error).__name__}: {error}".partition("\n")[0] + ")."


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
    shape = {"n_workers": workers, "threads_per_worker": 1, "processes": True}
    cluster = LocalCluster(**shape, dashboard_address=None, host="127.0.0.1")  # type: ignore[no-untyped-call]
    with cluster, Client(cluster, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        yield client
