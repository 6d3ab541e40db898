"""Ray Tune's ``AsyncHyperBandScheduler``, alone or with ``OptunaSearch``: the real classes, without a Ray cluster.

The classes get the calls of Tune's own loop (``TuneController._process_trial_result``): the scheduler decides on every
result. If the trial continues, the searcher gets the result, else it gets the end of the trial with its last result.
"""

from typing import TYPE_CHECKING, Any, cast

from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch
from typing_extensions import override

from benchmarks.search.candidates import Candidates
from benchmarks.search.simulation import Policy, SimulatedTrial
from benchmarks.search.snapping import overwrite
from orchestrator.core.seeds import derive_seed
from orchestrator.search.space import propose

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController

_NO_CONTROLLER = cast("TuneController", None)
"""The scheduler does not use the controller that it is given."""
REDUCTION = 4
"""Tune's default reduction factor."""


class RayAsha(Policy):
    """ASHA over configurations in random order. Rungs: the first report point, then each ``REDUCTION`` times later."""

    def __init__(self, candidates: Candidates) -> None:
        self._candidates = candidates
        self._scheduler = AsyncHyperBandScheduler(
            time_attr="samples",
            metric="cost",
            mode="min",
            max_t=candidates.task.full_samples,
            grace_period=candidates.task.first_samples,
            reduction_factor=REDUCTION,
        )
        self._trials: dict[int, Trial] = {}

    @override
    def choose(self, spent: int) -> SimulatedTrial | None:
        chosen = self._next()
        if chosen is not None:
            trial = Trial("table", stub=True, trial_id=_id(chosen.number))
            self._trials[chosen.number] = trial
            self._scheduler.on_trial_add(_NO_CONTROLLER, trial)
        return chosen

    def _next(self) -> SimulatedTrial | None:
        return self._candidates.start() or self._candidates.random()

    @override
    def observe(self, trial: SimulatedTrial) -> bool:
        result = {"samples": trial.samples, "cost": trial.costs[-1], "training_iteration": trial.reported}
        decision = self._scheduler.on_trial_result(_NO_CONTROLLER, self._trials[trial.number], result)
        if trial.ended:
            self._scheduler.on_trial_complete(_NO_CONTROLLER, self._trials[trial.number], result)
        continues = decision == TrialScheduler.CONTINUE and not trial.ended
        self._told(trial, result, continues=continues)
        return continues

    def _told(self, trial: SimulatedTrial, result: dict[str, Any], *, continues: bool) -> None:
        """Do nothing: random search needs no results."""


class RayAshaOptuna(RayAsha):
    """ASHA with ``OptunaSearch`` (TPE). The study holds the configuration that was trained, not the one proposed."""

    def __init__(self, candidates: Candidates) -> None:
        super().__init__(candidates)
        space = candidates.task.space
        assert space is not None, "OptunaSearch needs a space"
        self._space = space
        self._storage = InMemoryStorage()
        self._searcher = OptunaSearch(
            space=lambda trial: dict(propose(trial, space)),
            metric="cost",
            mode="min",
            points_to_evaluate=[dict(point) for point in candidates.start_points],
            storage=self._storage,
            seed=derive_seed(candidates.seed, "OptunaSearch"),
        )

    @property
    def study_trials(self) -> list[FrozenTrial]:
        """The trials which the model learns from."""
        return self._storage.get_all_trials(self._study)

    @property
    def _study(self) -> int:
        return self._storage.get_all_studies()[0]._study_id  # Optuna's storage names studies by it

    @override
    def _next(self) -> SimulatedTrial | None:
        if not self._candidates.left:
            return None
        number = len(self._trials)
        proposed = self._searcher.suggest(_id(number))
        assert proposed is not None
        trial = self._candidates.nearest(proposed)
        assert trial is not None
        overwrite(self._storage, self._study, number, self._space, self._candidates.params[trial.configuration])
        return trial

    @override
    def _told(self, trial: SimulatedTrial, result: dict[str, Any], *, continues: bool) -> None:
        if continues:
            self._searcher.on_trial_result(_id(trial.number), result)
        else:
            self._searcher.on_trial_complete(_id(trial.number), result)


def _id(number: int) -> str:
    return f"{number:05d}"
