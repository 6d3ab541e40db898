"""The adapter of one trial in a pack: initialised by peft, and saved as a folder of peft."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from orchestrator.core.methods.catalogue import LORA, LORA_OPTIONS_OF_SOLO, METHODS
from orchestrator.core.methods.inits import INITS
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.objective.protocol import Objective
from orchestrator.training.model.adapters import adapt, write_adapter
from orchestrator.training.model.base_model import load_base
from orchestrator.training.packed.errors import CannotPackError
from orchestrator.training.process.random_state import kept_random_state

if TYPE_CHECKING:
    from peft import PeftConfig

_PREFIX = "base_model.model."
_KINDS = {".lora_A.weight": "A", ".lora_B.weight": "B", ".lora_magnitude_vector": "magnitude"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Adapter:
    """The trainable tensors of a trial, float32, with the names and shapes of an adapter's file.

    Attributes:
        tensors: ``base_model.model.<layer>.lora_A.weight`` (r × I), ``….lora_B.weight`` (O × r), DoRA's
            ``….lora_magnitude_vector`` (O), and whole parameters.
        scales: scaling of the adapter product, by name of the layer in the base model.
        config: peft's configuration of the adapter.
        base_name: name of the base model in the configuration.
        subtracted: A and B subtracted from the base weights by the init (PiSSA, OLoRA), by name. The slots share the
            base weights, so a pack subtracts their product as additional frozen ranks of the slot.
    """

    tensors: Mapping[str, torch.Tensor]
    scales: Mapping[str, float]
    config: "PeftConfig"
    base_name: str
    subtracted: Mapping[str, torch.Tensor]

    @property
    def rank(self) -> int:
        """The widest rank of its layers, frozen ranks included."""
        return max((rank for rank, _ in self.layers().values()), default=0)

    @property
    def trained_rank(self) -> int:
        """The widest trained rank of its layers. In every layer the frozen ranks follow after this many."""
        return max((value.shape[0] for key, value in self.tensors.items() if parse_key(key)[1] == "A"), default=0)

    def layers(self) -> dict[str, tuple[int, float]]:
        """Return the rank, frozen ranks included, and the scaling of each adapted layer by name."""
        layers, trained_rank = {}, self.trained_rank
        for key, value in self.tensors.items():
            layer, kind = parse_key(key)
            if kind == "A":
                rank = trained_rank + self.subtracted[key].shape[0] if key in self.subtracted else value.shape[0]
                layers[layer] = (rank, self.scales[layer])
        return layers

    def save(self, folder: Path, tensors: Mapping[str, torch.Tensor]) -> None:
        """Write ``tensors``, named as this adapter's, as a folder for peft to load."""
        write_adapter(folder, tensors, self.config, self.base_name, self.subtracted)


def require_packable(settings: TrialSettings) -> None:
    """Raise ``CannotPackError`` if the method of the settings cannot train in a pack."""
    if settings.method != LORA:
        raise CannotPackError("packs train only LoRA")
    for option, reason in LORA_OPTIONS_OF_SOLO.items():
        if settings.options.get(option) not in {None, METHODS[LORA].options[option].default}:
            raise CannotPackError(f"options.{option}: {reason}")
    init = INITS[settings.init]
    if init.reads_rows:
        raise CannotPackError(f"init {settings.init} computes with training rows")
    if init.trains_a_alone:
        raise CannotPackError(f"init {settings.init} trains only A, and packs train A and B")
    if init.corrects_rounding:
        raise CannotPackError(f"init {settings.init} reads the codes of the base, and a pack starts from the weights")


def new_adapter(plan: EnginePlan, objective: Objective, task: TrialTask) -> Adapter:
    """Return a trial's adapter, initialised from the trial's seed exactly as in the solo engine.

    The random state of the process is restored afterwards.

    Raises:
        CannotPackError: a pack cannot train this kind of adapter.
        ValueError: peft rejects the settings.
    """
    require_packable(task.settings)
    if task.settings.dora and plan.quantisation is not None:
        raise CannotPackError("DoRA starts from the lengths of the quantised weights, and a pack draws from the others")
    from peft import get_peft_model_state_dict
    from transformers import set_seed

    with kept_random_state():
        set_seed(task.seed)
        # Not quantised: quantising on a CPU takes 30 times as long, and initialisation reads only the weights' shapes.
        base = load_base(plan.model, objective, "cpu")
        adapted = adapt(base, task.settings, objective.head)
    if getattr(adapted.model.peft_config["default"], "target_parameters", None):
        raise CannotPackError("peft adapts its experts by parameter, and a pack adapts only layers")
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
        base_name=str(adapted.model.get_base_model().name_or_path),
        subtracted=adapted.subtracted,
    )


def parse_key(key: str) -> tuple[str, str]:
    """Return the layer and the kind of parameter of a key in an adapter's file.

    The layer is a module's name in the base model; the kind is ``A``, ``B``, ``magnitude`` or the
    name of a parameter.
    """
    name = key.removeprefix(_PREFIX)
    for ending, kind in _KINDS.items():
        if name.endswith(ending):
            return name.removesuffix(ending), kind
    layer, _, parameter = name.rpartition(".")
    return layer, parameter
