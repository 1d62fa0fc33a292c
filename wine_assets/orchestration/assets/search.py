"""The search group: hyperparameters that are as good as they can be, on one machine or many."""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg

from wine_assets import settings
from wine_assets.compute.request import ComputeRequest
from wine_assets.errors import SearchError, WineAssetsError
from wine_assets.orchestration import best_hyperparameters, data_versions, interrupts, io_managers, search_steps
from wine_assets.orchestration import metadata as described
from wine_assets.orchestration.search_configs import SearchConfig
from wine_assets.orchestration.steps import OWNERS, output, retry_policy
from wine_assets.reports import search_page, search_picture
from wine_assets.search import nested, objective
from wine_assets.search.backends import pool
from wine_assets.search.backends.registry import PoolBackend, StepsBackend, run_trials
from wine_assets.search.optuna_study import write_study
from wine_assets.search.params import SearchParams
from wine_assets.search.result import spread
from wine_assets.search.space import Space

NAME = best_hyperparameters.SEARCH
INPUT = "binarized_wine"
FORMAT = "frame"
REQUEST = ComputeRequest(cpu="2", memory="2Gi", retries=2)
"""What a chunk asks of a scheduler; on one machine the backend takes the cores that there are.

A chunk whose process is killed is run again where the executor outlives it: a chunk that failed would skip `collect`.
"""


def _failing_in_a_sentence(compute: Callable[..., Any]) -> Callable[..., Any]:
    """Turn our own errors into failures whose description is the sentence."""

    def call(*arguments: Any, **given: Any) -> Any:
        try:
            with interrupts.never_retried():
                return compute(*arguments, **given)
        except WineAssetsError as error:
            raise dg.Failure(str(error), allow_retries=False) from error

    call.__name__, call.__doc__ = compute.__name__, compute.__doc__
    return call


@dg.op(
    ins={INPUT: dg.In(input_manager_key=io_managers.STORED)},
    out=dg.DynamicOut(io_manager_key=search_steps.CHUNKS),
    description="Checks the search, and cuts it into chunks: one, or as many as there are steps wanted.",
)
def plan(config: SearchConfig, binarized_wine: Any) -> Iterator[dg.DynamicOutput[Any]]:
    """Yield the chunks."""
    yield from _failing_in_a_sentence(_chunks)(config, binarized_wine)


@dg.op(
    ins={"chunk": dg.In(), INPUT: dg.In(input_manager_key=io_managers.STORED)},
    out=dg.Out(io_manager_key=search_steps.CHUNKS),
    description="Runs the trials of a chunk; those that fail are values, too.",
)
def run_chunk(context: dg.OpExecutionContext, chunk: Any, binarized_wine: Any) -> Any:
    """Return the chunk once its trials have run."""
    return _failing_in_a_sentence(_run_chunk)(context, chunk, binarized_wine)


@dg.op(
    ins={"chunks": dg.In(), INPUT: dg.In(input_manager_key=io_managers.STORED)},
    out=dg.Out(io_manager_key=FORMAT),
    description="Brings the trials of all chunks together, and says which are the best.",
)
def collect(context: dg.OpExecutionContext, chunks: list[Any], binarized_wine: Any) -> dg.Output[Any]:
    """Return the table of all trials, with the best of them as metadata."""
    output: dg.Output[Any] = _failing_in_a_sentence(_collect)(context, chunks, binarized_wine)
    return output


@dg.config_mapping
def _plan_config(config: SearchConfig) -> dict[str, Any]:
    return {"plan": {"config": search_steps.fields(config)}}


def asset(request: ComputeRequest) -> dg.AssetsDefinition:
    """Return hyperparameter_search, whose chunks each ask for `request`."""

    @dg.graph_asset(
        name=NAME,
        group_name="search",
        owners=OWNERS,
        kinds={"python", "scikitlearn"},
        code_version=objective.VERSION,
        config=_plan_config,
        description="Every trial of a search for hyperparameters, and which of them are the best.",
    )
    def hyperparameter_search(binarized_wine: Any) -> Any:
        run: Any = run_chunk.tag(request.op_tags())
        if policy := retry_policy(request):
            run = run.with_retry_policy(policy)
        chunks = plan(binarized_wine).map(lambda chunk: run(chunk, binarized_wine))
        return collect(chunks.collect(), binarized_wine)

    return hyperparameter_search


def _chunks(config: SearchConfig, stored: io_managers.Stored) -> list[dg.DynamicOutput[Any]]:
    search = search_steps.open_search(config.params(), stored)
    shared = {
        "params": config.params().model_dump(mode="json"),
        "backend": config.backend.model_dump(mode="json"),
        "study": config.study,
        "planned_at": time.time(),
        "numbers": None,
        "outer_fold": None,
    }
    outer = [
        dg.DynamicOutput({**shared, "outer_fold": fold}, mapping_key=f"outer_fold_{fold}")
        for fold in range(config.nested_folds)
    ]
    if not isinstance(config.backend, StepsBackend):
        return [dg.DynamicOutput(shared, mapping_key="all"), *outer]
    total = search.study(lambda *_: None).total
    if total is None:
        raise SearchError("The backend `steps` has to know how many trials there are. Give `budget.trials`.")
    size = config.backend.chunk_trials
    digits = len(str(total))
    ranges = [(first, min(first + size, total) - 1) for first in range(0, total, size)]
    steps = [
        dg.DynamicOutput(
            {**shared, "numbers": [first, last]}, mapping_key=f"trials_{first:0{digits}}_to_{last:0{digits}}"
        )
        for first, last in ranges
    ]
    return [*steps, *outer]


def _run_chunk(context: dg.OpExecutionContext, chunk: Any, stored: io_managers.Stored) -> Any:
    params = SearchParams.model_validate(chunk["params"])
    backend, numbers, fold = search_steps.backend(chunk["backend"]), chunk["numbers"], chunk["outer_fold"]
    if fold is not None:
        home = settings.home().searches
        score = nested.outer_score(params, stored.read(), fold, searches=home, backend=backend)
        context.log.info("Outer fold %d: %s %.4f.", fold, params.objective.metric, score)
        return {**chunk, "score": score}
    part = range(numbers[0], numbers[1] + 1) if numbers else None
    search = search_steps.open_search(_in_what_is_left(params, chunk["planned_at"]) if part else params, stored)
    told = search_steps.Told(context, NAME, search.params.objective.metric, part)
    with search.journal.lock(shared=part is not None):
        study = search.study(told, part)
        told.began(study)
        if context.retry_number and isinstance(backend, PoolBackend | StepsBackend):
            pool.run_apart(study, search.context, backend.workers or pool.usable_cores())
        else:
            run_trials(backend, study, search.context)
    return chunk


def _in_what_is_left(params: SearchParams, planned_at: float) -> SearchParams:
    """Return a search that ends when all of its chunks do, whenever this one is begun."""
    budget = params.budget
    if budget.seconds is None:
        return params
    left = max(budget.seconds - (time.time() - planned_at), sys.float_info.min)
    return params.model_copy(update={"budget": budget.model_copy(update={"seconds": left})})


def _collect(context: dg.OpExecutionContext, chunks: list[Any], stored: io_managers.Stored) -> dg.Output[Any]:
    search = search_steps.open_search(SearchParams.model_validate(chunks[0]["params"]), stored)
    result = search.result(search.study(lambda *_: None))
    scores = tuple(chunk["score"] for chunk in chunks if chunk["outer_fold"] is not None)
    summary, table = result.summary() | {"nested": spread(scores)}, result.table()
    space = Space.checked(search.params.space)
    drawn = search_picture.picture(result, dict(space.families))
    page = io_managers.write_report(search_page.render(result, drawn, search.sentence(result, scores)))
    consumed = data_versions.consumed(context.instance, context.run.run_id, dg.AssetKey(INPUT))
    data_version = data_versions.data_version(
        NAME, objective.VERSION, search.params.model_dump(mode="json"), {INPUT: consumed}
    )
    path = io_managers.artifact_path(NAME, data_version, FORMAT)
    study = search.journal.folder / "study.log"
    if chunks[0]["study"]:
        write_study(study, space, result.trials, search.params.objective.direction)
    metadata = {
        "picture": described.picture(drawn, "The search"),
        "report": dg.MetadataValue.path(str(page)),
        **described.frame(table),
        **{name: summary[name] for name in ("trials", "finished", "pruned", "failed", "seconds_of_trials")},
        "best": summary["best"],
        "simplest": summary["simplest"],
        "best_score": summary["best"]["mean"],
        "best_standard_error": summary["best"]["standard_error"],
        "metric": summary["metric"],
        **({"nested": summary["nested"]} if scores else {}),
        **({"study": dg.MetadataValue.path(str(study))} if chunks[0]["study"] else {}),
        **io_managers.store(table, path, FORMAT),
    }
    return output(table, metadata, data_version)
