"""The configurations expected to run out of memory: a function of the ledger's trials, without a memory model.

Memory grows with each of the ``SIZES``, and with dropout or accumulation. So a configuration at least as large as a
trial that ran out of memory is expected to run out of memory too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.core.space import ParamValue, format_value
from orchestrator.core.trials.settings import RULES
from orchestrator.core.trials.trial import TrialRecord

SIZES = ("batch_size", "max_length", "rank")
"""Parameters whose larger values need more memory."""

_SWITCHES = {"dropout": 0.0, "accumulation": 1.0}
"""Parameters that need more memory with every value above the given one."""
_KIND = ("method", "target_modules", "init", "dora")
"""Parameters with an effect on memory, but without an order."""
_CONFIRMING = 2


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a configuration; two sizes of different ``kind`` cannot be compared."""

    kind: tuple[ParamValue, ...]
    amounts: tuple[float, ...]

    @classmethod
    def of(cls, settings: Mapping[str, ParamValue]) -> "Size":
        """Return the size of a configuration; settings left out have their defaults."""
        values = {name: settings.get(name, RULES[name].default) for name in (*_KIND, *SIZES, *_SWITCHES)}
        numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
        amounts = [float(numbers[name]) for name in SIZES]
        amounts += [float(numbers[name] > off) for name, off in _SWITCHES.items()]
        return cls(tuple(values[name] for name in _KIND), tuple(amounts))

    def __str__(self) -> str:
        amounts = zip(SIZES, self.amounts[: len(SIZES)], strict=True)
        return ", ".join(f"{name} {format_value(amount)}" for name, amount in amounts)

    def covers(self, other: "Size") -> bool:
        """Return whether this size is of the same kind, and at least as large in every respect."""
        return self.kind == other.kind and all(
            mine >= theirs for mine, theirs in zip(self.amounts, other.amounts, strict=True)
        )


class MemoryLimits:
    """The sizes of the trials that ran out of memory, and of the trials that trained."""

    def __init__(self, records: Sequence[TrialRecord] = ()) -> None:
        """Read the records; later changes come through ``update``."""
        self._failed: dict[int, Size] = {}
        self._trained: dict[int, Size] = {}
        for record in records:
            self.update(record)

    def update(self, record: TrialRecord) -> None:
        """Read the newest record of a trial. The order of the calls has no effect.

        A function's parameters have no known effect on memory, so its trials are not read.
        """
        if record.settings.values:
            return
        if record.ran_out_of_memory:
            self._trained.pop(record.number, None)
            self._failed[record.number] = _size(record)
        elif record.reports and record.number not in self._trained:
            self._trained[record.number] = _size(record)

    def exceeded_by(self, settings: Mapping[str, ParamValue]) -> tuple[int, ...]:
        """Return the trials that ran out of memory and are at most as large as a configuration, by ascending number.

        A failure does not count if a trial at least as large has trained up to a report. Empty: the configuration is
        not expected to run out of memory.
        """
        if not self._failed:
            return ()
        size, trained = Size.of(settings), {*self._trained.values()}
        return tuple(
            number
            for number, failed in sorted(self._failed.items())
            if size.covers(failed) and not any(other.covers(failed) for other in trained)
        )

    def are_certain(self, failures: Sequence[int]) -> bool:
        """Return whether failures rule a configuration out: at least two, in a sweep with a trained trial.

        A single failure may have another cause, such as another program on the device. Without any trained trial the
        device itself may be short of memory.
        """
        return len(failures) >= _CONFIRMING and bool(self._trained)

    @property
    def failed(self) -> tuple[int, ...]:
        """Numbers of the trials that ran out of memory, ascending."""
        return tuple(sorted(self._failed))

    @property
    def sentence(self) -> str | None:
        """The trials that ran out of memory with their sizes, and the consequence; None without such a trial."""
        if not self._failed:
            return None
        sizes = "; ".join(f"trial {number} ({size})" for number, size in sorted(self._failed.items()))
        return f"Out of memory: {sizes}. The search tries configurations at least as large last"


def name_trials(numbers: Sequence[int]) -> str:
    """Return ``trial 3`` or ``trials 3, 7``."""
    return f"trial{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _size(record: TrialRecord) -> Size:
    return Size.of({name: getattr(record.settings, name) for name in (*_KIND, *SIZES, *_SWITCHES)})
