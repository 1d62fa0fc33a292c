"""`wine-assets search`: looks for hyperparameters, and shows which are the best."""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, get_args

import typer

from wine_assets.cli import data_options, job_config, signals
from wine_assets.cli.error_handling import FAILED, handle_errors
from wine_assets.cli.options import BUDGET, FAILURES, OBJECTIVE, SEARCH_GROUPS, TRIAL_BACKENDS, in_flags, with_options
from wine_assets.cli.output import terminal
from wine_assets.cli.output.trials_progress import TrialsProgress
from wine_assets.errors import SearchError
from wine_assets.models.reference import DEFAULT_FAMILY

_PANEL = "Search"
_SHOWN = 10
"""How many of the best trials are shown."""


def _option(*names: str, text: str, default: str = "") -> Any:
    return typer.Option(*names, help=text, rich_help_panel=_PANEL, show_default=default or False)


@handle_errors
@with_options(SEARCH_GROUPS)
def search(  # noqa: PLR0913 - a command has as many arguments as a user has options
    *,
    strategy: Annotated[
        Literal["grid", "random", "bayesian"], _option(text="How candidates are chosen.", default="random")
    ] = "random",
    space: Annotated[
        list[str] | None,
        _option(
            text="What a hyperparameter is drawn from: C=log:1e-4:1e2 (or uniform, int, logint), or C=0.1,1,10; "
            "repeat it.",
            default="C=log:1e-4:1e2",
        ),
    ] = None,
    family: Annotated[
        list[str] | None, _option(text="Family that is searched; repeat it.", default=DEFAULT_FAMILY)
    ] = None,
    seed: Annotated[
        int | None, _option(text="Seed of the candidates of the strategies random and bayesian.", default="0")
    ] = None,
    sampler: Annotated[
        Literal["tpe", "gp"] | None, _option(text="How the strategy `bayesian` learns.", default="tpe")
    ] = None,
    nested_folds: Annotated[
        int | None,
        _option(text="Parts of the rows held out of a whole search each, to score what it finds.", default="none"),
    ] = None,
    study: Annotated[
        bool, typer.Option("--study", help="Write an Optuna study, too, for optuna-dashboard.", rich_help_panel=_PANEL)
    ] = False,
    source: data_options.Source = None,
    query: data_options.Query = None,
    database: data_options.Database = None,
    database_variable: data_options.DatabaseVariable = None,
    class_column: data_options.ClassColumn = None,
    feature: data_options.FeatureColumns = None,
    negative_class: data_options.NegativeClasses = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    **options: Any,
) -> None:
    """Look for hyperparameters, and show which are the best; the same search goes on where it was stopped."""
    data = data_options.collect(
        source=source,
        query=query,
        database=database,
        database_variable=database_variable,
        class_column=class_column,
        feature=feature,
        negative_class=negative_class,
    )
    fields = {
        "strategy": _strategy(strategy, seed=seed, sampler=sampler),
        "space": _space(space or [], family or [DEFAULT_FAMILY]),
        "objective": OBJECTIVE.values(options),
        "budget": BUDGET.values(options),
        "failures": FAILURES.values(options),
        "nested_folds": nested_folds or 0,
        "study": study,
        "backend": _backend(options.get("backend") or "pool", TRIAL_BACKENDS.values(options)),
    }
    if not _run(data, fields, as_json=as_json, debug=debug):
        raise typer.Exit(FAILED)


def _strategy(kind: str, **given: Any) -> dict[str, Any]:
    """Return what was said of a strategy; raise SearchError where that is for another one."""
    from wine_assets.search.strategies import StrategyParams

    models = {model.model_fields["kind"].default: model for model in get_args(StrategyParams)}
    return _variant("strategy", models, kind, given)


def _space(texts: list[str], families: list[str]) -> dict[str, Any]:
    """Return what was said of each family, and the default of those of which nothing was."""
    from wine_assets.search import space, space_text

    said = {name: given for name, given in space_text.parse(texts, families).items() if given.parameters}
    spaces = space.default_families(families) | said
    return {name: spaces[name].model_dump() for name in families}


def _backend(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was said of a backend; raise SearchError where that is for another one."""
    from wine_assets.search.backends.registry import BACKENDS

    return _variant("backend", BACKENDS, kind, given)


def _variant(field: str, models: Mapping[str, Any], kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was said of a kind of something, which lacks fields that others have."""
    said = {name: value for name, value in given.items() if value is not None}
    for name, value in said.items():
        if name not in models[kind].model_fields:
            others = " or ".join(other for other, model in models.items() if name in model.model_fields)
            which = f"{name}.{next(iter(value))}" if isinstance(value, dict) and value else name
            raise SearchError(
                f"`{field}.{which}` is for the {field} {others}, and the {field} is {kind}. Leave it out, or "
                f"change --{field}."
            )
    return {kind: said}


def _run(data: job_config.DataOptions, fields: dict[str, Any], *, as_json: bool, debug: bool) -> bool:
    from wine_assets.search.workers import fork_server_client

    if "pool" in fields["backend"]:
        fork_server_client.preload()
    try:
        return _launched(data, fields, as_json=as_json, debug=debug)
    finally:
        fork_server_client.discard()


def _launched(data: job_config.DataOptions, fields: dict[str, Any], *, as_json: bool, debug: bool) -> bool:
    from wine_assets import settings
    from wine_assets.data.readers import spool
    from wine_assets.definitions import defs
    from wine_assets.orchestration import instance, runs, search_steps
    from wine_assets.orchestration.search_configs import SearchJobConfig

    config = SearchJobConfig(**fields, **job_config.data_fields(data))
    with (
        spool.read_once(),
        instance.quiet_instance(settings.home()) as dagster,
        terminal.user_console(stderr=as_json) as console,
    ):
        names = [*runs.stale_data(dagster, config), search_steps.SEARCH]
        job = defs.resolve_job_def("search_job")
        with TrialsProgress(console, config.objective.metric) as progress, search_steps.listening(_hearing(progress)):
            finished = runs.execute(dagster, job, search_steps.launch_config(config), names, lambda _: None)
        signals.stop_if_asked()
        metadata = runs.metadata_of(dagster, search_steps.SEARCH, finished.run_id) if finished.success else {}
    result = _result(finished, metadata)
    if as_json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    else:
        _show(result, config.exhaustion, terminal.console())
    if debug and not finished.success:
        sys.stderr.write(finished.traceback)
    return bool(finished.success)


def _hearing(progress: TrialsProgress) -> Callable[[Any, Any], None]:
    """Return what is told of every outcome, and stops the search if that was asked for.

    An exception that a signal raised in a callback of native code goes nowhere, and the search would go on.
    """

    def hear(study: Any, outcome: Any) -> None:
        progress.hear(study, outcome)
        signals.stop_if_asked()

    return hear


def _result(finished: Any, metadata: dict[str, Any]) -> dict[str, Any]:
    names = ("metric", "trials", "finished", "pruned", "failed", "seconds_of_trials", "best", "simplest", "nested")
    return {
        "status": "succeeded" if finished.success else "failed",
        "error": in_flags(finished.error),
        "run_id": finished.run_id,
        **{name: metadata.get(name) for name in names},
        "table": metadata.get("path"),
        "report": metadata.get("report"),
        "study": metadata.get("study"),
    }


def _show(result: dict[str, Any], exhaustion: str, console: Any) -> None:
    from rich.table import Table

    if result["status"] == "failed":
        console.print(f"The search failed: {result['error']}", markup=False)
        return
    table = Table("", result["metric"], "standard error", "trial", "family", "hyperparameters", box=None)
    for name, meaning in (("best", "best"), ("simplest", "simplest within one standard error")):
        chosen = result[name]
        searched = ", ".join(f"{field}={_short(value)}" for field, value in chosen["searched"].items())
        error = f"{chosen['standard_error']:.4f}"
        table.add_row(meaning, f"{chosen['mean']:.4f}", error, str(chosen["number"]), chosen["family"], searched)
    console.print(table)
    console.print(
        f"{result['trials']} trials: {result['finished']} finished, {result['pruned']} pruned, "
        f"{result['failed']} failed; {result['seconds_of_trials']:.1f} s of fitting and scoring.",
        markup=False,
    )
    if exhaustion:
        console.print(exhaustion, markup=False)
    if result["nested"]:
        outer = result["nested"]
        console.print(
            f"Nested cross-validation, {len(outer['scores'])} outer folds: {result['metric']} {outer['mean']:.4f} "
            f"± {outer['standard_error']:.4f}, on rows that the search had not seen.",
            markup=False,
        )
    console.print(f"All trials: {result['table']}", markup=False, soft_wrap=True)
    if result["report"]:
        console.print(f"Report:     {result['report']}", markup=False, soft_wrap=True)
    if result["study"]:
        console.print(f"Study:      optuna-dashboard {result['study']}", markup=False, soft_wrap=True)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
