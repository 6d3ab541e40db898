"""AdamW for the slots whose updates are complete: slot by slot on a CPU, all at once on a device.

A CPU's fused kernel reads and writes each element of a slot's own ranks once. On a device the launches would take
longer than what they do, so a few operations go over all slots, each with its own rates; what stands behind a slot's
own ranks (PiSSA's, taken out of the base) is left as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from orchestrator.core.settings import TrialSettings
from orchestrator.training.optimiser import learning_rate_of
from orchestrator.training.packed.slots.parameters import RANKED, ParameterStack, SlotParameters
from orchestrator.training.process.hardware import to_device

_KINDS = {"A": "lora_A", "B": "lora_B"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Update:
    """One slot's update.

    Attributes:
        slot: the slot's index.
        rank: ranks that it trains.
        settings: the trial's.
        number: of the update, from 1.
        factor: what the schedule multiplies the learning rates with.
    """

    slot: int
    rank: int
    settings: TrialSettings
    number: int
    factor: float

    def rate(self, part: str) -> float:
        """Return the learning rate of a part."""
        return learning_rate_of(_KINDS.get(part, part), self.settings) * self.factor

    def decay(self, part: str) -> float:
        """Return the weight decay of a part; biases are not drawn to zero."""
        return 0.0 if part == "bias" else self.settings.weight_decay


def norms(stacks: SlotParameters, updates: Sequence[Update]) -> torch.Tensor:
    """Return ``norms_S``, each slot's of its whole gradient."""
    if stacks.device == "cpu":
        return torch.stack([_norm(stacks.of(update.slot, update.rank)) for update in updates])
    squares_P = torch.zeros(stacks.slots, device=stacks.device)
    trained_PR = _trained(stacks, updates)
    for part, stack in stacks.parts.items():
        if stack.values.shape[2]:
            gradients = stack.gradients * stacks.scales_P1W() if part == "B" else stack.gradients
            found_PR = torch.linalg.vector_norm(gradients, dim=2).square()
            squares_P += torch.where(trained_PR, found_PR, 0.0).sum(1) if part in RANKED else found_PR[:, 0]
    return squares_P.sqrt()[to_device(torch.tensor([update.slot for update in updates]), stacks.device)]


def make(stacks: SlotParameters, updates: Sequence[Update], scales: Sequence[float]) -> None:
    """Make updates; the gradients of their ranks are zero afterwards.

    Args:
        stacks: of all slots.
        updates: of S slots.
        scales: what each one's gradient is multiplied with before.
    """
    if stacks.device == "cpu":
        for update, scale in zip(updates, scales, strict=True):
            _make_alone(stacks.of(update.slot, update.rank), update, scale)
    else:
        make_together(stacks, updates, scales, stacks.scales_P1W())


def _norm(parts: dict[str, ParameterStack]) -> torch.Tensor:
    found: torch.Tensor = torch.linalg.vector_norm(
        torch.stack(torch._foreach_norm([p.gradients for p in parts.values()]))
    )
    return found


def _make_alone(parts: dict[str, ParameterStack], update: Update, scale: float) -> None:
    gradients = [stack.gradients for stack in parts.values()]
    torch._foreach_mul_(gradients, scale)
    settings, step = update.settings, torch.full((), float(update.number))
    for part, stack in parts.items():
        torch._fused_adamw_(
            [stack.values],
            [stack.gradients],
            [stack.means],
            [stack.squares],
            [],
            [step],
            lr=update.rate(part),
            beta1=settings.beta1,
            beta2=settings.beta2,
            weight_decay=update.decay(part),
            eps=settings.epsilon,
            amsgrad=False,
            maximize=False,
        )
    torch._foreach_zero_(gradients)


def make_together(
    stacks: SlotParameters, updates: Sequence[Update], scales: Sequence[float], scales_P1W: torch.Tensor | None
) -> None:
    """See ``make``; on any device. What other slots have gathered stays as it is.

    ``scales_P1W`` is what the gradients of B are yet to be multiplied with, where a forward had it scaled already.
    """
    rates = {part: stacks.slots * [0.0] for part in stacks.parts}
    decays = {part: stacks.slots * [1.0] for part in stacks.parts}
    scale, beta1, beta2, open_ = (stacks.slots * [1.0] for _ in range(4))
    epsilon, bias2 = stacks.slots * [1.0], stacks.slots * [1.0]
    for update, factor in zip(updates, scales, strict=True):
        slot, settings = update.slot, update.settings
        scale[slot], open_[slot] = factor, 0.0
        beta1[slot], beta2[slot], epsilon[slot] = settings.beta1, settings.beta2, settings.epsilon
        bias2[slot] = (1.0 - settings.beta2**update.number) ** -0.5
        for part in stacks.parts:
            rates[part][slot] = update.rate(part) / (1.0 - settings.beta1**update.number)
            decays[part][slot] = 1.0 - update.rate(part) * update.decay(part)
    rows = [scale, beta1, beta2, epsilon, bias2, open_, *rates.values(), *decays.values()]
    told_P11 = to_device(torch.tensor(rows), stacks.device)[:, :, None, None].unbind()
    (scale_P11, beta1_P11, beta2_P11, epsilon_P11, bias2_P11, open_P11), rest = told_P11[:6], told_P11[6:]
    trained_PR1, made_P11 = _trained(stacks, updates)[:, :, None], open_P11 == 0.0
    for index, (part, stack) in enumerate(stacks.parts.items()):
        if not stack.values.shape[2]:
            continue
        rate_P11, decay_PR1 = rest[index], rest[index + len(rates)]
        gradients = stack.gradients
        if part in RANKED:
            gradients.masked_fill_(made_P11 & ~trained_PR1, 0.0)
            decay_PR1 = torch.where(trained_PR1, decay_PR1, 1.0)
        gradients.mul_(scale_P11)
        if part == "B" and scales_P1W is not None:
            gradients.mul_(torch.where(made_P11, scales_P1W, 1.0))
        stack.means.mul_(beta1_P11).addcmul_(gradients, 1.0 - beta1_P11)
        stack.squares.mul_(beta2_P11).addcmul_(gradients * (1.0 - beta2_P11), gradients)
        spread = stack.squares.sqrt().mul_(bias2_P11).add_(epsilon_P11)
        stack.values.mul_(decay_PR1).addcdiv_(stack.means * rate_P11, spread, value=-1.0)
        gradients.masked_fill_(made_P11, 0.0)


def _trained(stacks: SlotParameters, updates: Sequence[Update]) -> torch.Tensor:
    """Return ``trained_PR``: which ranks the updates are of."""
    ranks = stacks.slots * [0]
    for update in updates:
        ranks[update.slot] = update.rank
    ranks_P1 = to_device(torch.tensor(ranks)[:, None], stacks.device)
    return torch.arange(stacks.rank, device=stacks.device) < ranks_P1
