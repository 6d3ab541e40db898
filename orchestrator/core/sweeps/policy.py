"""Sampler, stopping rule, budget, resources and tracking of a sweep: plain values, checked by the spec."""

import enum
from dataclasses import dataclass

from orchestrator.core.metric import Metric
from orchestrator.core.sweeps.goal import Constraint
from orchestrator.core.sweeps.plan import EngineName
from orchestrator.core.trials.trial import AT_END


class SamplerName(enum.StrEnum):
    """The samplers by their names in the sweep file: this product's surrogate, and Optuna's."""

    SURROGATE = "surrogate"
    TPE = "tpe"
    RANDOM = "random"
    GRID = "grid"
    QMC = "qmc"
    GP = "gp"
    CMAES = "cmaes"
    NSGAII = "nsgaii"


class PriorName(enum.StrEnum):
    """Sources of start points beside those of the sweep file."""

    SHIPPED = "shipped"
    LEDGER = "ledger"
    NONE = "none"


class StoppingName(enum.StrEnum):
    """Stopping rules, which compare trials."""

    ASHA = "asha"
    HYPERBAND = "hyperband"
    MEDIAN = "median"
    NONE = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplerPolicy:
    """The sampler and its sizes; None: derived from the number of trials."""

    name: SamplerName = SamplerName.SURROGATE
    startup_trials: int | None = None
    population: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StoppingPolicy:
    """Report points and early stopping.

    In a ``SweepSpec``, None for ``grace_samples`` or ``metric`` means: not in the sweep file. ``preparation.defaults``
    chooses the value.

    Attributes:
        rule: the stopping rule.
        reports: number of reports per trial, evenly spaced in training samples, or the samples themselves, ascending.
            The last report is always at the trial's whole budget.
        reduction_factor: asha and hyperband keep one trial in so many at each rung.
        grace_samples: a trial with fewer samples is never stopped; None: the first report.
        cohort: number of values needed at a rung before the first decision; None: the reduction factor (median: 3).
        metric: the metric compared at rungs; None: the searched metric.
        patience: number of consecutive reports with rising validation loss and falling training loss after which the
            overfitting exit ends a trial; None: no overfitting exit.
        limits: ranges of reported metrics; a trial ends at the first report outside of one, from ``grace_samples`` on.
    """

    rule: StoppingName = StoppingName.ASHA
    reports: int | tuple[int, ...] = 8
    reduction_factor: int = 3
    grace_samples: int | None = None
    cohort: int | None = None
    patience: int | None = 2
    metric: Metric | None = None
    limits: tuple[Constraint, ...] = ()

    @property
    def early(self) -> tuple[str, ...]:
        """The metrics otherwise measured when a trial ends, and now needed at reports: shift sets and forgetting."""
        names = [*(each.name for each in self.limits), *([] if self.metric is None else [self.metric.name])]
        return tuple(dict.fromkeys(name for name in names if name.startswith(AT_END)))


class Until(enum.StrEnum):
    """Conditions that end a search before its limits."""

    NO_EXPECTED_GAIN = "no_expected_gain"


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """The limits of a sweep; the first one reached ends it. None: no limit. At least one is set.

    ``wall_time_s`` limits the running time of the sweep's drivers, in seconds. ``tokens`` limits the training tokens of
    all trials, without padding. ``until`` starts no further trials once its condition holds.
    """

    trials: int | None = None
    wall_time_s: float | None = None
    tokens: int | None = None
    until: Until | None = None

    def spent(self, elapsed_s: float, tokens: int) -> str | None:
        """Return the exceeded limit of time or tokens in words, or None. The trial limit stops no running trial."""
        if self.wall_time_s is not None and elapsed_s >= self.wall_time_s:
            return f"the wall time of {self.wall_time_s / 60:g} min is spent"
        if self.tokens is not None and tokens >= self.tokens:
            return f"the budget of {self.tokens:,} training tokens is spent ({tokens:,})"
        return None


class Preferred(enum.StrEnum):
    """What is preferred among adapters that cannot be told apart."""

    RANK = "rank"
    """The smallest rank; skipped if their methods differ."""
    GAP = "gap"
    """The smallest overfit gap."""
    LOSS = "loss"
    """The lowest validation loss of all reports: a less noisy sign of quality than the searched metric."""
    SAMPLES = "samples"
    """The fewest training samples up to the best checkpoint."""


PREFER = (Preferred.LOSS,)
"""The default order: on recorded tables it chooses better adapters than any other fact (decision 79)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmation:
    """Trainings of the best trials' configurations with fresh seeds, after the search.

    Attributes:
        top: number of configurations.
        seeds: trainings of each.
        folds: whether each training of a configuration has another fold of the rows.
    """

    top: int
    seeds: int
    folds: bool = False

    @property
    def trials(self) -> int:
        """Number of trainings."""
        return self.top * self.seeds


CURVE_SHARES = (0.125, 0.25, 0.5, 1.0)
"""Shares of the training rows on a learning curve."""


class Confirm(enum.StrEnum):
    """Words instead of the sizes of a ``Confirmation``: chosen from the budget, or none."""

    AUTO = "auto"
    NONE = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """Trials at once, and the processors of each.

    Attributes:
        engine: the engine.
        parallel_trials: number of processes with one trial each, or slots of the pack; the maximum if ``measured``.
        measured: the engine measures the best number of trials at once.
        cpus_per_trial: CPU threads of each process, or of the whole pack.
        gpus_per_trial: share of a GPU for each process; a pack takes a whole GPU if this is not zero.
        workers_per_trial: processes of each trial in the solo engine; they divide its CPU threads and GPUs.
    """

    engine: EngineName = EngineName.SOLO
    parallel_trials: int = 1
    measured: bool = False
    cpus_per_trial: int = 1
    gpus_per_trial: float = 0.0
    workers_per_trial: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Tracking:
    """Addresses of the tracking store and the model registry; None: the local store in ``mlflow/``.

    Attributes:
        uri, registry_uri: the addresses.
        keep_adapters: number of best adapters kept on disk and logged as models.
        record: whether the test predictions of every trial are recorded for trial tables.
    """

    uri: str | None = None
    registry_uri: str | None = None
    keep_adapters: int = 3
    record: bool = False
