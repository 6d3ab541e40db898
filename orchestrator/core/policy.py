"""How a sweep searches, stops, spends and keeps: plain values, checked where the sweep file is read."""

import enum
from dataclasses import dataclass

from orchestrator.core.plan import EngineName


class SamplerName(enum.StrEnum):
    """Optuna's samplers, by the names the sweep file uses."""

    TPE = "tpe"
    RANDOM = "random"
    GRID = "grid"
    QMC = "qmc"
    GP = "gp"
    CMAES = "cmaes"
    NSGAII = "nsgaii"


class StoppingName(enum.StrEnum):
    """Rules that stop a trial because others are better."""

    ASHA = "asha"
    HYPERBAND = "hyperband"
    MEDIAN = "median"
    NONE = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplerPolicy:
    """The sampler and its sizes; None lets the number of trials choose."""

    name: SamplerName = SamplerName.TPE
    startup_trials: int | None = None
    population: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StoppingPolicy:
    """When a trial reports and what stops it early.

    Attributes:
        rule: the rule that compares trials.
        reports: reports per trial, evenly spaced in training samples, or the samples themselves, ascending. Either way
            the last report is at the trial's whole budget.
        reduction_factor: asha and hyperband keep one trial in this many at each rung.
        grace_samples: no rule or exit stops a trial that has seen fewer samples; None: the first report.
        cohort: values a rung needs before it judges the first of them; None: the reduction factor (median: 3).
        patience: reports in a row in which validation loss rises while train loss falls, after which a trial ends as
            overfitting; None switches that exit off.
    """

    rule: StoppingName = StoppingName.ASHA
    reports: int | tuple[int, ...] = 6
    reduction_factor: int = 3
    grace_samples: int | None = None
    cohort: int | None = None
    patience: int | None = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What a sweep may spend, whichever ends first; None is no bound. At least one is set.

    ``wall_time_s`` counts the time that drivers of this sweep were running, in seconds; ``tokens`` the real training
    tokens of all trials, padding left out.
    """

    trials: int | None = None
    wall_time_s: float | None = None
    tokens: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """Trials at once, and what each of them takes.

    Attributes:
        engine: the engine that trains.
        parallel_trials: processes with a trial each, or slots of the pack; at most so many if they are ``measured``.
        measured: the engine measures how many trials pay at once.
        cpus_per_trial: threads of each process; of the whole pack, if trials are packed.
        gpus_per_trial: share of a GPU that each process takes; a pack takes a whole one, if this is not zero.
    """

    engine: EngineName = EngineName.SOLO
    parallel_trials: int = 1
    measured: bool = False
    cpus_per_trial: int = 1
    gpus_per_trial: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Tracking:
    """Where runs are recorded; None is the local store in ``mlflow/``.

    ``keep_adapters`` is how many of the sweep's best adapters stay on disk and are logged as models.
    """

    uri: str | None = None
    registry_uri: str | None = None
    keep_adapters: int = 3
