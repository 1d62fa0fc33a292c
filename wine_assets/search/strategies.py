"""How the next candidate is chosen: from a grid, at random, or from what the trials before it came to."""

import itertools
import warnings
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, Protocol

from pydantic import Field

from wine_assets.config import StrictModel
from wine_assets.errors import MissingExtraError
from wine_assets.search.objective import Direction
from wine_assets.search.space import FAMILY, Candidate, Distribution, Space
from wine_assets.search.trials import TrialResult

_SEED: Any = Field(default=0, ge=0, le=2**32 - 1, description="seed of the candidates; equal seeds give equal ones")
_TRIES = 20
"""How often a candidate is drawn anew when it was tried before."""
_GUESSES = 1000
"""How many draws at random then look for one that wasn't tried, before a space counts as exhausted."""


class GridStrategy(StrictModel):
    """Every combination of explicit lists of values, in order."""

    config_path: ClassVar[str] = "strategy"
    kind: Literal["grid"] = "grid"


class RandomStrategy(StrictModel):
    """Draws that know nothing of each other."""

    config_path: ClassVar[str] = "strategy"
    kind: Literal["random"] = "random"

    seed: int = _SEED


class BayesianStrategy(StrictModel):
    """Draws that follow what came of the trials before (Optuna)."""

    config_path: ClassVar[str] = "strategy"
    kind: Literal["bayesian"] = "bayesian"

    sampler: Literal["tpe", "gp"] = Field(
        default="tpe",
        description="`tpe`: tree of Parzen estimators, for any space; `gp`: Gaussian process, for few fields and "
        "costly fits (needs the extra `gp`)",
    )
    seed: int = _SEED
    startup_trials: int = Field(default=10, ge=1, le=10_000, description="draws at random before the first that isn't")
    prune: bool = Field(
        default=True, description="whether a trial is given up that is worse than the median after one of its folds"
    )


StrategyParams = GridStrategy | RandomStrategy | BayesianStrategy


class Strategy(Protocol):
    """Chooses candidates; trials are numbered from 0."""

    prunes: bool
    """Whether trials are given up that are worse than most after one of their folds."""
    learns: bool
    """Whether candidates depend on what came of the trials before."""
    size: int | None
    """How many candidates there are, None where there is no end of them."""

    def ask(self, number: int) -> Candidate | None:
        """Return the candidate of a trial, None when there are no more."""
        ...

    def tell(self, result: TrialResult) -> None:
        """Take note of what came of a trial, whoever asked for it."""
        ...


def strategy(params: StrategyParams, space: Space, direction: Direction) -> Strategy:
    """Return the strategy; raise SearchError when it can't search the space, MissingExtraError for a missing extra."""
    if isinstance(params, GridStrategy):
        return Grid(space)
    if isinstance(params, RandomStrategy):
        return Random(space, params.seed)
    return Bayesian(space, params, direction)


class Grid:
    """Every combination, in order."""

    prunes = learns = False

    def __init__(self, space: Space) -> None:
        self._space, self._size = space, space.grid_size()
        self.size: int | None = self._size

    def ask(self, number: int) -> Candidate | None:
        """Return the combination of this number."""
        return self._space.combination(number) if number < self._size else None

    def tell(self, result: TrialResult) -> None:
        """Do nothing: a grid learns nothing."""


class Random:
    """Draws of which each depends on the seed and its own number alone, whoever asks and in whichever order.

    No candidate is drawn twice. Of a family without a range of `float`, a draw that equals one with a lower number is
    drawn anew, so that a draw also depends on those before it; a space of such families alone has an end.
    """

    prunes = learns = False

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._seed, self.size = space, seed, space.size
        self._finite = {name for name, family in space.families.items() if family.size is not None}
        self._draws: list[Candidate] = []
        self._seen: set[tuple[Any, ...]] = set()
        self._unseen = itertools.count()

    def ask(self, number: int) -> Candidate | None:
        """Return the draw of this number, None if the space has no more candidates."""
        if not self._finite:
            return drawn(self._space, self._seed, number)
        if self.size is not None and number >= self.size:
            return None
        while len(self._draws) <= number:
            self._draws.append(self._draw_unseen(len(self._draws)))
        return self._draws[number]

    def tell(self, result: TrialResult) -> None:
        """Do nothing: draws know nothing of each other's results."""

    def _draw_unseen(self, number: int) -> Candidate:
        draws: Iterator[Candidate] = (drawn(self._space, self._seed, number, attempt) for attempt in itertools.count())
        if self.size is not None:  # hardly any may be left: the first of those is as good as any other
            rest = (self._space.combination(place) for place in self._unseen)
            draws = itertools.chain(itertools.islice(draws, _TRIES), rest)
        candidate = next(c for c in draws if c.family not in self._finite or c.key not in self._seen)
        if candidate.family in self._finite:
            self._seen.add(candidate.key)
        return candidate


def drawn(space: Space, seed: int, number: int, attempt: int = 0) -> Candidate:
    """Return a candidate drawn at random, the same one for the same numbers."""
    import numpy as np

    generator = np.random.default_rng([seed, number, attempt])
    return space.at(iter(generator.random, None))


class Bayesian:
    """Optuna's samplers over the results so far.

    Each draw has a seed of its own, made of the seed and its number, so that a search that goes on from its journal
    draws what it would have drawn. Trials that run count as bad ones (constant liar), so that those drawn side by
    side differ; a candidate that was tried before is drawn anew, and at random where the sampler has no other.
    """

    learns = True

    def __init__(self, space: Space, params: BayesianStrategy, direction: Direction) -> None:
        self.size = space.size
        self._space, self._params, self._direction = space, params, direction
        self.prunes = params.prune
        self._optuna = _optuna(params)
        self.study = self._optuna.create_study(direction="minimize", sampler=self._sampler(0, 0))
        self._asked: dict[int, Any] = {}
        self._tried: set[tuple[Any, ...]] = set()

    def ask(self, number: int) -> Candidate | None:
        """Return what the sampler draws given the results so far; None when nothing is found that wasn't tried."""
        for attempt in range(_TRIES):
            trial, candidate = self._draw(number, attempt)
            if candidate.key not in self._tried:
                return self._taken(number, trial, candidate)
            self.study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        guesses = (drawn(self._space, self._params.seed, number, _TRIES + guess) for guess in range(_GUESSES))
        untried = next((candidate for candidate in guesses if candidate.key not in self._tried), None)
        return None if untried is None else self._taken(number, *self._suggested(untried))

    def tell(self, result: TrialResult) -> None:
        """Let later draws know of a result."""
        self._tried.add(result.candidate.key)
        trial = self._asked.pop(result.number, None)
        if trial is None:
            self.study.add_trial(self._frozen(result))
            return
        for fold, loss in enumerate(self._running_losses(result)):
            trial.report(loss, fold)
        if result.state == "finished":
            self.study.tell(trial, self._direction * result.mean)
        else:
            self.study.tell(trial, state=self._state(result))

    def _taken(self, number: int, trial: Any, candidate: Candidate) -> Candidate:
        self._asked[number] = trial
        self._tried.add(candidate.key)
        return candidate

    def _draw(self, number: int, attempt: int) -> tuple[Any, Candidate]:
        self.study.sampler = self._sampler(number, attempt)
        if number < self._params.startup_trials:
            return self._suggested(drawn(self._space, self._params.seed, number, attempt))
        return self._suggested(None)

    def _suggested(self, candidate: Candidate | None) -> tuple[Any, Candidate]:
        """Return a trial of this candidate, or of what the sampler suggests."""
        if candidate is not None:
            self.study.enqueue_trial(self._named(candidate))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is called experimental
            trial = self.study.ask()
            return trial, _suggest(trial, self._space)

    def _sampler(self, number: int, attempt: int) -> Any:
        import numpy as np

        seed = int(np.random.SeedSequence([self._params.seed, number, attempt]).generate_state(1)[0])
        samplers = self._optuna.samplers
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
            if self._params.sampler == "gp":
                return samplers.GPSampler(seed=seed, n_startup_trials=0, deterministic_objective=True)
            return samplers.TPESampler(seed=seed, n_startup_trials=0, constant_liar=True)

    def _state(self, result: TrialResult) -> Any:
        states = self._optuna.trial.TrialState
        return {"finished": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}[result.state]

    def _running_losses(self, result: TrialResult) -> list[float]:
        """Return the mean loss after each fold."""
        scores = result.scores
        return [self._direction * sum(scores[: fold + 1]) / (fold + 1) for fold in range(len(scores))]

    def _frozen(self, result: TrialResult) -> Any:
        return self._optuna.trial.create_trial(
            state=self._state(result),
            value=self._direction * result.mean if result.state == "finished" else None,
            params=self._named(result.candidate),
            distributions=self._distributions(result.family),
            intermediate_values=dict(enumerate(self._running_losses(result))),
            user_attrs={"number": result.number, "seconds": result.seconds, "reason": result.reason},
        )

    def _named(self, candidate: Candidate) -> dict[str, Any]:
        over = self._space.families[candidate.family].parameters
        named = {f"{candidate.family}.{field}": candidate.parameters[field] for field in over}
        return {FAMILY: candidate.family, **named} if len(self._space.names) > 1 else named

    def _distributions(self, family: str) -> dict[str, Any]:
        over = self._space.families[family].parameters
        found = {f"{family}.{field}": _distribution(self._optuna, spread) for field, spread in over.items()}
        if len(self._space.names) > 1:
            found[FAMILY] = self._optuna.distributions.CategoricalDistribution(self._space.names)
        return found


def _suggest(trial: Any, space: Space) -> Candidate:
    names = space.names
    family = trial.suggest_categorical(FAMILY, names) if len(names) > 1 else names[0]
    over = space.families[family].parameters
    return space.candidate(
        family, {field: _suggest_field(trial, f"{family}.{field}", spread) for field, spread in over.items()}
    )


def _suggest_field(trial: Any, name: str, spread: Distribution) -> Any:
    if spread.kind == "categorical":
        return trial.suggest_categorical(name, spread.values)
    if spread.kind == "int":
        return trial.suggest_int(name, int(spread.low), int(spread.high), log=spread.log)
    return trial.suggest_float(name, spread.low, spread.high, log=spread.log)


def _distribution(optuna: Any, spread: Distribution) -> Any:
    distributions = optuna.distributions
    if spread.kind == "categorical":
        return distributions.CategoricalDistribution(spread.values)
    if spread.kind == "int":
        return distributions.IntDistribution(int(spread.low), int(spread.high), log=spread.log)
    return distributions.FloatDistribution(spread.low, spread.high, log=spread.log)


def _optuna(params: BayesianStrategy) -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("search", "The strategy `bayesian`") from error
    if params.sampler == "gp":
        try:
            import torch  # noqa: F401 - what the sampler computes with
        except ImportError as error:
            raise MissingExtraError("gp", "The sampler `gp`") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
