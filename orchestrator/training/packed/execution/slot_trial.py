"""One trial in a slot of a pack: its progress, its next batches, and its checkpoints."""

import json
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from orchestrator.core.trials.trial import Report, TrialTask
from orchestrator.objective.protocol import Example
from orchestrator.training.checkpoints.heartbeat import Heartbeat
from orchestrator.training.checkpoints.trial_folder import ADAPTER, SLOT_STATE, TrialFolder
from orchestrator.training.data.update_plan import UpdatePlan
from orchestrator.training.model.adapters import WEIGHTS
from orchestrator.training.optimiser import schedule_factor
from orchestrator.training.packed.execution.pack import Pack
from orchestrator.training.packed.masks.streams import DropoutStream
from orchestrator.training.packed.slots.adapter import Adapter
from orchestrator.training.packed.slots.updates import SlotUpdate
from orchestrator.training.process.loss_scale import LossScale

_MOMENTS = {"mean": "means", "square": "squares"}
"""AdamW's moments: prefix of their keys in a checkpoint, and name in ``ParameterStack``."""


class SlotTrial:
    """A trial in its slot, started from its newest whole checkpoint.

    Attributes:
        slot: index of the slot.
        random: random stream of the trial's dropout masks.
        loss_scale: the scale of its loss; None unless the pack computes in float16.
        update: updates made.
        batches: batches of the current update with gradients already summed.
        tokens_trained: tokens of all batches since the trial entered the slot, padding included.
        loss: mean training loss of the newest update; NaN before the first.
        train_s: seconds of training since the last report: this trial's share of the pack's time.
        reported_update: updates made at the last report.
    """

    def __init__(
        self, pack: Pack, adapter: Adapter, task: TrialTask, update_plan: UpdatePlan, folder: TrialFolder
    ) -> None:
        """Enter a slot of the pack, and restore the newest checkpoint if there is one.

        Raises:
            CannotPackError: the pack cannot train the adapter.
        """
        self.pack = pack
        self.task = task
        self.update_plan = update_plan
        self.folder = folder
        self._heartbeat = Heartbeat(folder)
        self._adapter = adapter
        self._trained_rank = adapter.trained_rank
        self.slot = pack.add(adapter, task.settings.dropout)
        self.update = 0
        self.loss_scale = LossScale() if pack.dtype is torch.float16 else None
        self.random = DropoutStream(task.seed, task.settings.dropout, pack.device)
        self.batches = 0
        self.tokens_trained = 0
        self.loss = math.nan
        self.started_at = time.time()
        self.train_s = 0.0
        self.reported_update = 0
        newest = folder.newest_whole()
        if newest is not None:
            self._restore(folder.checkpoint(newest))
            folder.report_again(newest, update_plan.due)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the adapter in the next update."""
        return self.task.settings.learning_rate * self._schedule_factor()

    @property
    def completes_update(self) -> bool:
        """Whether the next batch is the last of the current update."""
        size = self.task.settings.batch_size
        return (self.batches + 1) * size >= len(self.update_plan.order[self.update])

    def upcoming_tokens(self, tokens: int) -> list[int]:
        """Return the tokens of each of the next batches, padding included.

        There is at least one batch, and no more than needed for ``tokens`` in total. The last one ends at the next
        report at the latest.
        """
        size, report_updates = self.task.settings.batch_size, set(self.update_plan.due.values())
        update, batch, sizes = self.update, self.batches, list[int]()
        while not sizes or (sum(sizes) < tokens and not (batch == 0 and update in report_updates)):
            sizes.append(padded_tokens(self._batch(update, batch)))
            batch += 1
            if batch * size >= len(self.update_plan.order[update]):
                update, batch = update + 1, 0
        return sizes

    def next_batch(self) -> list[Example]:
        """Return the rows of the next forward."""
        return self._batch(self.update, self.batches)

    def _batch(self, update: int, batch: int) -> list[Example]:
        size = self.task.settings.batch_size
        rows = self.update_plan.order[update][batch * size : (batch + 1) * size]
        return [self.update_plan.rows[row] for row in rows]

    def current_update(self) -> SlotUpdate:
        """Return the current update, made after its last batch."""
        return SlotUpdate(
            slot=self.slot,
            rank=self._trained_rank,
            settings=self.task.settings,
            number=self.update + 1 - (0 if self.loss_scale is None else self.loss_scale.skipped),
            schedule_factor=self._schedule_factor(),
        )

    @property
    def loss_factor(self) -> float:
        """The factor of the loss; 1 unless the pack computes in float16."""
        return 1.0 if self.loss_scale is None else self.loss_scale.factor

    def make_update(self) -> None:
        """Count the current update as made."""
        if self.loss_scale is not None:
            self.loss_scale.step_made()
        self._begin_next_update()

    def skip_update(self) -> bool:
        """Count the current update without an optimizer step; return False if the trial cannot continue so."""
        if self.loss_scale is None or not self.loss_scale.skip():
            return False
        self._begin_next_update()
        return True

    def _begin_next_update(self) -> None:
        self.update += 1
        self.batches = 0
        self._heartbeat.beat(self.update * self.task.settings.rows_per_update)

    def progress(self) -> dict[str, float]:
        """Return the trial's progress, and its speed since the last report, as metrics."""
        tokens = self.update_plan.tokens[self.update]
        new_tokens = tokens - self.update_plan.tokens[self.reported_update]
        return {
            "optim/learning_rate": self.learning_rate,
            "progress/samples": float(self.update * self.task.settings.rows_per_update),
            "progress/tokens": float(tokens),
            "speed/tokens_per_s": new_tokens / self.train_s if self.train_s > 0 else 0.0,
            "time/train_s": self.train_s,
        }

    def commit(self, points: list[int], metrics: Mapping[str, float]) -> None:
        """Write a checkpoint with a report for each report point.

        Args:
            points: several if one update has more rows than there are between two report points.
            metrics: metrics of the report.
        """
        tensors = self.pack.tensors(self.slot, self._adapter)
        for point in points:
            report = Report(
                trial=self.task.number,
                nominal_samples=point,
                metrics=metrics,
                checkpoint=self.folder.reference(point),
                started_at=self.started_at,
                ended_at=time.time(),
            )
            written = self.folder.scratch / f"report-{point}"
            shutil.rmtree(written, ignore_errors=True)
            self._adapter.save(written / ADAPTER, tensors)
            self._save_state(written / SLOT_STATE, tensors)
            self.folder.commit(written, report)
        self.folder.clear_scratch()
        self.reported_update, self.started_at, self.train_s = self.update, time.time(), 0.0

    def written_adapter(self) -> Path:
        """Write the present adapter to a folder that the next ``commit`` removes; return the folder."""
        folder = self.folder.scratch / "measured"
        shutil.rmtree(folder, ignore_errors=True)
        self._adapter.save(folder / ADAPTER, self.pack.tensors(self.slot, self._adapter))
        return folder

    def load_adapter_of(self, nominal_samples: int) -> None:
        """Load the adapter of an earlier report into the slot to measure it; the trial must not train afterwards."""
        with safe_open(self.folder.checkpoint(nominal_samples) / ADAPTER / WEIGHTS, framework="pt") as file:
            saved = {name: file.get_tensor(name) for name in self._adapter.tensors}
        # The file may hold PiSSA's frozen ranks behind the trained ones; the slot has them already.
        shapes = {name: value.shape for name, value in self._adapter.tensors.items()}
        trained = {name: saved[name][tuple(slice(size) for size in shape)] for name, shape in shapes.items()}
        self.pack.load(self.slot, trained)

    def leave(self) -> None:
        """Free the slot."""
        self.pack.remove(self.slot)
        self.folder.clear_scratch()

    def _schedule_factor(self) -> float:
        return schedule_factor(self.task.settings, self.update, len(self.update_plan.order))

    def _save_state(self, file: Path, tensors: Mapping[str, torch.Tensor]) -> None:
        state = {f"parameter/{name}": value for name, value in tensors.items()}
        for prefix, moment in _MOMENTS.items():
            state |= {f"{prefix}/{name}": self._view(name, moment) for name in tensors}
        state["generator"] = self.random.state()
        state = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        progress = {"update": self.update, "loss_scale": self.loss_scale and self.loss_scale.state()}
        save_file(state, file, metadata={"progress": json.dumps(progress)})

    def _restore(self, checkpoint: Path) -> None:
        with safe_open(checkpoint / SLOT_STATE, framework="pt") as file:
            progress = json.loads(file.metadata()["progress"])
            self.update = progress["update"]
            if self.loss_scale is not None:
                self.loss_scale.load(progress["loss_scale"])
            self.pack.load(self.slot, {name: file.get_tensor(f"parameter/{name}") for name in self._adapter.tensors})
            for prefix, moment in _MOMENTS.items():
                for name in self._adapter.tensors:
                    self._view(name, moment).copy_(file.get_tensor(f"{prefix}/{name}"))
            self.random.restore(file.get_tensor("generator"))
        self.reported_update = self.update

    def _view(self, name: str, tensor: str) -> torch.Tensor:
        return self.pack.view(self.slot, name, self._adapter.tensors[name].shape, tensor)


def padded_tokens(rows: Sequence[Example]) -> int:
    """Return the tokens of a batch, padding included."""
    return len(rows) * max(len(row["input_ids"]) for row in rows)
