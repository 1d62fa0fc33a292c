"""The search group: hyperparameters that are as good as they can be, on one machine or many."""

from typing import Any

import dagster as dg

from wine_assets.compute.request import ComputeRequest
from wine_assets.orchestration import metadata, search_chunks, search_steps
from wine_assets.orchestration.enforcement import OWNERS, enforce, resolve_request, retry_policy
from wine_assets.orchestration.io_managers import CHUNKS, Frame
from wine_assets.orchestration.outputs import versioned_output
from wine_assets.orchestration.report_files import write_report
from wine_assets.orchestration.search_configs import SearchConfig
from wine_assets.reports import search_page, search_picture
from wine_assets.search import objective
from wine_assets.search.optuna_study import write_study
from wine_assets.search.params import SearchParams
from wine_assets.search.space import Space

REQUEST = resolve_request(search_steps.SEARCH, ComputeRequest(cpu="2", memory="2Gi", retries=2))
"""What a chunk asks of a scheduler; on one machine the backend takes the cores that there are.

A chunk whose process is killed is run again where the executor outlives it: a chunk that failed would skip `collect`.
"""


@dg.op(
    out=dg.DynamicOut(io_manager_key=CHUNKS),
    description="Checks the search, and cuts it into chunks: one, or as many as there are steps wanted.",
)
def plan(context: dg.OpExecutionContext, config: SearchConfig, binarized_wine: Frame) -> list[dg.DynamicOutput[Any]]:
    """Return the chunks."""
    with enforce(context.get_step_execution_context()):
        chunks = search_chunks.plan_chunks(config, binarized_wine)
    return [dg.DynamicOutput(chunk, mapping_key) for mapping_key, chunk in chunks.items()]


@dg.op(
    out=dg.Out(io_manager_key=CHUNKS),
    tags=REQUEST.op_tags(),
    retry_policy=retry_policy(REQUEST),
    description="Runs the trials of a chunk; those that fail are values, too.",
)
def run_chunk(context: dg.OpExecutionContext, chunk: Any, binarized_wine: Frame) -> Any:
    """Return the chunk once its trials have run."""
    with enforce(context.get_step_execution_context()):
        return search_chunks.run_trials_of(context, chunk, binarized_wine)


@dg.op(
    out=dg.Out(io_manager_key="frame"),
    description="Brings the trials of all chunks together, and says which are the best.",
)
def collect(context: dg.OpExecutionContext, chunks: list[Any], binarized_wine: Frame) -> dg.Output[Any]:
    """Return the table of all trials, with the best of them as metadata."""
    with enforce(context.get_step_execution_context()):
        search = search_steps.open_search(SearchParams.model_validate(chunks[0]["params"]), binarized_wine)
        result = search.result(search.study(lambda *_: None))
        outer_scores = tuple(chunk["score"] for chunk in chunks if chunk["outer_fold"] is not None)
        space = Space.checked(search.params.space)
        picture = search_picture.picture(result, dict(space.families))
        page = write_report(search_page.render(result, picture, search.sentence(result, outer_scores)))
        shown = metadata.search(result, outer_scores, picture, page)
        if chunks[0]["study"]:
            study = search.journal.folder / "study.log"
            write_study(study, space, result.trials, search.params.objective.direction)
            shown["study"] = dg.MetadataValue.path(str(study))
        return versioned_output(context, result.table(), search.params.model_dump(mode="json"), shown)


@dg.config_mapping
def _plan_config(config: SearchConfig) -> dict[str, Any]:
    return {"plan": {"config": search_steps.fields(config)}}


@dg.graph_asset(
    group_name="search",
    owners=OWNERS,
    kinds={"python", "scikitlearn"},
    code_version=objective.VERSION,
    config=_plan_config,
    description="Every trial of a search for hyperparameters, and which of them are the best.",
)
def hyperparameter_search(binarized_wine: Frame) -> Any:
    """Plan the chunks, run each of them, and bring their trials together."""
    chunks = plan(binarized_wine).map(lambda chunk: run_chunk(chunk, binarized_wine))
    return collect(chunks.collect(), binarized_wine)
