"""How far a search is: a bar in a terminal, and lines elsewhere."""

from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_LINES = 10
"""How many lines tell of a search where there is no terminal."""


class TrialsProgress:
    """Shows how many trials have ended, and the best score so far."""

    def __init__(self, console: Console, metric: str) -> None:
        self._console, self._metric = console, metric
        self._told = 0
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[best]}"),
        )
        self._bar = Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
        self._task = self._bar.add_task("starting", total=None, best="")

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def hear(self, study: Any, result: Any) -> None:
        """Take note of a result, or of the beginning."""
        done, total = len(study.ended), study.total
        best = "" if study.best is None else f"best {self._metric} {study.best:.4f}"
        self._bar.update(self._task, description="trials", completed=done, total=total, best=best)
        if not self._console.is_terminal:
            self._tell(done, total, best)

    def _tell(self, done: int, total: int | None, best: str) -> None:
        step = max((total or done) // _LINES, 1)
        if done >= self._told + step or (done == total and done > self._told):
            self._told = done
            self._console.print(f"{done} of {total or 'any number of'} trials  {best}".rstrip(), markup=False)
