"""Which parameters differ between the configurations of several trials."""

from collections import Counter
from collections.abc import Iterable, Mapping

from orchestrator.core.space import ParamValue


class ConfigurationSet:
    """A growing set of configurations. Adding one takes time proportional to its parameters alone."""

    def __init__(self, configurations: Iterable[Mapping[str, ParamValue]] = ()) -> None:
        self._count = 0
        self._occurrences: Counter[str] = Counter()
        self._values: dict[str, set[str]] = {}  # at most two of each parameter
        for params in configurations:
            self.add(params)

    def add(self, params: Mapping[str, ParamValue]) -> None:
        """Add one configuration."""
        self._count += 1
        self._occurrences.update(params.keys())
        for name, value in params.items():
            values = self._values.setdefault(name, set())
            if len(values) < 2:
                values.add(repr(value))

    @property
    def multivalued(self) -> tuple[str, ...]:
        """Names of the parameters with at least two values, in the order of the space."""
        return tuple(name for name, values in self._values.items() if len(values) > 1)

    @property
    def varied(self) -> tuple[str, ...]:
        """Names of the parameters with at least two values or missing from some configurations.

        All parameters of a single configuration count as varied.
        """
        return tuple(
            name
            for name, values in self._values.items()
            if len(values) > 1 or self._occurrences[name] < self._count or self._count < 2
        )
