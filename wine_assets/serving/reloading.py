"""Reloading of the champion: a thread polls the pointer, loads a new model, and swaps it in."""

import logging
import threading
import time
from collections.abc import Callable

from wine_assets.errors import WineAssetsError
from wine_assets.inference import ModelRepository, Predictor, Promotion
from wine_assets.serving.data_plane import LoadedModel
from wine_assets.serving.observability.logs import log
from wine_assets.serving.observability.metrics import Metrics

_MIN_PAUSE_S = 1.0
_MAX_PAUSE_S = 60.0
_DRIFT_S = 2.0


class Reloader:
    """A thread that polls the pointer; if a model can't be loaded, the current one stays, and it tries again.

    The pause between tries of one promotion doubles from 1 s up to a minute; another promotion is tried at once.
    """

    def __init__(
        self,
        repository: ModelRepository,
        swap: Callable[[LoadedModel], None],
        metrics: Metrics,
        *,
        poll_s: float,
        threads: int,
    ) -> None:
        self._repository, self._swap, self._metrics = repository, swap, metrics
        self._poll_s, self._threads = poll_s, threads
        self._current: Promotion | None = None
        self._failed: object = None
        self._has_warned = False
        self._pause_s, self._not_before = _MIN_PAUSE_S, 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reloader", daemon=True)
        self._next_drift = time.monotonic() + _DRIFT_S

    def start(self) -> None:
        """Start to poll."""
        self._thread.start()

    def stop(self) -> None:
        """Stop to poll."""
        self._stopped.set()

    def poll(self) -> None:
        """Read the pointer once, and load a new champion."""
        try:
            promotion = self._repository.champion()
        except Exception as error:  # noqa: BLE001 - whatever happens to the store, the loaded model stays
            self._fail("pointer", error)
            return
        if promotion is None:
            self._report_missing()
        elif promotion == self._current:
            self._failed = None  # the store works again, and its champion is loaded
        elif self._is_due(promotion):
            self._load(promotion)

    def _run(self) -> None:
        while True:
            self.poll()
            if time.monotonic() >= self._next_drift:
                self._next_drift = time.monotonic() + _DRIFT_S
                self._update_drift()
            if self._stopped.wait(self._poll_s):
                return

    def _load(self, promotion: Promotion) -> None:
        try:
            stored = self._repository.read()
            if stored.version != promotion.version:
                return  # the pointer moved in between: the next poll finds it
            model = LoadedModel(self._repository.name, Predictor.of(stored, threads=self._threads))
        except Exception as error:  # noqa: BLE001 - a model may fail in any way, and the loaded one stays
            self._fail(promotion, error)
            return
        self._current, self._failed = promotion, None
        self._swap(model)
        self._metrics.set_model(model, time.time())
        log(logging.INFO, "A model is served.", model=model.name, version=model.version, sha256=model.sha256)

    def _report_missing(self) -> None:
        folder = self._repository.folder
        if self._current is not None:
            self._fail("pointer", WineAssetsError(f"{folder} has no champion any more. Restore it, or promote again."))
        elif not self._has_warned:
            self._has_warned = True
            log(
                logging.WARNING,
                "There is no model yet: the server is ready when one is promoted.",
                folder=str(folder),
                remedy="wine-assets run releases one, wine-assets models promote makes one the champion",
            )

    def _is_due(self, subject: object) -> bool:
        return subject != self._failed or time.monotonic() >= self._not_before

    def _fail(self, subject: object, error: Exception) -> None:
        """Count and log a failure, unless the same one repeats before the next try is due."""
        if not self._is_due(subject):
            return
        self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S) if subject == self._failed else _MIN_PAUSE_S
        self._failed, self._not_before = subject, time.monotonic() + self._pause_s
        self._metrics.count_reload_failure()
        log(
            logging.ERROR,
            "The champion can't be loaded; what was served is served on.",
            reason=str(error),
            kind=type(error).__name__,
            version=subject.version if isinstance(subject, Promotion) else None,
            next_try_s=self._pause_s,
        )

    def _update_drift(self) -> None:
        try:
            self._metrics.update_drift()
        except Exception:
            logging.getLogger(__name__).exception("The drift of the inputs can't be computed.")
