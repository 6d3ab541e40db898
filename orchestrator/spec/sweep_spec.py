"""The checked sweep, input of all layers above the sweep file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.core.data import DataPlan, Source
from orchestrator.core.deepspeed import Config
from orchestrator.core.metric import Metric
from orchestrator.core.plan import Precision
from orchestrator.core.policy import Budget, Resources, SamplerPolicy, StoppingPolicy, Tracking
from orchestrator.core.quantisation import Quantisation
from orchestrator.core.space import ParamValue, Space
from orchestrator.spec.possible import possible_epochs


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepSpec:
    """One checked sweep.

    Attributes:
        name: the sweep's name: letters, digits, '.', '_' and '-'.
        description: the purpose of the sweep.
        objective: the objective's name, or the absolute path of its ``.py`` file.
        model: the base model; by default the objective's.
        quantisation: storage of the frozen linear layers; None: as given by ``precision``.
        data: the rows; by default from the objective's source.
        device: ``auto``, ``cpu`` or ``cuda``.
        deepspeed: DeepSpeed's configuration; None: without it.
        fixed: fixed settings outside the space, by name.
        space: the searched parameters, in the order of proposal.
        metric: the metric to optimise and its direction; one of the objective's.
        start_points: partial points of the space to try first.
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
    quantisation: Quantisation | None = None
    deepspeed: Config | None = None
    fixed: Mapping[str, ParamValue] = field(default_factory=dict)
    start_points: tuple[Mapping[str, ParamValue], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def epochs(self) -> float:
        """Epochs of the longest possible trial, > 0."""
        return possible_epochs(self.space, self.fixed)[-1]

    def rows_per_epoch(self, rows: int) -> int | None:
        """Return ``rows``, the number of training rows, if epochs are searched, else None; see ``Timetable``."""
        return rows if self.space.has("epochs") else None
