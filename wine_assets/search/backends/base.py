"""The base of trial backends: a typed config of where trials run, which runs a study there."""

import abc
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from wine_assets.config import StrictModel
from wine_assets.search.study import Study
from wine_assets.search.trial_context import TrialContext

WORKERS: Any = Field(
    default=None, ge=1, le=4096, description="trials that run at the same time; empty for as many as there are cores"
)
"""The field `workers` of most backends."""


class TrialBackend(StrictModel, abc.ABC):
    """Where trials run; a subclass has a field `kind` with its name, and a docstring that the guide repeats."""

    config_path: ClassVar[str] = "backend"

    @abc.abstractmethod
    def run(self, study: Study, context: TrialContext) -> None:
        """Run the trials of a study until it has no more; raise MissingExtraError if the backend isn't installed."""

    def run_isolated(self, study: Study, context: TrialContext) -> None:
        """Run the trials after a run whose process died: a trial that ends its process must not end this one."""
        self.run(study, context)

    def chunks(self, total: int | None) -> Sequence[range] | None:
        """Return the numbers of the trials of each step, of `total` in all; None to run them in one step."""
        del total
        return None


def kind_of(backend: type[TrialBackend]) -> str:
    """Return the name that a config calls a backend by."""
    return str(backend.model_fields["kind"].default)
