"""One trial's training from its newest whole checkpoint to its last report: what runs in the trial's thread."""

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.core.plan import EnginePlan
from orchestrator.core.trial import Report, TrialTask
from orchestrator.evaluation.gap import gaps
from orchestrator.evaluation.measure import measure
from orchestrator.objective.protocol import Objective
from orchestrator.training.checkpoints.heartbeat import Heartbeat
from orchestrator.training.checkpoints.trial_folder import TrialFolder
from orchestrator.training.data.task_data import TaskData
from orchestrator.training.data.update_plan import UpdatePlan
from orchestrator.training.model.adapters import Adapted, adapt, merged
from orchestrator.training.model.base_model import load_base
from orchestrator.training.process.memory import peak_mb, reset_peak
from orchestrator.training.process.random_state import kept_random_state
from orchestrator.training.solo.dropout import use_fast_dropout
from orchestrator.training.solo.pausable_thread import PausableThread

if TYPE_CHECKING:
    from transformers import TrainerCallback

    from orchestrator.training.solo.trainer import SoloTrainer, TrainingInputs


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineContext:
    """What the engine's trials share.

    Attributes:
        plan: the sweep's plan.
        objective: the task.
        data: its rows, encoded.
        device: ``cpu`` or ``cuda``.
        bfloat16: whether training computes in bfloat16.
    """

    plan: EnginePlan
    objective: Objective
    data: TaskData
    device: str
    bfloat16: bool


class Session:
    """A trial in training."""

    def __init__(self, surroundings: EngineContext, task: TrialTask, folder: TrialFolder) -> None:
        self._around = surroundings
        self._task = task
        self._folder = folder
        self._update_plan = UpdatePlan.create(surroundings.data, task, surroundings.plan.timetable)
        self._last_update = 0
        self._started_at = time.time()
        self._clock = time.perf_counter()

    def train(self, pushing: PausableThread[Report]) -> None:
        """Build the model, train, and push a report at each point that has none yet."""
        import torch
        from transformers import set_seed

        from orchestrator.training.solo.callback import ReportPoints
        from orchestrator.training.solo.trainer import TrainingInputs

        around = self._around
        torch.set_num_threads(
            around.plan.threads
        )  # OpenMP keeps the number per thread, and Ray's workers start with one
        reset_peak(around.device)
        set_seed(self._task.seed)
        plan = around.plan
        base = load_base(plan.model, around.objective, around.device, quantisation=plan.quantisation)
        adapted = adapt(base, self._task.settings, around.objective.head)
        use_fast_dropout(adapted.model)
        inputs = TrainingInputs(
            objective=around.objective,
            tokenizer=around.data.tokenizer,
            rows=self._update_plan.rows,
            order=self._update_plan.order,
            bfloat16=around.bfloat16,
        )
        self._folder.clear_scratch()
        heartbeat = Heartbeat(self._folder)

        def check(updates: int) -> None:
            pushing.check()
            heartbeat.beat(updates * self._task.settings.rows_per_update)

        points = ReportPoints(set(self._update_plan.due.values()), check, lambda: self._report(trainer, pushing))
        trainer = self._trainer(adapted, inputs, [points])
        newest = self._folder.newest_whole()
        if newest is not None:
            self._last_update = self._update_plan.due[newest]
            for report in self._folder.report_again(newest, self._update_plan.due):
                pushing.push(report)
        self._clock = time.perf_counter()
        try:
            trainer.train(resume_from_checkpoint=None if newest is None else str(self._folder.checkpoint(newest)))
        finally:
            trainer.close()

    def _trainer(self, adapted: Adapted, inputs: "TrainingInputs", callbacks: "list[TrainerCallback]") -> "SoloTrainer":
        """Return what trains: with DeepSpeed below it if the plan says so."""
        from orchestrator.training.solo.deepspeed_trainer import DeepSpeedTrainer
        from orchestrator.training.solo.trainer import SoloTrainer

        config, scratch = self._around.plan.deepspeed, self._folder.scratch
        if config is None:
            return SoloTrainer(adapted, inputs, self._task, scratch, callbacks)
        return DeepSpeedTrainer(adapted, inputs, self._task, scratch, callbacks, config)

    def _report(self, trainer: "SoloTrainer", pushing: PausableThread[Report]) -> None:
        """Evaluate, commit the checkpoint that Trainer has just written, and push."""
        update = trainer.state.global_step
        train_s = time.perf_counter() - self._clock
        written = self._folder.scratch / f"checkpoint-{update}"
        points = [
            point
            for point, due in self._update_plan.due.items()
            if due == update and self._folder.report(point) is None
        ]
        metrics = self._metrics(trainer, update, train_s) if points else {}
        for point in points:  # several, if an update takes more rows than lie between two report points
            report = Report(
                trial=self._task.number,
                nominal_samples=point,
                metrics=metrics,
                checkpoint=self._folder.reference(point),
                started_at=self._started_at,
                ended_at=time.time(),
            )
            copy = written.with_name(f"report-{point}")
            shutil.copytree(written, copy)
            self._folder.commit(copy, report)
            self._last_update = update
            pushing.push(report)
            self._started_at = time.time()
            self._clock = time.perf_counter()
        shutil.rmtree(written)

    def _metrics(self, trainer: "SoloTrainer", update: int, train_s: float) -> dict[str, float]:
        began = time.perf_counter()
        around, settings = self._around, self._task.settings
        with kept_random_state(), merged(trainer.adapted_model):
            found = {
                split: measure(trainer.adapted_model, around.objective, rows, around.data.tokenizer)
                for split, rows in self._update_plan.splits.items()
            }
        tokens = self._update_plan.tokens[update]
        new_tokens = tokens - self._update_plan.tokens[self._last_update]
        return {
            **{f"{split}/{name}": value for split in ("val", "train") for name, value in found[split].items()},
            **gaps(found["val"], found["train"]),
            "optim/learning_rate": trainer.learning_rate,
            "progress/samples": float(update * settings.rows_per_update),
            "progress/tokens": float(tokens),
            "speed/tokens_per_s": new_tokens / train_s if train_s > 0 else 0.0,
            "memory/peak_mb": peak_mb(around.device),
            "time/train_s": train_s,
            "time/eval_s": time.perf_counter() - began,
        }
