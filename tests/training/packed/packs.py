"""Small packs, and the same trials trained by peft."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.methods.quantisation import Quantisation
from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.plan import EnginePlan, Precision
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.evaluation.measure import forward
from orchestrator.objective.protocol import Example, Objective
from orchestrator.training.checkpoints.trial_folder import SLOT_STATE, TrialFolder
from orchestrator.training.data.task_data import TaskData
from orchestrator.training.data.update_plan import UpdatePlan
from orchestrator.training.model.adapters import Adapted, adapt
from orchestrator.training.model.base_model import Base, load_base
from orchestrator.training.optimiser import build_optimiser, schedule_factor
from orchestrator.training.packed.execution.pack import Pack
from orchestrator.training.packed.execution.slot_trial import SlotTrial
from orchestrator.training.packed.execution.stepper import Stepper
from orchestrator.training.packed.masks.streams import quantise_drop_prob
from orchestrator.training.packed.slots.adapter import Adapter, new_adapter, parse_key

POINTS = (200, 400)
ROWS = 60
MADE_UP = Source(origin=Origin.LOCAL, name="made up")


def task(number: int, seed: int | None = None, **settings: ParamValue) -> TrialTask:
    """Return a trial, by default without dropout."""
    chosen: dict[str, ParamValue] = {"learning_rate": 1e-3, "batch_size": 8, "rank": 4, "max_length": 32}
    chosen["epochs"] = POINTS[-1] / ROWS
    return TrialTask(
        number=number,
        settings=TrialSettings.from_params(chosen | settings),
        seed=number if seed is None else seed,
    )


class World:
    """A pack over a tiny model without an engine, and the same base model for peft."""

    def __init__(
        self,
        model: Path,
        objective: Objective,
        folder: Path,
        *,
        quantisation: Quantisation | None = None,
        packed: bool = True,
        device: str = "cpu",
        grouped: bool | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.objective = objective
        self.source = Source(origin=Origin.LOCAL, name=str(model))
        data = DataPlan(source=MADE_UP, train=ROWS, validation=20, test=12, train_eval=10)
        self.plan = EnginePlan(
            objective="made up",
            model=self.source,
            data=data,
            report_points=(*POINTS, 2 * POINTS[-1]),  # more points than most trials reach
            rows_per_epoch=ROWS,
            sweep_dir=str(folder),
            metric="val/loss",
            precision=Precision.FLOAT32,
            device=device,
            quantisation=quantisation,
        )
        self.data = TaskData(objective, data, load_tokenizer(self.source))
        if packed:
            self.pack = Pack(self.source, objective, device, dtype, quantisation, grouped=grouped)
            self.stepper = Stepper(self.pack, objective, self.data.tokenizer, threads=2, tokens=1)

    def slot_trial(self, trial: TrialTask, b_std: float = 0.0) -> SlotTrial:
        """Return a trial in a slot.

        Args:
            trial: the task.
            b_std: standard deviation of B; 0 keeps B at zero, and A then has no gradient.
        """
        folder = TrialFolder(Path(self.plan.sweep_dir), trial.number, SLOT_STATE)
        adapter = new_adapter(self.plan, self.objective, trial)
        if b_std:
            adapter = with_b(adapter, trial.seed, b_std)
        return SlotTrial(self.pack, adapter, trial, UpdatePlan.create(self.data, trial, self.plan.timetable), folder)

    def gradients(self, slot_trial: SlotTrial, trial: TrialTask) -> dict[str, torch.Tensor]:
        """Return a trial's gradients by the names of an adapter's file; B has its rank first."""
        adapter, gradients = new_adapter(self.plan, self.objective, trial), {}
        for name, value in adapter.tensors.items():
            gradient = self.pack.view(slot_trial.slot, name, value.shape, "gradients")
            layer, kind = parse_key(name)
            if kind == "B" and self.pack.device != "cpu":  # on a device the update scales it
                gradient = gradient * adapter.scales[layer] / (1.0 - quantise_drop_prob(trial.settings.dropout))
            gradients[name] = gradient
        return gradients

    def base(self) -> Base:
        """Return a new base model for peft."""
        return load_base(self.source, self.objective, self.plan.device, quantisation=self.plan.quantisation)

    def batch(self, rows: Sequence[Example]) -> dict[str, torch.Tensor]:
        """Return collated rows on the model's device."""
        collated = self.objective.collate(rows, self.data.tokenizer)
        return {name: value.to(self.plan.device) for name, value in collated.items()}

    def peft(self, trial: TrialTask, b_std: float = 0.0) -> Adapted:
        """Return peft's model of the same trial."""
        torch.manual_seed(trial.seed)
        adapted = adapt(self.base(), trial.settings, self.objective.head)
        if b_std:
            start = with_b(new_adapter(self.plan, self.objective, trial), trial.seed, b_std).tensors
            load_peft(adapted, start)
        adapted.model.train()
        return adapted

    def losses_of_peft(self, trial: TrialTask, updates: int, b_std: float = 0.0) -> list[float]:
        """Return the loss of each update of peft's model, trained by torch's AdamW with one batch per update."""
        adapted = self.peft(trial, b_std)
        update_plan = UpdatePlan.create(self.data, trial, self.plan.timetable)
        optimiser = build_optimiser(adapted.model, trial.settings)
        parameters = [parameter for parameter in adapted.model.parameters() if parameter.requires_grad]
        losses = []
        for update in range(updates):
            for group in optimiser.param_groups:
                group["lr"] = group.setdefault("peak", group["lr"]) * schedule_factor(
                    trial.settings, update, len(update_plan.order)
                )
            loss = self.peft_loss(adapted, [update_plan.rows[row] for row in update_plan.order[update]], trial.settings)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, trial.settings.max_grad_norm)
            optimiser.step()
            optimiser.zero_grad()
            losses.append(loss.item())
        return losses

    def peft_loss(self, adapted: Adapted, rows: Sequence[Example], settings: TrialSettings) -> torch.Tensor:
        batch = self.batch(rows)
        loss_B, units_B = self.objective.losses(forward(adapted.model, batch), batch, settings.label_smoothing)
        return loss_B.sum() / units_B.sum()


def with_b(adapter: Adapter, seed: int, std: float) -> Adapter:
    """Return the adapter with random B of standard deviation ``std``."""
    draw = torch.Generator().manual_seed(seed + 1000)
    tensors = {
        name: torch.randn(value.shape, generator=draw) * std if "lora_B" in name else value
        for name, value in adapter.tensors.items()
    }
    return replace(adapter, tensors=tensors)


def load_peft(adapted: Adapted, tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy an adapter's tensors into peft's model."""
    from peft import set_peft_model_state_dict

    result: Any = set_peft_model_state_dict(adapted.model, dict(tensors))
    assert not result.unexpected_keys


def peft_gradients(adapted: Adapted) -> dict[str, torch.Tensor]:
    """Return peft's gradients by the names of an adapter's file."""
    gradients = {}
    for name, parameter in adapted.model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None
            gradients[
                name.replace(".modules_to_save", "").replace("vector.default.weight", "vector").replace(".default", "")
            ] = parameter.grad
    return gradients
