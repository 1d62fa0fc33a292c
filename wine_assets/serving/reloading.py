"""The champion that is served: found by looking at one pointer, loaded beside the old one, and swapped in."""

import logging
import threading
import time
from collections.abc import Callable

from wine_assets.errors import WineAssetsError
from wine_assets.inference import ModelRepository, Predictor, Promotion
from wine_assets.serving.data_plane import Served
from wine_assets.serving.observability.logs import log
from wine_assets.serving.observability.metrics import Metrics

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_DRIFT_S = 2.0


class Reloader:
    """A thread that looks at the pointer; what it can't load leaves the served model as it is, and is tried again.

    Tries of one promotion are 1 s, 2 s, 4 s and so on up to a minute apart; another promotion is tried at once.
    """

    def __init__(
        self,
        repository: ModelRepository,
        swap: Callable[[Served], None],
        metrics: Metrics,
        *,
        poll_s: float,
        threads: int,
    ) -> None:
        self._repository, self._swap, self._metrics = repository, swap, metrics
        self._poll_s, self._threads = poll_s, threads
        self._current: Promotion | None = None
        self._failed: object = None
        self._has_missed = False
        self._pause_s, self._not_before = _FIRST_PAUSE_S, 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reloader", daemon=True)
        self._next_drift = time.monotonic() + _DRIFT_S

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def look(self) -> None:
        """Look once, and load what is new."""
        try:
            promotion = self._repository.champion()
        except Exception as error:  # noqa: BLE001 - whatever happens to the store, the served model stays
            self._fail("pointer", error)
            return
        if promotion is None:
            self._miss()
        elif promotion == self._current:
            self._failed = None  # the store is well again, and what is served is what it says
        elif self._is_due(promotion):
            self._load(promotion)

    def _run(self) -> None:
        while True:
            self.look()
            if time.monotonic() >= self._next_drift:
                self._next_drift = time.monotonic() + _DRIFT_S
                self._update_drift()
            if self._stopped.wait(self._poll_s):
                return

    def _load(self, promotion: Promotion) -> None:
        try:
            stored = self._repository.read()
            if stored.version != promotion.version:
                return  # the pointer moved in between: the next look finds it
            served = Served(self._repository.name, Predictor.of(stored, threads=self._threads))
        except Exception as error:  # noqa: BLE001 - a model may break in any way, and the served one stays
            self._fail(promotion, error)
            return
        self._current, self._failed = promotion, None
        self._swap(served)
        self._metrics.loaded(served, time.time())
        log(logging.INFO, "A model is served.", model=served.name, version=served.version, sha256=served.sha256)

    def _miss(self) -> None:
        where = self._repository.folder
        if self._current is not None:
            self._fail("pointer", WineAssetsError(f"{where} has no champion any more. Restore it, or promote again."))
        elif not self._has_missed:
            self._has_missed = True
            log(
                logging.WARNING,
                "There is no model yet: the server is ready when one is promoted.",
                folder=str(where),
                remedy="wine-assets run releases one, wine-assets models promote makes one the champion",
            )

    def _is_due(self, what: object) -> bool:
        return what != self._failed or time.monotonic() >= self._not_before

    def _fail(self, what: object, error: Exception) -> None:
        """Count a failure and say why, unless it is the same again before the next try is due."""
        if not self._is_due(what):
            return
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S) if what == self._failed else _FIRST_PAUSE_S
        self._failed, self._not_before = what, time.monotonic() + self._pause_s
        self._metrics.not_loaded()
        log(
            logging.ERROR,
            "The champion can't be loaded; what was served is served on.",
            reason=str(error),
            kind=type(error).__name__,
            version=what.version if isinstance(what, Promotion) else None,
            next_try_s=self._pause_s,
        )

    def _update_drift(self) -> None:
        try:
            self._metrics.update_drift()
        except Exception:
            logging.getLogger(__name__).exception("The drift of the inputs can't be computed.")
