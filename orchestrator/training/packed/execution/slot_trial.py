"""One trial in a pack: what it has trained, what it trains on next, and its checkpoints."""

import json
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from orchestrator.core.trial import Report, TrialTask
from orchestrator.objective.protocol import Example
from orchestrator.training.checkpoints.heartbeat import Heartbeat
from orchestrator.training.checkpoints.trial_folder import ADAPTER, SLOT_STATE, TrialFolder
from orchestrator.training.data.update_plan import UpdatePlan
from orchestrator.training.model.adapters import WEIGHTS
from orchestrator.training.optimiser import factor
from orchestrator.training.packed.execution.pack import Pack
from orchestrator.training.packed.masks.host import DropoutStream
from orchestrator.training.packed.slots.adapter import Adapter
from orchestrator.training.packed.slots.updates import Update

_MOMENTS = {"mean": "means", "square": "squares"}
"""AdamW's moments: as a checkpoint names them, and as the stacks do."""


class SlotTrial:
    """A trial's place in the pack, from its newest whole checkpoint on.

    Attributes:
        update: updates made.
        batches: batches of the update under way whose gradients have been added up.
        tokens_trained: tokens of all batches since the trial took its seat, padding included.
        loss: mean training loss of the newest update; NaN before the first.
        train_s: seconds of training since the last report, this trial's share of the pack's.
        reported_update: updates made at the last report.
    """

    def __init__(
        self, pack: Pack, adapter: Adapter, task: TrialTask, update_plan: UpdatePlan, folder: TrialFolder
    ) -> None:
        self.pack = pack
        self.task = task
        self.update_plan = update_plan
        self.folder = folder
        self._heartbeat = Heartbeat(folder)
        self._adapter = adapter
        self._rank = adapter.own_rank
        self.slot = pack.seat(adapter, task.settings.dropout)
        self.update = 0
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
        """The adapter's learning rate in the next update."""
        settings = self.task.settings
        return settings.learning_rate * factor(settings, self.update, len(self.update_plan.order))

    @property
    def closes(self) -> bool:
        """Whether the next batch is the last of its update."""
        size = self.task.settings.batch_size
        return (self.batches + 1) * size >= len(self.update_plan.order[self.update])

    def coming(self, tokens: int) -> list[int]:
        """Return the tokens of the next batches, padding included: as many as hold ``tokens``, and at least one.

        None of them is beyond the next report.
        """
        size, due = self.task.settings.batch_size, set(self.update_plan.due.values())
        update, batch, found = self.update, self.batches, list[int]()
        while not found or (sum(found) < tokens and not (batch == 0 and update in due)):
            found.append(padded(self._batch(update, batch)))
            batch += 1
            if batch * size >= len(self.update_plan.order[update]):
                update, batch = update + 1, 0
        return found

    def next_batch(self) -> list[Example]:
        """Return the rows of the next forward."""
        return self._batch(self.update, self.batches)

    def _batch(self, update: int, batch: int) -> list[Example]:
        size = self.task.settings.batch_size
        return [self.update_plan.rows[row] for row in self.update_plan.order[update][batch * size : (batch + 1) * size]]

    def under_way(self) -> Update:
        """Return the update under way, as it is made when its last batch has been trained."""
        return Update(
            slot=self.slot,
            rank=self._rank,
            settings=self.task.settings,
            number=self.update + 1,
            factor=factor(self.task.settings, self.update, len(self.update_plan.order)),
        )

    def begin_next(self) -> None:
        """Begin the next update."""
        self.update += 1
        self.batches = 0
        self._heartbeat.beat(self.update * self.task.settings.rows_per_update)

    def progress(self) -> dict[str, float]:
        """Return how far the trial has come, and how fast since its last report, as metrics."""
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
        """Write a checkpoint for each of the points, with its report."""
        tensors = self.pack.tensors(self.slot, self._adapter)
        for point in points:  # several, if an update takes more rows than lie between two report points
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

    def recall(self, nominal_samples: int) -> None:
        """Put the adapter of an earlier report into the slot. It can be measured then; training must not go on."""
        with safe_open(self.folder.checkpoint(nominal_samples) / ADAPTER / WEIGHTS, framework="pt") as file:
            saved = {name: file.get_tensor(name) for name in self._adapter.tensors}
        # Behind the adapter's own ranks the file may hold what an init took out of the base; the slot holds it already.
        shapes = {name: value.shape for name, value in self._adapter.tensors.items()}
        own = {name: saved[name][tuple(slice(size) for size in shape)] for name, shape in shapes.items()}
        self.pack.load(self.slot, own)

    def leave(self) -> None:
        """Give the slot back."""
        self.pack.leave(self.slot)
        self.folder.clear_scratch()

    def _save_state(self, file: Path, tensors: Mapping[str, torch.Tensor]) -> None:
        state = {f"parameter/{name}": value for name, value in tensors.items()}
        for kind, of in _MOMENTS.items():
            state |= {f"{kind}/{name}": self._view(name, of) for name in tensors}
        state["generator"] = self.random.state()
        state = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        save_file(state, file, metadata={"progress": json.dumps({"update": self.update})})

    def _restore(self, checkpoint: Path) -> None:
        with safe_open(checkpoint / SLOT_STATE, framework="pt") as file:
            self.update = json.loads(file.metadata()["progress"])["update"]
            self.pack.load(self.slot, {name: file.get_tensor(f"parameter/{name}") for name in self._adapter.tensors})
            for kind, of in _MOMENTS.items():
                for name in self._adapter.tensors:
                    self._view(name, of).copy_(file.get_tensor(f"{kind}/{name}"))
            self.random.restore(file.get_tensor("generator"))
        self.reported_update = self.update

    def _view(self, name: str, of: str) -> torch.Tensor:
        return self.pack.view(self.slot, name, self._adapter.tensors[name].shape, of)


def padded(rows: Sequence[Example]) -> int:
    """Return the tokens of a batch, its padding included."""
    return len(rows) * max(len(row["input_ids"]) for row in rows)
