"""A search as an Optuna study, in a file that optuna-dashboard opens."""

from collections.abc import Sequence
from pathlib import Path

from wine_assets.errors import MissingExtraError
from wine_assets.search.objective import Direction
from wine_assets.search.space import Space
from wine_assets.search.strategies import Bayesian, BayesianStrategy
from wine_assets.search.trials import TrialResult


def write_study(path: Path, space: Space, results: Sequence[TrialResult], direction: Direction) -> None:
    """Write a study of these trials, whichever strategy chose them, in place of what is at `path`.

    A trial's value is its loss: the score times its direction. Raise MissingExtraError without Optuna.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise MissingExtraError("search", "A study for optuna-dashboard") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    told = Bayesian(space, BayesianStrategy(), direction)
    for result in results:
        told.tell(result)
    storage = JournalStorage(JournalFileBackend(str(path)))
    written = optuna.create_study(study_name=path.parent.name, direction="minimize", storage=storage)
    written.add_trials(told.study.get_trials(deepcopy=False))
