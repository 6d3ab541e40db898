"""The contract of all engines: train a trial to a number of samples, and report.

Engines import no sweep, scheduler, study or tracker. One contract suite (``tests/contracts/engine_contract.py``) tests
each engine.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from orchestrator.core.errors import CutShortError, DivergedError
from orchestrator.core.trials.row_measures import Measurement
from orchestrator.core.trials.trial import Report, TrialTask

Measure: TypeAlias = Callable[[Path, TrialTask, str], Measurement]
"""``Engine.measure``, possibly of an engine in another process."""

StepResult: TypeAlias = Report | DivergedError | CutShortError


class TrialRun(Protocol):
    """One trial in an engine."""

    def advance(self, nominal_samples: int) -> Report:
        """Train up to ``nominal_samples`` training samples, evaluate, write a checkpoint and return the report.

        A report already on disk with its checkpoint is returned unchanged, without training.

        Args:
            nominal_samples: one of the plan's report points, in ascending order.

        Raises:
            DivergedError: a loss or a gradient is not finite; the run is closed.
            ValueError: the trial does not report at ``nominal_samples``.
        """

    def finish(self, best_samples: int) -> Mapping[str, float]:
        """Measure the checkpoint of report ``best_samples`` on the shift sets.

        If the plan says ``record``, the checkpoint is also measured on the test split. This measurement goes to the
        trial's folder alone (see ``checkpoints.recorded_test``); an existing one is kept.

        Returns ``shift/<set>/<metric>`` and the duration ``time/shift_s`` in seconds; nothing without shift sets. If
        the plan says ``forgetting``, it also returns the metrics on the general text.
        """

    def close(self) -> None:
        """Free the trial's memory; calling it again does nothing."""


class Engine(Protocol):
    """Trains trials of one base model, and measures their checkpoints."""

    def start(self, task: TrialTask) -> TrialRun:
        """Return the trial's run; it resumes from the newest complete checkpoint, if there is one."""

    def measure(self, checkpoint: Path, task: TrialTask, split: str) -> Measurement:
        """Return the measurement of a checkpoint on a split: its metrics (``loss``, ``accuracy`` ...) and its rows.

        Args:
            checkpoint: a checkpoint, or its ``adapter`` folder.
            task: the trial of the checkpoint.
            split: ``validation``, ``test``, ``train_eval`` (the fixed training rows of reports) or a shift set; or
                ``general``, the general text: the metrics and rows are those of
                ``evaluation.forgetting``.
        """

    def close(self) -> None:
        """Free the base model and the data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Capacity:
    """The number of trials to train at once, with the reason.

    Attributes:
        slots: trials at once, at least one.
        why: the reason, in words; empty if the number was not measured.
        packs: False if no trial of this base model can be packed; they train one after another then.
        alone: the kinds of trials in a packed sweep trained by the solo engine, with reasons; a sentence each.
        notes: remarks on the model and its adapters for the user, before training; a sentence each.
    """

    slots: int
    why: str
    packs: bool = True
    alone: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@runtime_checkable
class PackingEngine(Engine, Protocol):
    """An engine that trains several trials together.

    Out of memory, it continues with half of the trials from their newest reports; the others wait.
    """

    def capacity(self, most: int, *, measure: bool) -> Capacity:
        """Try which trials of this base model can be packed; return the number of trials to train at once.

        Args:
            most: upper bound.
            measure: measure speed and memory. Without it the number is ``most``, or 1 if nothing can be packed.

        Raises:
            LoratoryError: memory does not suffice for the base model alone.
        """

    def step(self, wanted: Mapping[TrialRun, int]) -> Mapping[TrialRun, StepResult]:
        """Train every trial for a few batches; return the new reports and ends of trials, often none.

        Trials may join or leave between calls. A report already on disk is returned at once.

        Args:
            wanted: the next report point of each run of this engine.

        Raises:
            ValueError: a trial does not report at its point.
        """


def step_runs(engine: Engine, wanted: Mapping[TrialRun, int]) -> Mapping[TrialRun, StepResult]:
    """Return the results of ``PackingEngine.step``; an engine without it trains each run to one whole report."""
    if isinstance(engine, PackingEngine):
        return engine.step(wanted)
    results: dict[TrialRun, StepResult] = {}
    for run, samples in wanted.items():
        try:
            results[run] = run.advance(samples)
        except (DivergedError, CutShortError) as error:
            results[run] = error
    return results
