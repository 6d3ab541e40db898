"""The checked sweep: what everything above the sweep file works with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.core.data import DataPlan, Source
from orchestrator.core.deepspeed import Config
from orchestrator.core.metric import Metric
from orchestrator.core.plan import Precision
from orchestrator.core.policy import Budget, Resources, SamplerPolicy, StoppingPolicy, Tracking
from orchestrator.core.quantisation import Quantisation
from orchestrator.core.settings import TrialSettings
from orchestrator.core.space import ParamValue, Space
from orchestrator.spec.fingerprint import fingerprint
from orchestrator.spec.possible import possible_epochs


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepSpec:
    """One sweep, every rule of the sweep file kept.

    Attributes:
        name: the sweep's name: letters, digits, '.', '_' and '-'.
        description: what the sweep is for.
        objective: the objective's name, or the absolute path of the ``.py`` file that holds it.
        model: the base model; the objective's own if the file names none.
        quantisation: how its frozen linear layers are held; None: as ``precision`` says.
        data: the rows; their source is the objective's own if the file names none.
        device: ``auto``, ``cpu`` or ``cuda``.
        deepspeed: DeepSpeed's configuration; None: without it.
        fixed: settings that the file fixes outside the space, by name.
        space: what is searched, in the order of proposal.
        metric: the searched metric, one of the objective's, and its direction.
        start_points: partial points of the space that are tried first.
        seed: seed of the proposals and of every trial.
        path: the sweep file, as it was named.
        text: the sweep file's YAML, overrides applied, passwords masked.
        warnings: what a person should know of the file, a sentence each.
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
        """Passes over the training rows that the longest trial makes, > 0."""
        return possible_epochs(self.space, self.fixed)[-1]

    def rows_per_epoch(self, rows: int) -> int | None:
        """Return ``rows``, those of training, if trials choose their epochs, else None; see ``Timetable``."""
        return rows if self.space.has("epochs") else None

    def settings_for(self, params: Mapping[str, ParamValue]) -> TrialSettings:
        """Return a trial's settings: the defaults, the file's fixed ones over them, ``params`` over both.

        Raises:
            UserError: a name is no setting, or a value is outside its range.
        """
        return TrialSettings.from_params({**self.fixed, **params})

    def fingerprint(self) -> dict[str, Any]:
        """Return what may not change when the sweep goes on, as plain JSON; see ``spec.fingerprint``."""
        return fingerprint(self)
