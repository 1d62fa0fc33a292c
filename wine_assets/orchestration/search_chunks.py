"""The chunks that a search is cut into: what each holds, and how its trials run."""

import sys
import time
from collections.abc import Mapping
from typing import Any

import dagster as dg

from wine_assets import settings
from wine_assets.orchestration import search_steps
from wine_assets.orchestration.search_configs import SearchConfig
from wine_assets.search import nested
from wine_assets.search.params import SearchParams

_WAITING = "Another run of this same search is at these trials. This step waits, and then takes their results."
Chunk = dict[str, Any]
"""The plain values that a step of trials needs beside the rows."""


def plan_chunks(config: SearchConfig, frame: Any) -> Mapping[str, Chunk]:
    """Return the chunks by their mapping keys: one, or as many as the backend `steps` asks for, and the outer folds.

    Raise SearchError for a search that the frame has too few rows for, or that can't be cut into steps.
    """
    search = search_steps.open_search(config.params(), frame)
    shared = {
        "params": config.params().model_dump(mode="json"),
        "backend": config.backend.model_dump(mode="json"),
        "study": config.study,
        "planned_at": time.time(),
        "numbers": None,
        "outer_fold": None,
    }
    outer = {f"outer_fold_{fold}": {**shared, "outer_fold": fold} for fold in range(config.nested_folds)}
    total = search.study(lambda *_: None).total
    ranges = config.backend.chunks(total)
    if ranges is None:
        return {"all": shared, **outer}
    digits = len(str(total))
    steps = {
        f"trials_{part[0]:0{digits}}_to_{part[-1]:0{digits}}": {**shared, "numbers": [part[0], part[-1]]}
        for part in ranges
    }
    return {**steps, **outer}


def run_trials_of(context: dg.OpExecutionContext, chunk: Chunk, frame: Any) -> Chunk:
    """Run the trials of a chunk, and return it; the chunk of an outer fold gets its `score`."""
    params = SearchParams.model_validate(chunk["params"])
    backend, numbers, fold = search_steps.backend(chunk["backend"]), chunk["numbers"], chunk["outer_fold"]
    if fold is not None:
        score = nested.outer_score(params, frame, fold, searches=settings.home().searches, backend=backend)
        context.log.info("Outer fold %d: %s %.4f.", fold, params.objective.metric, score)
        return {**chunk, "score": score}
    part = range(numbers[0], numbers[1] + 1) if numbers else None
    search = search_steps.open_search(_within_budget(params, chunk["planned_at"]) if part else params, frame)
    reporter = search_steps.ProgressReporter(context, search.params.objective.metric, part)
    with search.journal.lock() if part is None else search.journal.claim(part, lambda: context.log.info(_WAITING)):
        study = search.study(reporter, part)
        reporter.begin(study)
        run = backend.run_isolated if context.retry_number else backend.run
        run(study, search.context)
    return chunk


def _within_budget(params: SearchParams, planned_at: float) -> SearchParams:
    """Return a search that ends when all of its chunks do, whenever this one is begun."""
    budget = params.budget
    if budget.seconds is None:
        return params
    left = max(budget.seconds - (time.time() - planned_at), sys.float_info.min)
    return params.model_copy(update={"budget": budget.model_copy(update={"seconds": left})})
