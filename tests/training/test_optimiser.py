"""Learning rates over a trial: equal to the schedules of transformers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import get_scheduler

from orchestrator.core.trials.settings import TrialSettings
from orchestrator.training.optimiser import decay_updates, schedule_factor, warmup_updates

TRANSFORMERS_NAMES = {
    "linear": "linear",
    "cosine": "cosine",
    "constant": "constant_with_warmup",
    "wsd": "warmup_stable_decay",
}


@pytest.mark.parametrize("schedule", TRANSFORMERS_NAMES)
@pytest.mark.parametrize("warmup_ratio", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("decay_ratio", [0.0, 0.2, 0.95, 1.0])
@pytest.mark.parametrize("updates", [1, 7, 50])
def test_factor_equals_transformers(schedule: str, warmup_ratio: float, decay_ratio: float, updates: int) -> None:
    settings = TrialSettings(schedule=schedule, warmup_ratio=warmup_ratio, decay_ratio=decay_ratio)
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    arguments = {"num_decay_steps": decay_updates(settings, updates), "decay_type": "linear"}
    theirs = get_scheduler(
        TRANSFORMERS_NAMES[schedule],
        optimiser,
        num_warmup_steps=warmup_updates(settings, updates),
        num_training_steps=updates,
        scheduler_specific_kwargs=arguments if schedule == "wsd" else None,
    )
    for update in range(updates):
        assert schedule_factor(settings, update, updates) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12), update
        optimiser.step()
        theirs.step()


@given(st.integers(1, 500), st.floats(0, 1), st.floats(0, 1))
def test_wsd_is_constant_between_rise_and_fall(updates: int, warmup_ratio: float, decay_ratio: float) -> None:
    settings = TrialSettings(schedule="wsd", warmup_ratio=warmup_ratio, decay_ratio=decay_ratio)
    rising, falling = warmup_updates(settings, updates), decay_updates(settings, updates)
    factors = [schedule_factor(settings, update, updates) for update in range(updates)]
    assert rising + falling <= updates
    assert all(factor == 1.0 for factor in factors[rising : updates - falling])
    assert factors[:rising] == sorted(factors[:rising])
    assert factors[updates - falling :] == sorted(factors[updates - falling :], reverse=True)
    assert falling >= min(math.ceil(decay_ratio * updates), updates - rising)
