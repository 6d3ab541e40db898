"""Our TPE against Optuna's: the same proposals, with less to read for each of them."""

import math
import random
import warnings

import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import TrialState

from orchestrator.core.space import ParamValue
from orchestrator.search.space import distributions, propose
from orchestrator.search.tpe import EndedTrials, FastTpe
from tests.search.worlds import SPACE

OPTIONS = {"multivariate": True, "group": True, "constant_liar": True, "n_startup_trials": 3}


def study_of(trials: int, direction: str = "maximize") -> optuna.Study:
    """A study in a space with a condition, most of whose trials were pruned; two are under way, and one failed."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction=direction, sampler=optuna.samplers.RandomSampler(seed=3))
    draw = random.Random(trials)
    for number in range(trials + 3):
        trial = study.ask()
        propose(trial, SPACE)
        if number < trials:
            if draw.random() < 0.9:
                trial.report(draw.choice((0.2, 0.5, 0.7, math.nan)), draw.choice((1000, 2000)))
            ended = draw.choice((TrialState.COMPLETE, TrialState.PRUNED, TrialState.PRUNED))
            study.tell(trial, draw.choice((0.4, 0.6)) if ended is TrialState.COMPLETE else None, state=ended)
        elif number == trials:
            study.tell(trial, state=TrialState.FAIL)
    return study


def proposals(study: optuna.Study, samplers: list[BaseSampler]) -> list[dict[str, ParamValue]]:
    """One proposal of each sampler, those before it still under way."""
    found = []
    for sampler in samplers:
        study.sampler = sampler
        found.append(propose(study.ask(), SPACE))
    return found


@pytest.mark.filterwarnings("ignore:.*experimental.*")
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("trials", [2, 4, 30, 120])
def test_its_proposals_are_optunas(trials: int, direction: str) -> None:
    ended: EndedTrials = {}
    space = distributions(SPACE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = [FastTpe(space, ended, startup_trials=3, seed=seed) for seed in range(6)]
        theirs = [TPESampler(**OPTIONS, seed=seed) for seed in range(6)]
        found, expected = (proposals(study_of(trials, direction), [*samplers]) for samplers in (ours, theirs))
        assert found == expected


class Counting(dict[str, BaseDistribution]):
    """A space that counts how often a value was turned into Optuna's own number."""

    looks = 0

    def __getitem__(self, name: str) -> BaseDistribution:
        self.looks += 1
        return super().__getitem__(name)


def test_an_ended_trial_is_read_once() -> None:
    study, ended, space = study_of(30), EndedTrials(), Counting(distributions(SPACE))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        proposals(study, [FastTpe(space, ended, startup_trials=3, seed=0)])
        first, space.looks = space.looks, 0
        study.tell(study.trials[-1].number, 0.5)
        proposals(study, [FastTpe(space, ended, startup_trials=3, seed=1)])
    assert first > 100, "thirty trials of four parameters and more"
    assert space.looks <= first / 2, "those under way, and the one that has ended since"
    assert len(ended) == 31
