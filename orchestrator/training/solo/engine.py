"""The solo engine: one trial at a time, by ``transformers.Trainer`` and peft.

Trainer pushes, engines are asked: the Trainer runs in a thread that pauses at every report (see ``pushing``). Nothing
is loaded before a trial really trains; reports that are on disk are returned as they were.
"""

import threading
import time
from collections.abc import Mapping
from pathlib import Path

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.errors import LoratoryError
from orchestrator.core.manifest import Owner
from orchestrator.core.plan import EnginePlan
from orchestrator.core.trial import Report, TrialTask
from orchestrator.evaluation.measure import measure
from orchestrator.objective.protocol import Head, Objective
from orchestrator.training.checkpoints.trial_folder import ADAPTER, TrialFolder
from orchestrator.training.data.task_data import TaskData
from orchestrator.training.model.adapters import merged
from orchestrator.training.model.base_model import load_adapted
from orchestrator.training.process.hardware import choose_device, computes_in_bfloat16
from orchestrator.training.process.memory import free_memory, use_one_arena
from orchestrator.training.process.random_state import RandomState, kept_random_state
from orchestrator.training.solo.pausable_thread import PausableThread
from orchestrator.training.solo.session import EngineContext, Session

_ONE_AT_A_TIME = threading.RLock()
"""torch's random state and thread count belong to the process, so trials of one process take turns."""


class SoloEngine:
    """Trains one trial per process; see ``Engine``."""

    def __init__(self, plan: EnginePlan, objective: Objective) -> None:
        """Read the data and the tokenizer.

        Args:
            plan: what all trials share.
            objective: the task.

        Raises:
            AssetError: the model or the data is missing.
            DataError: the data breaks a rule.
            UserError: the device is not there.
        """
        use_one_arena()
        device = choose_device(plan.device)
        self._plan = plan
        self._objective = objective
        tokenizer = load_tokenizer(plan.model, classifies=objective.head is Head.SEQUENCE_CLASSIFICATION)
        self._data: TaskData | None = TaskData(objective, plan.data, tokenizer)
        self._device = device
        self._bfloat16 = computes_in_bfloat16(plan.precision, device)

    def start(self, task: TrialTask) -> "SoloRun":
        """Return the trial's run; it takes memory from its first update on."""
        surroundings = EngineContext(
            plan=self._plan,
            objective=self._objective,
            data=self.data,
            device=self._device,
            bfloat16=self._bfloat16,
        )
        return SoloRun(self, surroundings, task)

    def measure(self, checkpoint: Path, task: TrialTask, split: str) -> Mapping[str, float]:
        """Measure a checkpoint, or its ``adapter`` folder, in float32 on a split."""
        return self.measure_all(checkpoint, task, [split])[split]

    def measure_all(self, checkpoint: Path, task: TrialTask, splits: list[str]) -> dict[str, dict[str, float]]:
        """Measure a checkpoint on several splits, loading it once.

        Raises:
            LoratoryError: there is no adapter.
        """
        import torch

        data = self.data
        adapter = checkpoint / ADAPTER if (checkpoint / ADAPTER).is_dir() else checkpoint
        if not (adapter / "adapter_config.json").is_file():
            raise LoratoryError(f"there is no adapter in {checkpoint}")
        with _ONE_AT_A_TIME, kept_random_state():
            torch.set_num_threads(self._plan.threads)
            plan = self._plan
            model = load_adapted(plan.model, self._objective, self._device, adapter, plan.quantisation)
            with merged(model):
                return {
                    name: measure(model, self._objective, data.measured(name, task.settings), data.tokenizer)
                    for name in splits
                }

    def close(self) -> None:
        """Free the data; calling it again does nothing."""
        self._data = None

    @property
    def data(self) -> TaskData:
        """The encoded rows; raises ``LoratoryError`` when the engine is closed."""
        if self._data is None:
            raise LoratoryError("the engine is closed")
        return self._data


class SoloRun:
    """One trial; see ``TrialRun``."""

    def __init__(self, engine: SoloEngine, surroundings: EngineContext, task: TrialTask) -> None:
        self._engine = engine
        self._surroundings = surroundings
        self._task = task
        plan = surroundings.plan
        owner = Owner(sweep=plan.sweep_key, task=task)
        self._folder = TrialFolder(Path(plan.sweep_dir), task.number, owner=owner)
        self._pushing: PausableThread[Report] | None = None
        self._random: RandomState | None = None

    def advance(self, nominal_samples: int) -> Report:
        """Train on to a report point, or return the report that stands there already."""
        points = self._surroundings.plan.timetable.of(self._task.settings)
        if nominal_samples not in points:
            raise ValueError(f"one of the report points {points} is needed, got {nominal_samples}")
        while (stored := self._folder.report(nominal_samples)) is None:
            self._train_to_next_report()
        return stored

    def finish(self, best_samples: int) -> Mapping[str, float]:
        """Measure the best checkpoint on the shift sets; the training state is freed first."""
        self.close()
        names = list(self._surroundings.data.shift_sets)
        if not names:
            return {}
        if not self._folder.has_adapter(best_samples):  # somebody removed it, or it is damaged
            self._folder.rewind(best_samples)
            self.advance(best_samples)
            self.close()
        began = time.perf_counter()
        found = self._engine.measure_all(self._folder.checkpoint(best_samples), self._task, names)
        shift = {f"shift/{name}/{metric}": value for name in names for metric, value in found[name].items()}
        return {**shift, "time/shift_s": time.perf_counter() - began}

    def close(self) -> None:
        """End the thread and free the model."""
        pushing, self._pushing, self._random = self._pushing, None, None
        if pushing is not None:
            pushing.close()
            self._folder.clear_scratch()
            free_memory(self._surroundings.device)

    def _train_to_next_report(self) -> None:
        with _ONE_AT_A_TIME, kept_random_state():
            if self._pushing is None:
                session = Session(self._surroundings, self._task, self._folder)
                self._pushing = PausableThread(session.train, name=f"trial {self._task.number}")
            elif self._random is not None:
                self._random.restore()
            try:
                self._pushing.next()
            except BaseException:  # whatever it is, Ctrl-C included, is let through once the trial is closed
                self.close()
                raise
            self._random = RandomState.capture()
