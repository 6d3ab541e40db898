"""Optuna's ``TPESampler`` with its ``HyperbandPruner``, by ask and tell."""

from optuna import Study, Trial, create_study
from optuna.pruners import HyperbandPruner
from optuna.samplers import TPESampler
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from typing_extensions import override

from benchmarks.search.candidates import Candidates
from benchmarks.search.simulation import Policy, SimulatedTrial
from benchmarks.search.snapping import overwrite
from orchestrator.core.seeds import derive_seed
from orchestrator.search.space import propose


class TpeHyperband(Policy):
    """TPE and Hyperband with Optuna's defaults. A step is as long as the way to the first report point."""

    def __init__(self, candidates: Candidates) -> None:
        task = candidates.task
        assert task.space is not None, "TPE needs a space"
        self._candidates, self._space, self._step = candidates, task.space, task.first_samples
        self._storage = InMemoryStorage()
        self._study: Study = create_study(
            storage=self._storage,
            sampler=TPESampler(seed=derive_seed(candidates.seed, "TPE")),
            pruner=HyperbandPruner(min_resource=1, max_resource=max(1, task.full_samples // self._step)),
            study_name=f"{task.name} {candidates.seed}",  # it decides the bracket of each trial
        )
        for point in candidates.start_points:
            self._study.enqueue_trial(dict(point))
        self._trials: dict[int, Trial] = {}

    @override
    def choose(self, spent: int) -> SimulatedTrial | None:
        if not self._candidates.left:
            return None
        asked = self._study.ask()
        trial = self._candidates.nearest(propose(asked, self._space))
        assert trial is not None
        params = self._candidates.params[trial.configuration]
        overwrite(self._storage, self._study._study_id, asked.number, self._space, params)
        self._trials[trial.number] = asked
        return trial

    @override
    def observe(self, trial: SimulatedTrial) -> bool:
        asked = self._trials[trial.number]
        asked.report(trial.costs[-1], trial.samples // self._step)
        if trial.ended:
            self._study.tell(asked, trial.costs[-1])
            return False
        if asked.should_prune():
            self._study.tell(asked, state=TrialState.PRUNED)
            return False
        return True
