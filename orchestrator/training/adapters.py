"""LoRA adapters by peft: how one is put on a base, and how it leaves as a plain PEFT folder."""

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.core.settings import TrialSettings
from orchestrator.objective.protocol import Head
from orchestrator.training.base_model import Base, quiet_libraries

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftConfig, PeftModel

_TASK_TYPES = {
    Head.SEQUENCE_CLASSIFICATION: "SEQ_CLS",
    Head.CAUSAL_LM: "CAUSAL_LM",
    Head.SEQ2SEQ_LM: "SEQ_2_SEQ_LM",
}
WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class Adapted:
    """A base with a trainable adapter on it.

    Attributes:
        model: the PEFT model; adapter and head are float32 and trainable, the rest is frozen.
        taken_out: the first A and B of an init that takes them out of the base weights (PiSSA), by the names they have
            in an adapter's file; empty for the others.
    """

    model: "PeftModel"
    taken_out: "dict[str, torch.Tensor]"


def adapt(base: Base, settings: TrialSettings, head: Head) -> Adapted:
    """Put a new adapter on a base; it draws from torch's global generator.

    Raises:
        ValueError: peft refuses the settings: no module has a name in ``target_modules``, or the rank does not suit
            the init (orthogonal needs an even one).
    """
    from peft import get_peft_model, get_peft_model_state_dict

    with quiet_libraries():
        model = get_peft_model(base.model, lora_config(base, settings, head))
    for module in model.modules():
        if hasattr(module, "lora_A"):
            # peft casts each adapter's input to float32; under autocast that is undone at once, and without it a no-op.
            module.cast_input_dtype_enabled = False
    taken_out = {}
    if settings.init == "pissa":
        state = get_peft_model_state_dict(model, save_embedding_layers=False)
        taken_out = {name: value.detach().clone() for name, value in state.items() if _is_lora(name)}
    return Adapted(model=model, taken_out=taken_out)


def lora_config(base: Base, settings: TrialSettings, head: Head) -> "LoraConfig":
    """Return peft's configuration of an adapter.

    What the base's files do not hold is trained in full and saved with the adapter, or whoever loads it would get
    other random values there: the classification head (peft adds it by the task's type) and, in some encoders, the
    pooler.
    """
    from peft import LoraConfig

    targets = [name.strip() for name in settings.target_modules.split(",") if name.strip()]
    fresh = [name for name in base.fresh_modules if name.split(".")[0] not in {"classifier", "score"}]
    return LoraConfig(
        task_type=_TASK_TYPES[head],
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        use_rslora=settings.rslora,
        use_dora=settings.dora,
        init_lora_weights=True if settings.init == "default" else settings.init,
        target_modules="all-linear" if targets == ["all-linear"] else targets,
        exclude_modules=fresh or None,
        modules_to_save=fresh or None,
        revision=base.revision,
    )


@contextmanager
def merged(model: "PeftModel") -> Iterator[None]:
    """Add the adapter's product to the base weights while inside, on a CPU: a forward is a quarter cheaper.

    Layers are given copies of their weights, and their own ones back afterwards, bit for bit; subtracting the product
    again would leave a little of it behind. A head that shares its weight with an adapted embedding keeps the one
    without the adapter. On CUDA nothing is done, because a second copy of the weights may not fit; and nothing in 4
    bits, where the sum would be rounded to 16 values.
    """
    from peft.tuners.lora import LoraLayer
    from torch.nn import Parameter

    layers = [module.get_base_layer() for module in model.modules() if isinstance(module, LoraLayer)]
    own = [(layer, name, weight) for layer in layers for name, weight in layer.named_parameters(recurse=False)]
    if model.device.type != "cpu" or not all(weight.is_floating_point() for _, _, weight in own):
        yield
        return
    for layer, name, weight in own:
        setattr(layer, name, Parameter(weight.detach().clone(), requires_grad=weight.requires_grad))
    try:
        model.merge_adapter()
        yield
    finally:
        model.unmerge_adapter()
        for layer, name, weight in own:
            setattr(layer, name, weight)


def save_adapter(adapted: Adapted, folder: Path) -> None:
    """Write a folder that ``PeftModel.from_pretrained(base, folder)`` loads: configuration and safetensors alone."""
    if not adapted.taken_out:
        adapted.model.save_pretrained(str(folder), save_embedding_layers=False)
        return
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(adapted.model, save_embedding_layers=False)
    base_name = adapted.model.get_base_model().name_or_path
    write_adapter(folder, state, adapted.model.peft_config["default"], base_name, adapted.taken_out)


def write_adapter(
    folder: Path,
    state: "Mapping[str, torch.Tensor]",
    config: "PeftConfig",
    base_name: str,
    taken_out: "Mapping[str, torch.Tensor]",
) -> None:
    """Write an adapter's tensors as a folder that plain peft loads.

    Args:
        folder: is made if it is not there.
        state: by the names of an adapter's file.
        config: peft's configuration.
        base_name: what it calls the base.
        taken_out: see ``Adapted``; the file's rank is twice the adapter's if there is anything.
    """
    from safetensors.torch import save_file

    config = copy.deepcopy(config)
    rank = config.r
    if taken_out:
        rank *= 2
        config.lora_alpha *= math.sqrt(2) if config.use_rslora else 2  # the same scaling at twice the rank
        config.init_lora_weights = True
    config.r, config.inference_mode, config.base_model_name_or_path = rank, True, base_name
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: _untaken(name, value, taken_out, rank) for name, value in state.items()}, folder / WEIGHTS)
    config.save_pretrained(str(folder))


def _untaken(name: str, value: "torch.Tensor", taken_out: "Mapping[str, torch.Tensor]", rank: int) -> "torch.Tensor":
    """Return ``[A | A0]`` or ``[B | -B0]``: over the base as it was, BA - B0 A0 is what BA is over what was left of it.

    peft's own conversion loses the head. Matrices smaller than the rank are filled up with zeros.
    """
    import torch

    value = value.detach().cpu().contiguous()
    if name not in taken_out:
        return value
    first = taken_out[name].cpu()
    if "lora_A" in name:
        both = torch.cat([value, first])
        return torch.nn.functional.pad(both, (0, 0, 0, rank - both.shape[0])).contiguous()
    both = torch.cat([value, -first], dim=1)
    return torch.nn.functional.pad(both, (0, rank - both.shape[1])).contiguous()


def _is_lora(name: str) -> bool:
    return "lora_A" in name or "lora_B" in name
