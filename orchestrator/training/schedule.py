"""The learning rate's course, as a factor of its peak. Pure."""

import math

from orchestrator.core.settings import TrialSettings


def factor(settings: TrialSettings, update: int, updates: int) -> float:
    """Return what the peak learning rate is multiplied with in update ``update``, from 0, of ``updates`` in all.

    It rises in a straight line over ``warmup_ratio`` of the updates, from zero; then it falls in a straight line or a
    half cosine to zero, or stays. The same numbers as transformers' ``get_scheduler`` gives.
    """
    warmup = math.ceil(settings.warmup_ratio * updates)
    if update < warmup:
        return update / max(1, warmup)
    done = (update - warmup) / max(1, updates - warmup)
    if settings.schedule == "constant":
        return 1.0
    return max(0.0, 1.0 - done if settings.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done)))
