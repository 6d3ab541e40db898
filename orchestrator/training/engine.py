"""The contract that every engine fulfils: advance a trial to a number of samples, and report.

Engines know nothing of sweeps, schedulers, studies or trackers. The same contract suite
(``tests/contracts/engine_contract.py``) runs against each of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from orchestrator.core.errors import DivergedError
from orchestrator.core.trial import Report, TrialTask

Measure: TypeAlias = Callable[[Path, TrialTask, str], Mapping[str, float]]
"""``Engine.measure``, wherever the engine is."""


class TrialRun(Protocol):
    """One trial in an engine."""

    def advance(self, nominal_samples: int) -> Report:
        """Train on until ``nominal_samples`` training samples were seen, evaluate, write a checkpoint and report.

        ``nominal_samples`` is one of the plan's report points and they come in order. A report that an interrupted
        run had already written with its checkpoint is returned as it was, without training again.

        Raises:
            DivergedError: a loss or gradient is not finite; the run is closed.
        """

    def finish(self, best_samples: int) -> Mapping[str, float]:
        """Measure the checkpoint of report ``best_samples`` on the shift sets.

        Returns ``shift/<set>/<metric>`` and, if anything was measured, ``time/shift_s``: how long it took, in seconds.
        """

    def close(self) -> None:
        """Free everything that this trial holds; calling it again does nothing."""


class Engine(Protocol):
    """Trains trials over one base model, and measures their checkpoints."""

    def start(self, task: TrialTask) -> TrialRun:
        """Return the trial's run, from its newest whole checkpoint if it has one, from the beginning otherwise."""

    def measure(self, checkpoint: Path, task: TrialTask, split: str) -> Mapping[str, float]:
        """Measure an adapter on a split: ``loss``, ``accuracy`` ...

        Splits are ``validation``, ``test``, ``train_eval`` (the training rows that reports measure) and shift sets.
        """

    def close(self) -> None:
        """Free the base model and the data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Capacity:
    """How many trials an engine is best given at once, at least one, and why, in words for a person.

    Attributes:
        slots: trials at once.
        why: nothing, if it was not measured.
        packs: False if it cannot train this base's trials together; they train one after another then.
        alone: of a base that packs, which trials it trains by themselves, and why, a sentence each.
        notes: what a person should know of the model and its adapters before training, a sentence each.
    """

    slots: int
    why: str
    packs: bool = True
    alone: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@runtime_checkable
class PackingEngine(Engine, Protocol):
    """An engine that trains several trials together.

    Out of memory, it goes on with half of them, from their newest reports, and with the others when those are done.
    """

    def capacity(self, most: int, *, measure: bool) -> Capacity:
        """Try which trials of this base can be trained together, and return how many to give it at once.

        Args:
            most: not to be exceeded.
            measure: how many pay and fit into memory; otherwise it is ``most``, if they can be trained together.

        Raises:
            LoratoryError: there is no memory for the base alone.
        """

    def step(self, wanted: Mapping[TrialRun, int]) -> Mapping[TrialRun, Report | DivergedError]:
        """Train every trial by a few batches; return the reports that are due now, and the trials that diverged.

        Called again and again, with whichever trials are to train now; what is returned may well be empty. A trial may
        join or be left out at any call, and is closed like any other.

        Args:
            wanted: the next report point of each run of this engine; a report that stands on disk already is returned
                at once.

        Raises:
            ValueError: not one of the plan's report points.
        """
