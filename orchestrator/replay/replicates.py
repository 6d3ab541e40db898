"""The trials of a table by configuration: candidates for a search, each with its replicates."""

from collections.abc import Mapping
from typing import TypeAlias

from orchestrator.core.errors import UserError
from orchestrator.core.space import FloatRange, ParamValue, Space
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.replay.table import TableTrial, TrialTable

_Values: TypeAlias = tuple[ParamValue, ...]


class Replicates:
    """The recorded trials open to a search: points of its space, with its fixed settings.

    Settings with neither a fixed value nor a parameter are those of the record.

    Attributes:
        candidates: the recorded points of the space, each once, in the order of the table.
    """

    def __init__(self, table: TrialTable, space: Space, fixed: Mapping[str, ParamValue]) -> None:
        """Group the trials.

        Raises:
            UserError: no recorded trial is open to the search.
        """
        self._names = tuple(sorted({*fixed, *(parameter.name for parameter in space.parameters)}))
        self._groups: dict[_Values, list[TableTrial]] = {}
        candidates: dict[_Values, Mapping[str, ParamValue]] = {}
        for trial in table.trials:
            point = _point(trial.settings, space)
            others = {name: value for name, value in fixed.items() if name not in point}
            recorded = trial.settings.to_json()
            same = all(recorded.get(name) == value for name, value in others.items())
            if same and space.contains(point):
                key = self.key(trial.settings)
                candidates.setdefault(key, point)
                self._groups.setdefault(key, []).append(trial)
        if not candidates:
            raise UserError(
                f"no recorded trial of {table.name} is in the search space and has the fixed settings; undo the "
                "changes of search.space, adapter and training"
            )
        self.candidates = tuple(candidates.values())

    def of(self, task: TrialTask) -> TableTrial:
        """Return the recorded trial for a task: the one with its seed, or one chosen by its seed."""
        group = self._groups[self.key(task.settings)]
        same_seed = next((trial for trial in group if trial.seed == task.seed), None)
        return same_seed or group[task.seed % len(group)]

    def key(self, settings: TrialSettings) -> _Values:
        """Return the values of the fixed settings and the parameters, the same for replicates of a configuration."""
        values = settings.to_json()
        return tuple(values.get(name) for name in self._names)


def _point(settings: TrialSettings, space: Space) -> dict[str, ParamValue]:
    """Return the values of the active parameters, floats for real ranges."""
    point: dict[str, ParamValue] = {}
    values = settings.to_json()
    for parameter in space.parameters:
        if parameter.is_active(point):
            value: ParamValue = values.get(parameter.name)  # an absent option has its default
            number = isinstance(value, int) and not isinstance(value, bool)
            is_real = isinstance(parameter.distribution, FloatRange) and number
            point[parameter.name] = float(value or 0) if is_real else value
    return point
