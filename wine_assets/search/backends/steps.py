"""The backend `steps`: a step of Dagster for each chunk of trials."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from wine_assets.errors import SearchError
from wine_assets.search.backends.base import TrialBackend
from wine_assets.search.backends.pool import PoolBackend
from wine_assets.search.study import Study
from wine_assets.search.trial_context import TrialContext


class StepsBackend(TrialBackend):
    """One Dagster step for every `chunk_trials` trials, with its own logs and tags."""

    kind: Literal["steps"] = "steps"
    chunk_trials: int = Field(default=10, ge=1, le=100_000, description="trials of a step; 1 shows every trial")
    workers: int | None = Field(
        default=1,
        ge=1,
        le=4096,
        description="trials of one step that run at the same time; steps run beside each other",
    )

    def run(self, study: Study, context: TrialContext) -> None:
        """Run the trials of one step as the backend `pool` does."""
        PoolBackend(workers=self.workers).run(study, context)

    def run_isolated(self, study: Study, context: TrialContext) -> None:
        """Run the trials of one step in worker processes."""
        PoolBackend(workers=self.workers).run_isolated(study, context)

    def chunks(self, total: int | None) -> Sequence[range]:
        """Return the numbers of the trials of each step; raise SearchError if the total is not known."""
        if total is None:
            raise SearchError("The backend `steps` has to know how many trials there are. Give `budget.trials`.")
        return [range(first, min(first + self.chunk_trials, total)) for first in range(0, total, self.chunk_trials)]
