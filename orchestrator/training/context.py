"""The parts of a sweep shared by its engines and their trials."""

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.errors import LoratoryError
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.tasks.generation import GenerationPlan
from orchestrator.core.trials.manifest import Owner
from orchestrator.core.trials.row_measures import Measurement
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.evaluation.forgetting import PREFIX, Behaviour
from orchestrator.evaluation.generation.answers import AnswerRows
from orchestrator.evaluation.measurement_file import shift_file_name, write_measurement
from orchestrator.evaluation.shift import shift_metrics
from orchestrator.objective.protocol import ComparesWithBase, Objective, Splits, generation_metrics
from orchestrator.training.checkpoints.recorded_test import read_recorded_test, record_test
from orchestrator.training.checkpoints.trial_folder import TrialFolder
from orchestrator.training.data.task_data import TaskData
from orchestrator.training.process.hardware import choose_device, dtype_of, number_format
from orchestrator.training.process.memory import use_one_arena
from orchestrator.training.reference import add_references


class EngineContext:
    """The plan of a sweep with its objective, its rows and its device.

    Attributes:
        plan: the sweep's plan.
        objective: the task.
        device: ``cpu`` or ``cuda``.
        dtype: number format of training's matrix products.
        without_adapter: the base model's behaviour on general text; None: not measured yet.
    """

    def __init__(self, plan: EnginePlan, objective: Objective, splits: Splits | None = None) -> None:
        """Read the tokenizer, and the rows if ``splits`` is None.

        Raises:
            AssetError: the model or the data is missing.
            DataError: the data breaks a rule.
            UserError: the device does not exist.
        """
        use_one_arena()  # before reading the rows starts threads: existing arenas stay in use
        self.plan = plan
        self.objective = objective
        self.device = choose_device(plan.device)
        tokenizer = load_tokenizer(plan.model, classifies=objective.head.classifies)
        self._data: TaskData | None = TaskData(objective, plan.data, tokenizer, splits, plan.row_digests)
        self.dtype = dtype_of(number_format(plan.precision, self.device))
        self.without_adapter: Behaviour | None = None

    @property
    def data(self) -> TaskData:
        """The encoded rows; raises ``LoratoryError`` after ``close``."""
        self.require_open()
        assert self._data is not None
        return self._data

    @property
    def generation(self) -> GenerationPlan | None:
        """How answers are written and measured; None if the objective has no metrics of answers."""
        return self.plan.generation if generation_metrics(self.objective) else None

    def answers_due(self, task: TrialTask, points: Iterable[int]) -> GenerationPlan | None:
        """Return how a trial writes answers at one of some report points; None if it writes none."""
        plan = self.generation
        if plan is None:
            return None
        all_points = self.plan.timetable.of(task.settings)
        return plan if any(plan.is_due(point, all_points) for point in points) else None

    def shift_due(self, points: Iterable[int]) -> tuple[str, ...]:
        """Return the shift sets measured at one of some report points, because early stopping needs them."""
        if not self._early(points):
            return ()
        return tuple(name for name in self.data.shift_sets if self._needs_early(f"shift/{name}/"))

    def general_due(self, points: Iterable[int]) -> bool:
        """Return whether forgetting is measured at one of some report points."""
        return self._early(points) and self._needs_early(PREFIX)

    def _early(self, points: Iterable[int]) -> bool:
        return any(point >= self.plan.early_from for point in points)

    def _needs_early(self, prefix: str) -> bool:
        return any(name.startswith(prefix) for name in self.plan.early)

    def answer_rows(self, split: str, task: TrialTask) -> AnswerRows | None:
        """Return the rows of a split to answer when a checkpoint is measured after the search; None for no rows.

        These are rows of ``test``, and the rows of ``validation`` answered at reports.
        """
        plan = self.generation
        if plan is None or split not in {"validation", "test"} or (split == "validation" and plan.every is None):
            return None
        return self.data.answer_rows(split, task, plan.test_rows if split == "test" else plan.rows)

    def require_open(self) -> None:
        """Raise ``LoratoryError`` after ``close``."""
        if self._data is None:
            raise LoratoryError("the engine is closed")

    def close(self) -> None:
        """Free the rows; calling it again does nothing."""
        self._data = None

    def add_references(self, settings: TrialSettings) -> None:
        """Add the base model's values to the rows, if the objective compares with it; see ``training.reference``.

        Raises:
            LoratoryError: the base model cannot be loaded.
        """
        if isinstance(self.objective, ComparesWithBase):
            rows = self.data.all_rows(settings.max_length)
            add_references(self.plan, self.objective, self.data.tokenizer, rows, self.device)

    def trial_folder(self, task: TrialTask, state: str) -> TrialFolder:
        """Return the folder of a trial's checkpoints.

        Args:
            task: the trial.
            state: file without which an engine cannot resume from a checkpoint.
        """
        owner = Owner(sweep=self.plan.sweep_key, task=task)
        return TrialFolder(Path(self.plan.sweep_dir), task.number, state, owner)

    def final_splits(self, folder: TrialFolder, best_samples: int) -> tuple[str, ...]:
        """Return the splits to measure at the end of a trial: the shift sets, then ``test`` if it must be recorded.

        Args:
            folder: the trial's checkpoints.
            best_samples: report point of the checkpoint to measure.
        """
        recorded = not self.plan.record or read_recorded_test(folder, best_samples) is not None
        return (*self.data.shift_sets, *(() if recorded else ("test",)))

    def finals(
        self, folder: TrialFolder, best_samples: int, measured: Iterable[tuple[str, Measurement]]
    ) -> dict[str, float]:
        """Return the metrics of the shift sets with ``time/shift_s``, and write the measured rows.

        Without shift sets nothing is returned. The values of the test split are in the record alone. The rows of the
        shift sets are on disk before their metrics are returned: so a ledger with the metrics implies the files.

        Args:
            folder: the trial's checkpoints.
            best_samples: report point of the measured checkpoint.
            measured: yields the splits of ``final_splits``; the time until the last shift set counts.
        """
        began, seconds = time.perf_counter(), 0.0
        by_split: dict[str, Measurement] = {}
        for name, measurement in measured:
            by_split[name] = measurement
            if name in self.data.shift_sets:
                seconds = time.perf_counter() - began
                plain = replace(measurement, rows=replace(measurement.rows, logits=(), answers=()))
                write_measurement(folder.path / shift_file_name(name), best_samples, folder.owner, plain)
        test = by_split.pop("test", None)
        if test is not None:
            record_test(folder, best_samples, test)
        by_set = {name: measurement.metrics for name, measurement in by_split.items()}
        return shift_metrics(by_set, seconds) if by_set else {}

    def require_report_point(self, task: TrialTask, nominal_samples: int) -> None:
        """Raise ``ValueError`` if a trial does not report at ``nominal_samples``."""
        points = self.plan.timetable.of(task.settings)
        if nominal_samples not in points:
            raise ValueError(f"one of the report points {points} is needed, got {nominal_samples}")
