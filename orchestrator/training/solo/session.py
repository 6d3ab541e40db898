"""The training of one trial in its thread, from its newest complete checkpoint to its last report."""

import shutil
import time
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING

from orchestrator.core.sweeps.plan import Attention
from orchestrator.core.trials.trial import Report, TrialTask
from orchestrator.evaluation.forgetting import behaviour, forgetting
from orchestrator.evaluation.gap import gaps
from orchestrator.evaluation.measure import measure
from orchestrator.evaluation.shift import shift_metrics
from orchestrator.objective.protocol import objective_of
from orchestrator.training.answers import write_and_score
from orchestrator.training.checkpoints.heartbeat import Heartbeat
from orchestrator.training.checkpoints.trial_folder import TrialFolder
from orchestrator.training.context import EngineContext
from orchestrator.training.data.update_plan import UpdatePlan
from orchestrator.training.model.adapters import Adapted, adapt
from orchestrator.training.model.base_model import load_base, load_unquantised
from orchestrator.training.model.base_size import held_bytes
from orchestrator.training.model.starts import ROWS, StartRows
from orchestrator.training.process.computing import recomputes
from orchestrator.training.process.memory import peak_mb, reset_peak
from orchestrator.training.process.random_state import kept_random_state
from orchestrator.training.solo.checkpointing import recompute_activations
from orchestrator.training.solo.dropout import use_fast_dropout
from orchestrator.training.solo.packing import require_packing
from orchestrator.training.solo.workers import ALONE, ReportChannel, Worker

if TYPE_CHECKING:
    from transformers import TrainerCallback

    from orchestrator.training.solo.trainer import SoloTrainer, TrainingInputs


class Session:
    """Trains one trial, and writes its reports."""

    def __init__(self, context: EngineContext, task: TrialTask, folder: TrialFolder, worker: Worker = ALONE) -> None:
        self._context = context
        self._worker = worker
        self._scratch = folder.scratch if worker.is_first else folder.scratch / f"worker-{worker.rank}"
        self._task = task
        self._folder = folder
        self._objective = objective_of(context.objective, task.settings)
        self._update_plan = UpdatePlan.create(context.data, task, context.plan.timetable)
        self._last_update = 0
        self._started_at = time.time()
        self._clock = time.perf_counter()

    def train(self, channel: ReportChannel) -> None:
        """Build the model, train, and push a report at each point without one."""
        import torch
        from transformers import set_seed

        from orchestrator.training.solo.callback import ReportPoints

        context = self._context
        # OpenMP keeps the thread count per thread, and Ray's workers start with 1.
        torch.set_num_threads(context.plan.threads)
        reset_peak(context.device)
        context.add_references(self._task.settings)
        set_seed(self._task.seed)
        adapted = self._new_model()
        inputs = self._inputs(adapted)
        self._worker.decide(self._folder.clear_scratch)
        heartbeat = Heartbeat(self._folder)

        def check(updates: int) -> None:
            channel.check()
            if self._worker.is_first:
                heartbeat.beat(updates * self._task.settings.rows_per_update)

        points = ReportPoints(set(self._update_plan.due.values()), check, lambda: self._report(trainer, channel))
        trainer = self._trainer(adapted, inputs, [points])
        newest = self._worker.decide(self._folder.newest_whole)
        if newest is not None:
            due = self._update_plan.due
            self._last_update = due[newest]
            for report in self._worker.decide(lambda: self._folder.report_again(newest, due)):
                channel.push(report)
        self._clock = time.perf_counter()
        try:
            trainer.train(resume_from_checkpoint=None if newest is None else str(self._folder.checkpoint(newest)))
        finally:
            trainer.close()

    def _inputs(self, adapted: Adapted) -> "TrainingInputs":
        """Return what the trainer trains on; ``require_packing`` raises errors."""
        from orchestrator.training.solo.trainer import TrainingInputs

        context, packed_length = self._context, None
        if context.plan.data.packing:
            require_packing(adapted.model, context.objective, str(context.plan.model))
            packed_length = self._task.settings.max_length
        return TrainingInputs(
            objective=self._objective,
            tokenizer=context.data.tokenizer,
            rows=self._update_plan.rows,
            order=self._update_plan.order,
            dtype=context.dtype,
            packed_length=packed_length,
            class_weights=self._update_plan.class_weights,
            worker=self._worker,
        )

    def _new_model(self) -> Adapted:
        """Return the base model with a new adapter, ready for training."""
        context, plan, updates = self._context, self._context.plan, len(self._update_plan.order)
        attention = None if plan.attention is Attention.AUTO else plan.attention.value
        base = load_base(
            plan.model,
            context.objective,
            context.device,
            attention=attention,
            quantisation=plan.quantisation,
            stays_on_cpu=self._worker.world > 1 and plan.deepspeed is None,
        )
        if context.without_adapter is None and context.general_due(self._update_plan.due):
            with kept_random_state():
                context.without_adapter = behaviour(base.model, context.objective.head, context.data.general())
        start = self._start_rows(base.model.device.type)
        adapted = adapt(base, self._task.settings, context.objective.head, start, updates=updates)
        use_fast_dropout(adapted.model)
        trained = sum(parameter.numel() for parameter in adapted.model.parameters() if parameter.requires_grad)
        if recomputes(plan, context.device, held_bytes(adapted.model), trained):
            recompute_activations(adapted.model, str(plan.model))
        return adapted

    def _start_rows(self, device: str) -> StartRows:
        """Return the rows read by some inits: the first of the trial's order, the same after a resume."""
        order = islice(chain.from_iterable(self._update_plan.order), ROWS)
        return StartRows(
            objective=self._objective,
            tokenizer=self._context.data.tokenizer,
            rows=[self._update_plan.rows[row] for row in order],
            device=device,
            load_unquantised=partial(load_unquantised, self._context.plan.model, self._context.objective),
        )

    def _trainer(self, adapted: Adapted, inputs: "TrainingInputs", callbacks: "list[TrainerCallback]") -> "SoloTrainer":
        """Return the Trainer, with DeepSpeed if the plan has a configuration for it, else FSDP for several workers."""
        config, scratch = self._context.plan.deepspeed, self._scratch
        if config is None and self._worker.world > 1:
            from orchestrator.training.solo.sharded_trainer import ShardedTrainer

            return ShardedTrainer(adapted, inputs, self._task, scratch, callbacks)
        if config is None:
            from orchestrator.training.solo.trainer import SoloTrainer

            return SoloTrainer(adapted, inputs, self._task, scratch, callbacks)
        from orchestrator.training.solo.deepspeed_trainer import DeepSpeedTrainer

        return DeepSpeedTrainer(adapted, inputs, self._task, scratch, callbacks, config)

    def _report(self, trainer: "SoloTrainer", channel: ReportChannel) -> None:
        """Evaluate, commit the checkpoint just written by Trainer, and push the report."""
        update = trainer.state.global_step
        train_s = time.perf_counter() - self._clock
        written = self._scratch / f"checkpoint-{update}"
        due = [point for point, after in self._update_plan.due.items() if after == update]
        points = self._worker.decide(lambda: [point for point in due if self._folder.report(point) is None])
        metrics = self._metrics(trainer, update, train_s, points) if points else {}
        for point in points:  # several, if one update covers more than one report point
            report = Report(
                trial=self._task.number,
                nominal_samples=point,
                metrics=metrics,
                checkpoint=self._folder.reference(point),
                started_at=self._started_at,
                ended_at=time.time(),
            )
            if self._worker.is_first:
                copy = written.with_name(f"report-{point}")
                if point == points[-1]:
                    written.rename(copy)
                else:
                    shutil.copytree(written, copy)
                self._folder.commit(copy, report)
            self._last_update = update
            channel.push(report)
            self._started_at = time.time()
            self._clock = time.perf_counter()
        shutil.rmtree(written, ignore_errors=True)

    def _metrics(self, trainer: "SoloTrainer", update: int, train_s: float, points: list[int]) -> dict[str, float]:
        began = time.perf_counter()
        context, settings = self._context, self._task.settings
        with kept_random_state(), trainer.measuring():
            measured = {
                split: measure(trainer.adapted_model, self._objective, rows, context.data.tokenizer).metrics
                for split, rows in self._update_plan.splits.items()
            }
            answers: dict[str, float] = {}
            if (plan := context.answers_due(self._task, points)) is not None:
                started = time.perf_counter()
                wanted = context.data.answer_rows("validation", self._task, plan.rows)
                found = write_and_score(trainer.adapted_model, context, wanted).metrics
                answers = {f"val/{name}": value for name, value in found.items()}
                answers["time/generation_s"] = time.perf_counter() - started
            early = self._early(trainer, points)
        tokens = self._update_plan.tokens[update]
        new_tokens = tokens - self._update_plan.tokens[self._last_update]
        return {
            **{f"{split}/{name}": value for split in ("val", "train") for name, value in measured[split].items()},
            **answers,
            **early,
            **gaps(measured["val"], measured["train"]),
            "optim/learning_rate": trainer.learning_rate,
            "progress/samples": float(update * settings.rows_per_update),
            "progress/tokens": float(tokens),
            "speed/tokens_per_s": new_tokens / train_s if train_s > 0 else 0.0,
            "memory/peak_mb": peak_mb(context.device),
            "time/train_s": train_s,
            "time/eval_s": time.perf_counter() - began,
        }

    def _early(self, trainer: "SoloTrainer", points: list[int]) -> dict[str, float]:
        """Return the metrics of shift sets and of forgetting that early stopping needs at these points."""
        context, began, metrics = self._context, time.perf_counter(), dict[str, float]()
        if sets := context.shift_due(points):
            context.add_references(self._task.settings)  # trials of another length have replaced the rows
            rows = {name: context.data.measured(name, self._task) for name in sets}
            by_set = {
                name: measure(trainer.adapted_model, self._objective, examples, context.data.tokenizer).metrics
                for name, examples in rows.items()
            }
            metrics |= shift_metrics(by_set, time.perf_counter() - began)
        if context.general_due(points):
            assert context.without_adapter is not None, "measured before the first update"
            after = behaviour(trainer.adapted_model, context.objective.head, context.data.general())
            metrics |= forgetting(context.without_adapter, after)
        return metrics
