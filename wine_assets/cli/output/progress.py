"""One line per asset while a run works."""

from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner


class Lines:
    """Prints a line for each asset that is made, and shows on a terminal which one is being made."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._done = 0
        self._metadata: dict[str, dict[str, Any]] = {}
        self._spinner = Spinner("dots", "starting")
        self._live = Live(self._spinner, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def on_event(self, event: Any) -> None:
        """Take note of a Dagster event."""
        if event.is_step_start:
            self._spinner.update(text=f"{event.step_key} ...")
        elif event.is_step_materialization:
            metadata = event.materialization.metadata
            self._metadata[event.step_key] = {name: value.value for name, value in metadata.items()}
        elif event.is_step_success:
            self._print("done", event.step_key, _used(self._metadata.get(event.step_key, {})))
        elif event.is_step_failure:
            self._print("FAILED", event.step_key, "")
        elif event.is_step_up_for_retry:
            self._console.print(f"      {event.step_key:<17} failed, and will be tried again")

    def _print(self, state: str, name: str, detail: str) -> None:
        self._done += 1
        self._console.print(f"[{self._done}/{self._total}] {name:<17} {state:<6} {detail}".rstrip())


def _used(metadata: dict[str, Any]) -> str:
    return (
        f"{metadata['wall_seconds']:7.2f} s  {metadata['peak_memory_mib']:6.1f} MiB of {metadata['requested_memory']}"
    )
