"""`wine-assets run`: makes what is stale and shows what there is."""

import json
import sys
from dataclasses import dataclass
from typing import Any

from wine_assets import settings
from wine_assets.cli import job_config, signals
from wine_assets.cli.output import progress, summary, terminal


@dataclass(frozen=True)
class Display:
    """How the result is shown."""

    as_json: bool
    debug: bool


def run(request: job_config.Request, display: Display, *, force: bool) -> bool:
    """Materialize what is stale, or all by `force`, and print the result; return whether nothing failed."""
    if force:
        import skops.io  # noqa: F401 - before Dagster, because it searches all modules loaded so far, again and again

    from wine_assets.definitions import defs
    from wine_assets.orchestration import instance, runs
    from wine_assets.orchestration.configs import launch_config

    config = job_config.training_config(request)
    with instance.quiet_instance(settings.home()) as dagster, terminal.user_console(stderr=display.as_json) as console:
        stale = runs.stale_assets(dagster, config)
        names = runs.all_assets() if force else stale
        plan = summary.Plan(names, stale, config.source)
        job = defs.resolve_job_def("training_job")
        finished = _launched(dagster, job, launch_config(config), names, console) if names else None
        shown = runs.latest_metadata(dagster, finished.run_id if finished is not None else "")
        result = summary.result(shown, plan, finished)
    if display.as_json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    else:
        summary.show(result, terminal.console())
    if display.debug and finished is not None and not finished.success:
        sys.stderr.write(finished.traceback)
    return finished is None or finished.success


def _launched(dagster: Any, job: Any, config: dict[str, Any], names: list[str], console: Any) -> Any:
    from wine_assets.orchestration import runs

    with progress.Lines(console, len(names)) as lines:
        finished = runs.execute(dagster, job, config, names, lambda event: _heard(event, lines))
    signals.stop_if_asked()
    return finished


def _heard(event: Any, lines: progress.Lines) -> None:
    """Show an event; between steps, and where Dagster would retry one that was stopped, stop when asked to."""
    if event.is_step_start or event.is_step_up_for_retry:
        signals.stop_if_asked()
    lines.hear(event)
