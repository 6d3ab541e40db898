"""What one trial brings to a pack: its adapter as peft would have started it, and the way back to a PEFT folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from orchestrator.core.methods import LORA
from orchestrator.core.plan import EnginePlan
from orchestrator.core.settings import TrialSettings
from orchestrator.core.trial import TrialTask
from orchestrator.objective.protocol import Objective
from orchestrator.training.model.adapters import adapt, write_adapter
from orchestrator.training.model.base_model import load_base
from orchestrator.training.packed.errors import CannotPackError
from orchestrator.training.process.random_state import kept_random_state

if TYPE_CHECKING:
    from peft import PeftConfig

_PREFIX = "base_model.model."
_A, _B = ".lora_A.weight", ".lora_B.weight"


@dataclass(frozen=True, kw_only=True, slots=True)
class Adapter:
    """A trial's trainable tensors, float32, in the names and shapes of an adapter's file.

    Attributes:
        tensors: ``base_model.model.<layer>.lora_A.weight`` (r × I), ``….lora_B.weight`` (O × r), and whole parameters.
        scales: what each adapted layer's product is multiplied with, by the layer's name in the base.
        config: peft's configuration of it.
        base_name: what the configuration calls the base.
        taken_out: the A and B that an init takes out of the base weights (PiSSA), by name. The base is shared, so a
            pack subtracts their product beside the adapter instead.
    """

    tensors: Mapping[str, torch.Tensor]
    scales: Mapping[str, float]
    config: "PeftConfig"
    base_name: str
    taken_out: Mapping[str, torch.Tensor]

    @property
    def rank(self) -> int:
        """The widest rank of its layers, with what is subtracted."""
        return max((rank for rank, _ in self.layers().values()), default=0)

    @property
    def own_rank(self) -> int:
        """The widest rank that it trains; what is subtracted stands behind it in every layer."""
        return max((value.shape[0] for key, value in self.tensors.items() if place(key)[1] == "A"), default=0)

    def layers(self) -> dict[str, tuple[int, float]]:
        """Return the rank, with what is subtracted, and the scale of each adapted layer."""
        found, own = {}, self.own_rank
        for key, value in self.tensors.items():
            name, part = place(key)
            if part == "A":
                rank = own + self.taken_out[key].shape[0] if key in self.taken_out else value.shape[0]
                found[name] = (rank, self.scales[name])
        return found

    def save(self, folder: Path, tensors: Mapping[str, torch.Tensor]) -> None:
        """Write ``tensors``, which have this adapter's names, as a folder that plain peft loads."""
        write_adapter(folder, tensors, self.config, self.base_name, self.taken_out)


def require_packable(settings: TrialSettings) -> None:
    """Raise ``CannotPackError`` if the settings alone say that a pack does not train such an adapter."""
    if settings.method != LORA:
        raise CannotPackError("packs train LoRA alone")
    if settings.dora:
        raise CannotPackError("DoRA scales the base's weights by trial, and a pack's are shared")


def new_adapter(plan: EnginePlan, objective: Objective, task: TrialTask) -> Adapter:
    """Return a trial's adapter as the solo engine starts it, drawn from the trial's seed; the process's is kept.

    Raises:
        CannotPackError: it is of a kind that a pack does not train.
        ValueError: peft refuses the settings.
    """
    require_packable(task.settings)
    from peft import get_peft_model_state_dict
    from transformers import set_seed

    with kept_random_state():
        set_seed(task.seed)
        # Not quantised, which takes a CPU 30 times as long: of weights in 4 bits no init sees more than their shapes.
        base = load_base(plan.model, objective, "cpu")
        adapted = adapt(base, task.settings, objective.head)
    if getattr(adapted.model.peft_config["default"], "target_parameters", None):
        raise CannotPackError("peft adapts its experts by parameter, and a pack adapts layers alone")
    state = get_peft_model_state_dict(adapted.model, save_embedding_layers=False)
    scales = {
        name.removeprefix(_PREFIX): float(module.scaling["default"])
        for name, module in adapted.model.named_modules()
        if hasattr(module, "lora_A")
    }
    return Adapter(
        tensors={name: value.detach().clone() for name, value in state.items()},
        scales=scales,
        config=adapted.model.peft_config["default"],
        base_name=adapted.model.get_base_model().name_or_path,
        taken_out=adapted.taken_out,
    )


def place(key: str) -> tuple[str, str]:
    """Return the base's module that a key of an adapter's file names, and its part: ``A``, ``B`` or a parameter."""
    name = key.removeprefix(_PREFIX)
    if name.endswith(_A):
        return name.removesuffix(_A), "A"
    if name.endswith(_B):
        return name.removesuffix(_B), "B"
    module, _, parameter = name.rpartition(".")
    return module, parameter
