"""The solo engine: one trial at a time with ``transformers.Trainer`` and peft.

The Trainer owns its loop, so it runs in a thread that pauses at every report (see ``PausableThread``). Models are
loaded when a trial trains; reports already on disk need none.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from orchestrator.core.errors import LoratoryError, UserError
from orchestrator.core.trials.row_measures import Measurement
from orchestrator.core.trials.trial import Report, TrialTask
from orchestrator.evaluation.forgetting import GENERAL, Behaviour, behaviour, forgetting, forgetting_rows
from orchestrator.evaluation.measure import measure
from orchestrator.objective.protocol import objective_of
from orchestrator.training.answers import write_and_score
from orchestrator.training.checkpoints.trial_folder import ADAPTER, STATE, TrialFolder
from orchestrator.training.context import EngineContext
from orchestrator.training.model.adapters import merged
from orchestrator.training.model.base_model import load_adapted, load_base, with_adapter
from orchestrator.training.process.memory import free_memory
from orchestrator.training.process.random_state import RandomState, kept_random_state
from orchestrator.training.solo.pausable_thread import PausableThread
from orchestrator.training.solo.session import Session
from orchestrator.training.solo.workers import Launch, Training

_ONE_AT_A_TIME = threading.RLock()
"""Held while a trial trains: the random state and the thread count of torch belong to the process."""


class SoloEngine:
    """Trains one trial at a time; see ``Engine``."""

    def __init__(self, context: EngineContext, launch: Launch | None = None) -> None:
        """Load nothing yet; each trial loads the base model when it trains.

        Args:
            context: the sweep's plan, rows and device.
            launch: starts the workers of a trial, if the plan has several; None: such trials cannot train.
        """
        self._context = context
        self._launch = launch

    def start(self, task: TrialTask) -> "SoloRun":
        """Return the trial's run; it takes no memory before its first update.

        Raises:
            LoratoryError: the engine is closed.
        """
        self._context.require_open()
        return SoloRun(self, self._context, task)

    def training(self, task: TrialTask, folder: TrialFolder) -> Training:
        """Return the training of a trial, not started: in a thread of this process, or in its workers.

        Raises:
            UserError: the plan has several workers, and nothing can start them.
        """
        if self._context.plan.workers == 1:
            return PausableThread(Session(self._context, task, folder).train, name=f"trial {task.number}")
        if self._launch is None:
            raise UserError("resources.workers_per_trial: several workers need Ray; leave out --inline")
        return self._launch(task)

    def measure(self, checkpoint: Path, task: TrialTask, split: str) -> Measurement:
        """Return the measurement of a checkpoint, or of its ``adapter`` folder, in float32 on a split."""
        if split == GENERAL:
            before, after = self._behaviours(checkpoint)
            return Measurement(metrics=forgetting(before, after), rows=forgetting_rows(before, after))
        [(_, measurement)] = self.measure_each(checkpoint, task, [split])
        return measurement

    def measure_each(
        self, checkpoint: Path, task: TrialTask, splits: Sequence[str]
    ) -> Iterator[tuple[str, Measurement]]:
        """Yield each split with its measurement; the checkpoint is loaded once, in float32.

        Raises:
            LoratoryError: the checkpoint has no adapter.
        """
        import torch

        context, data, adapter = self._context, self._context.data, _adapter_of(checkpoint)
        with _ONE_AT_A_TIME, kept_random_state():
            torch.set_num_threads(context.plan.threads)
            source, quantisation = context.plan.model, context.plan.quantisation
            context.add_references(task.settings)
            objective = objective_of(context.objective, task.settings)
            model = load_adapted(source, objective, context.device, adapter, quantisation)
            with merged(model):
                for name in splits:
                    rows = data.measured(name, task)
                    found = measure(model, objective, rows, data.tokenizer, detailed=True)
                    if (wanted := context.answer_rows(name, task)) is not None:
                        found = write_and_score(model, context, wanted).added_to(found)
                    yield name, found

    def forgetting(self, checkpoint: Path) -> Mapping[str, float]:
        """Return the metrics of forgetting of a checkpoint; see ``evaluation.forgetting``."""
        return forgetting(*self._behaviours(checkpoint))

    def _behaviours(self, checkpoint: Path) -> tuple[Behaviour, Behaviour]:
        """Return the behaviour on general text of the base model without and with a checkpoint."""
        import torch

        context, adapter = self._context, _adapter_of(checkpoint)
        with _ONE_AT_A_TIME, kept_random_state():
            torch.set_num_threads(context.plan.threads)
            plan, texts, head = context.plan, context.data.general(), context.objective.head
            base = load_base(plan.model, context.objective, context.device, quantisation=plan.quantisation)
            if context.without_adapter is None:  # the same for all adapters
                context.without_adapter = behaviour(base.model, head, texts)
            model = with_adapter(base, adapter)
            with merged(model):
                return context.without_adapter, behaviour(model, head, texts)

    def close(self) -> None:
        """Free the rows; calling it again does nothing."""
        self._context.close()


def _adapter_of(checkpoint: Path) -> Path:
    """Return the folder of a checkpoint's adapter; raises ``LoratoryError`` without one."""
    adapter = checkpoint / ADAPTER if (checkpoint / ADAPTER).is_dir() else checkpoint
    if not (adapter / "adapter_config.json").is_file():
        raise LoratoryError(f"no adapter in {checkpoint}")
    return adapter


class SoloRun:
    """One trial; see ``TrialRun``."""

    def __init__(self, engine: SoloEngine, context: EngineContext, task: TrialTask) -> None:
        self._engine = engine
        self._context = context
        self._task = task
        self._folder = context.trial_folder(task, STATE)
        self._thread: Training | None = None
        self._random: RandomState | None = None

    def advance(self, nominal_samples: int) -> Report:
        """Train to a report point, or return the report on disk."""
        self._context.require_report_point(self._task, nominal_samples)
        while (stored := self._folder.report(nominal_samples)) is None:
            self._train_to_next_report()
        return stored

    def finish(self, best_samples: int) -> Mapping[str, float]:
        """Measure the best checkpoint, after freeing the training state."""
        self.close()
        forgetting, splits = self._context.plan.forgetting, self._context.final_splits(self._folder, best_samples)
        if not splits and not forgetting:
            return {}
        if not self._folder.has_adapter(best_samples):  # removed or damaged
            self._folder.rewind(best_samples)
            self.advance(best_samples)
            self.close()
        checkpoint = self._folder.checkpoint(best_samples)
        measured = self._engine.measure_each(checkpoint, self._task, splits) if splits else ()
        metrics = self._context.finals(self._folder, best_samples, measured)
        if forgetting:
            metrics |= self._engine.forgetting(checkpoint)
        return metrics

    def close(self) -> None:
        """End the thread and free the model."""
        thread, self._thread, self._random = self._thread, None, None
        if thread is not None:
            thread.close()
            self._folder.clear_scratch()
            free_memory(self._context.device)

    def _train_to_next_report(self) -> None:
        with _ONE_AT_A_TIME, kept_random_state():
            if self._thread is None:
                self._thread = self._engine.training(self._task, self._folder)
            elif self._random is not None:
                self._random.restore()
            try:
                self._thread.next()
            except BaseException:  # any error, also Ctrl-C: close the trial, then raise it again
                self.close()
                raise
            self._random = RandomState.capture()
