"""The checked sweep, input of all layers above the sweep file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.core.data import DataPlan, Source
from orchestrator.core.methods.deepspeed import Config
from orchestrator.core.methods.quantisation import Quantisation
from orchestrator.core.metric import Metric
from orchestrator.core.space import ParamValue, Space
from orchestrator.core.sweeps.gates import Gates
from orchestrator.core.sweeps.plan import Attention, Precision
from orchestrator.core.sweeps.policy import (
    PREFER,
    Budget,
    Confirm,
    Confirmation,
    Preferred,
    PriorName,
    Resources,
    SamplerPolicy,
    StoppingPolicy,
    Tracking,
)
from orchestrator.core.tasks.function import FunctionPlan
from orchestrator.core.tasks.generation import GenerationRequest
from orchestrator.spec.trial_length import earliest_rung, largest_batch, largest_warmup, longest_samples


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepSpec:
    """One checked sweep.

    Attributes:
        name: the sweep's name: letters, digits, '.', '_' and '-'.
        description: the purpose of the sweep.
        objective: the objective's name, or the absolute path of its ``.py`` file.
        model: the base model; by default the objective's.
        attention, checkpointing: see ``EnginePlan``.
        quantisation: storage of the frozen linear layers; None: as given by ``precision``.
        data: the rows; by default from the objective's source.
        device: ``auto``, ``cpu`` or ``cuda``.
        deepspeed: DeepSpeed's configuration; None: without it.
        function: the function that trains a trial; ``model`` and ``data`` name it too. None: an objective.
        fixed: fixed settings outside the space, by name.
        space: the searched parameters, in the order of proposal.
        metric: the metric to optimise and its direction; one of the objective's.
        start_points: partial points of the space to try first.
        prior: source of further start points.
        prior_points: these points; empty until the sweep is prepared.
        gates: bounds of the gates of ``promote``.
        prefer: what is preferred among adapters that cannot be told apart, the most important first.
        learning_curve: trainings of the winner's configuration on each share of its rows; None: no learning curve.
        generation: the answers to be written and measured, in a generative task.
        confirm: trainings of the best configurations with fresh seeds, after the search.
        seed: seed of the proposals and of every trial.
        path: the sweep file, as given by the user.
        text: the sweep file's YAML with overrides applied and passwords masked.
        warnings: sentences for the user about the file.
    """

    name: str
    description: str | None
    objective: str
    model: Source
    data: DataPlan
    precision: Precision
    device: str
    space: Space
    metric: Metric
    sampler: SamplerPolicy
    stopping: StoppingPolicy
    budget: Budget
    resources: Resources
    tracking: Tracking
    seed: int
    path: Path
    text: str
    gates: Gates = field(default_factory=Gates)
    generation: GenerationRequest = field(default_factory=GenerationRequest)
    attention: Attention = Attention.AUTO
    checkpointing: bool | None = None
    quantisation: Quantisation | None = None
    deepspeed: Config | None = None
    function: FunctionPlan | None = None
    fixed: Mapping[str, ParamValue] = field(default_factory=dict)
    start_points: tuple[Mapping[str, ParamValue], ...] = ()
    prefer: tuple[Preferred, ...] = PREFER
    confirm: Confirmation | Confirm = Confirm.AUTO
    learning_curve: int | None = None
    prior: PriorName = PriorName.SHIPPED
    prior_points: tuple[Mapping[str, ParamValue], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def epochs_are_open(self) -> bool:
        """Whether the epochs are neither fixed nor searched: they follow from the number of training rows."""
        return self.function is None and "epochs" not in self.fixed and not self.space.has("epochs")

    def samples(self, rows: int) -> int:
        """Return the samples of the longest possible trial with this number of training rows.

        A function states its own number.
        """
        return longest_samples(self.space, self.fixed, rows) if self.function is None else self.function.samples

    def earliest_rung(self, rows: int) -> int:
        """Return the samples before which trials are not compared, with this number of training rows.

        The optimizer steps of a function are unknown, so its trials may be compared from the first sample on.
        """
        if self.function is not None:
            return 1
        warmup = largest_warmup(self.space, self.fixed)
        return earliest_rung(self.samples(rows), largest_batch(self.space, self.fixed), warmup)

    def rows_per_epoch(self, rows: int) -> int | None:
        """Return ``rows``, the number of training rows, if epochs are searched, else None; see ``Timetable``."""
        return rows if self.function is None and self.space.has("epochs") else None
