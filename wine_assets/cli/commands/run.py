"""`wine-assets run`: materializes what is stale, and shows the result."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wine_assets.cli import data_options, job_config, signals
from wine_assets.cli.error_handling import FAILED, handle_errors
from wine_assets.cli.options import EVALUATION, GROUPS, HYPERPARAMETERS, PREDICTIONS, with_options

if TYPE_CHECKING:
    from wine_assets.cli.output import progress


@handle_errors
@with_options(GROUPS)
def run(  # noqa: PLR0913 - a command has as many arguments as a user has options
    *,
    source: data_options.Source = None,
    query: data_options.Query = None,
    database: data_options.Database = None,
    database_variable: data_options.DatabaseVariable = None,
    class_column: data_options.ClassColumn = None,
    feature: data_options.FeatureColumns = None,
    negative_class: data_options.NegativeClasses = None,
    reference: Annotated[bool, typer.Option("--reference", help="Fit the reference: C=0.01, no scaler.")] = False,
    hyperparameters: Annotated[
        Literal["best", "simplest"] | None,
        typer.Option(help="Fit what the last `wine-assets search` found.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Materialize every asset, fresh or not.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    **options: Any,
) -> None:
    """Materialize what is stale, from rows to a verified ONNX model, and show the result."""
    request = job_config.Request(
        data=data_options.collect(
            source=source,
            query=query,
            database=database,
            database_variable=database_variable,
            class_column=class_column,
            feature=feature,
            negative_class=negative_class,
        ),
        hyperparameters=job_config.hyperparameters(
            HYPERPARAMETERS.values(options), reference=reference, choice=hyperparameters or ""
        ),
        choice=hyperparameters or "",
        evaluation=EVALUATION.values(options),
        predictions=PREDICTIONS.values(options),
    )
    if not materialize(request, force=force, as_json=as_json, debug=debug):
        raise typer.Exit(FAILED)


def materialize(request: job_config.Request, *, force: bool, as_json: bool, debug: bool) -> bool:
    """Materialize what is stale, or all by `force`, and print the result; return whether nothing failed."""
    if force:
        from wine_assets.models.formats import skops_file

        skops_file.import_skops()  # before Dagster, because it searches all modules loaded so far, again and again

    from wine_assets import settings
    from wine_assets.cli.output import summary, terminal
    from wine_assets.data.readers import spool
    from wine_assets.definitions import defs
    from wine_assets.orchestration import instance, runs
    from wine_assets.orchestration.configs import launch_config

    config = job_config.training_config(request)
    with (
        spool.read_once(),
        instance.quiet_instance(settings.home()) as dagster,
        terminal.user_console(stderr=as_json) as console,
    ):
        stale = runs.stale_assets(dagster, config)
        names = runs.all_assets() if force else stale
        plan = summary.Plan(names, stale, config.source)
        job = defs.resolve_job_def("training_job")
        finished = _launch(dagster, job, launch_config(config), names, console) if names else None
        shown = runs.latest_metadata(dagster, finished.run_id if finished is not None else "")
        result = summary.result(shown, plan, finished)
    if as_json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    else:
        summary.show(result, terminal.console())
    if debug and finished is not None and not finished.success:
        sys.stderr.write(finished.traceback)
    return finished is None or finished.success


def _launch(dagster: Any, job: Any, config: dict[str, Any], names: list[str], console: Any) -> Any:
    from wine_assets.cli.output import progress
    from wine_assets.orchestration import runs

    with progress.Lines(console, len(names)) as lines:
        finished = runs.execute(dagster, job, config, names, lambda event: _show(event, lines))
    signals.stop_if_asked()
    return finished


def _show(event: Any, lines: "progress.Lines") -> None:
    """Show an event; between steps, and where Dagster would retry one that was stopped, stop when asked to."""
    if event.is_step_start or event.is_step_up_for_retry:
        signals.stop_if_asked()
    lines.on_event(event)
