"""The backend `ray`: Ray Tune, with or without ASHA."""

from wine_assets.search.backends.ray import asha, tune
from wine_assets.search.backends.ray.params import RayParams
from wine_assets.search.study import Study
from wine_assets.search.trial_context import TrialContext


class RayBackend(RayParams):
    """Ray Tune, on a cluster that is started for the search, or on the one at `address`."""

    def run(self, study: Study, context: TrialContext) -> None:
        """Run trials on the cluster; raise FailedSearchError if there is none, or none of its nodes has room."""
        if self.asha is None:
            tune.run_on_ray(study, context, self)
        else:
            asha.run_with_asha(study, context, self, self.asha)
