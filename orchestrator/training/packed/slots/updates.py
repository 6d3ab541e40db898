"""AdamW for the slots with a complete gradient: one slot at a time on a CPU, all slots at once on a device.

On a CPU a fused kernel reads and writes each element of a slot's trained ranks once. On a device one launch per slot
takes longer than the arithmetic, so each operation covers all slots, with one learning rate per slot. Frozen ranks
(PiSSA's) keep their values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from orchestrator.core.trials.settings import TrialSettings
from orchestrator.training.optimiser import IN_FULL, learning_rate_of
from orchestrator.training.packed.slots.parameters import RANKED, ParameterStack, SlotParameters
from orchestrator.training.process.hardware import to_device

_ADAPTERS = {"A": "lora_A", "B": "lora_B", "magnitude": "lora_magnitude_vector"}
"""Part of the names of the adapter's parameters by kind; the other kinds are trained in full."""
_WITHOUT_DECAY = ("bias", "norm", "magnitude")


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotUpdate:
    """One optimizer update of one slot.

    Attributes:
        slot: index of the slot.
        rank: trained ranks.
        settings: the trial's.
        number: number of the optimizer step, from 1.
        schedule_factor: factor of the learning rates.
    """

    slot: int
    rank: int
    settings: TrialSettings
    number: int
    schedule_factor: float

    def learning_rate(self, kind: str) -> float:
        """Return the learning rate of a kind of parameter."""
        return learning_rate_of(_ADAPTERS.get(kind, IN_FULL), self.settings) * self.schedule_factor

    def weight_decay(self, kind: str) -> float:
        """Return the weight decay of a kind of parameter; biases, norms and magnitudes have none."""
        return 0.0 if kind in _WITHOUT_DECAY else self.settings.weight_decay


def gradient_norms(parameters: SlotParameters, updates: Sequence[SlotUpdate]) -> torch.Tensor:
    """Return ``norms_U``, the norm of each slot's whole gradient."""
    if parameters.device == "cpu":
        return torch.stack([_gradient_norm(parameters.slot_stacks(update.slot, update.rank)) for update in updates])
    squares_P = torch.zeros(parameters.slots, device=parameters.device)
    trained_PR = _trained_ranks(parameters, updates)
    for kind, stack in parameters.stacks.items():
        if stack.values.shape[2]:
            gradients_PRW = stack.gradients * parameters.scales_P1W() if kind == "B" else stack.gradients
            squares_PR = torch.linalg.vector_norm(gradients_PRW, dim=2).square()
            squares_P += torch.where(trained_PR, squares_PR, 0.0).sum(1) if kind in RANKED else squares_PR[:, 0]
    return squares_P.sqrt()[to_device(torch.tensor([update.slot for update in updates]), parameters.device)]


def apply_updates(parameters: SlotParameters, updates: Sequence[SlotUpdate], scales: Sequence[float]) -> None:
    """Update the parameters of some slots, and set the gradients of their trained ranks to zero.

    Args:
        parameters: of all slots.
        updates: at most one per slot.
        scales: for each update, the factor of its gradient.
    """
    if parameters.device == "cpu":
        for update, scale in zip(updates, scales, strict=True):
            _apply_update(parameters.slot_stacks(update.slot, update.rank), update, scale)
    else:
        apply_updates_together(parameters, updates, scales, parameters.scales_P1W())


def drop_gradients(parameters: SlotParameters, slot: int) -> None:
    """Set a slot's gradients to zero, because they are not finite."""
    for stack in parameters.stacks.values():
        stack.gradients[slot].zero_()


def _gradient_norm(stacks: dict[str, ParameterStack]) -> torch.Tensor:
    norms = torch._foreach_norm([stack.gradients for stack in stacks.values()])
    norm: torch.Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return norm


def _apply_update(stacks: dict[str, ParameterStack], update: SlotUpdate, scale: float) -> None:
    gradients = [stack.gradients for stack in stacks.values()]
    torch._foreach_mul_(gradients, scale)
    settings, step = update.settings, torch.full((), float(update.number))
    for kind, stack in stacks.items():
        torch._fused_adamw_(
            [stack.values],
            [stack.gradients],
            [stack.means],
            [stack.squares],
            [],
            [step],
            lr=update.learning_rate(kind),
            beta1=settings.beta1,
            beta2=settings.beta2,
            weight_decay=update.weight_decay(kind),
            eps=settings.epsilon,
            amsgrad=False,
            maximize=False,
        )
    torch._foreach_zero_(gradients)


def apply_updates_together(
    parameters: SlotParameters,
    updates: Sequence[SlotUpdate],
    scales: Sequence[float],
    scales_P1W: torch.Tensor | None,
) -> None:
    """Do the same as ``apply_updates`` with operations over all slots; the gradients of other slots stay.

    Args:
        parameters: of all slots.
        updates: at most one per slot.
        scales: for each update, the factor of its gradient.
        scales_P1W: factor of the gradient of B, where the forward used a scaled B; else None.
    """
    rates = {kind: parameters.slots * [0.0] for kind in parameters.stacks}
    decays = {kind: parameters.slots * [1.0] for kind in parameters.stacks}
    scale, beta1, beta2, unchanged = (parameters.slots * [1.0] for _ in range(4))
    epsilon, correction2 = parameters.slots * [1.0], parameters.slots * [1.0]
    for update, factor in zip(updates, scales, strict=True):
        slot, settings = update.slot, update.settings
        scale[slot], unchanged[slot] = factor, 0.0
        beta1[slot], beta2[slot], epsilon[slot] = settings.beta1, settings.beta2, settings.epsilon
        correction2[slot] = (1.0 - settings.beta2**update.number) ** -0.5
        for kind in parameters.stacks:
            rates[kind][slot] = update.learning_rate(kind) / (1.0 - settings.beta1**update.number)
            decays[kind][slot] = 1.0 - update.learning_rate(kind) * update.weight_decay(kind)
    rows = [scale, beta1, beta2, epsilon, correction2, unchanged, *rates.values(), *decays.values()]
    columns_P11 = to_device(torch.tensor(rows), parameters.device)[:, :, None, None].unbind()
    scale_P11, beta1_P11, beta2_P11, epsilon_P11, correction2_P11, unchanged_P11 = columns_P11[:6]
    rates_P11, decays_P11 = columns_P11[6 : 6 + len(rates)], columns_P11[6 + len(rates) :]
    trained_PR1, updated_P11 = _trained_ranks(parameters, updates)[:, :, None], unchanged_P11 == 0.0
    for (kind, stack), rate_P11, decay_P11 in zip(parameters.stacks.items(), rates_P11, decays_P11, strict=True):
        if not stack.values.shape[2]:
            continue
        gradients_PRW, decay_PR1 = stack.gradients, decay_P11
        if kind in RANKED:
            gradients_PRW.masked_fill_(updated_P11 & ~trained_PR1, 0.0)
            decay_PR1 = torch.where(trained_PR1, decay_P11, 1.0)
        gradients_PRW.mul_(scale_P11)
        if kind == "B" and scales_P1W is not None:
            gradients_PRW.mul_(torch.where(updated_P11, scales_P1W, 1.0))
        stack.means.mul_(beta1_P11).addcmul_(gradients_PRW, 1.0 - beta1_P11)
        stack.squares.mul_(beta2_P11).addcmul_(gradients_PRW * (1.0 - beta2_P11), gradients_PRW)
        deviation_PRW = stack.squares.sqrt().mul_(correction2_P11).add_(epsilon_P11)
        stack.values.mul_(decay_PR1).addcdiv_(stack.means * rate_P11, deviation_PRW, value=-1.0)
        gradients_PRW.masked_fill_(updated_P11, 0.0)


def _trained_ranks(parameters: SlotParameters, updates: Sequence[SlotUpdate]) -> torch.Tensor:
    """Return ``trained_PR``: whether an update trains a rank of a slot."""
    ranks = parameters.slots * [0]
    for update in updates:
        ranks[update.slot] = update.rank
    ranks_P1 = to_device(torch.tensor(ranks)[:, None], parameters.device)
    return torch.arange(parameters.rank, device=parameters.device) < ranks_P1
