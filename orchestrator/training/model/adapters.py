"""Put a PEFT adapter on a base model, merge it, and save it as a plain PEFT folder."""

import copy
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from orchestrator.core.errors import UserError
from orchestrator.core.methods.catalogue import ADALORA, FULL, LORA
from orchestrator.core.methods.inits import INITS
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.objective.protocol import Head
from orchestrator.training.model.base_model import Base
from orchestrator.training.model.lora_options import require_effect
from orchestrator.training.model.peft_configs import peft_config
from orchestrator.training.model.quiet import quiet_libraries
from orchestrator.training.model.starts import StartRows, attach_directions, attach_gradients, start_eva, start_loftq
from orchestrator.training.model.whole import head_prefixes, release_base, tie_weights

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig, PeftModel

WEIGHTS = "adapter_model.safetensors"
MERGED_TO_MEASURE = ("lora", "ia3", "loha", "lokr", "vera")
"""The methods merged for a measurement; tests show that the base model has its weights again afterwards."""
_ATTACHED = {"lora_ga": attach_gradients, "corda": attach_directions}
"""The inits prepared on the model before peft adds the adapter."""
_REFUSED = " cannot be put on this model: "


@dataclass(frozen=True, kw_only=True, slots=True)
class Adapted:
    """A base model with a trainable adapter.

    Attributes:
        model: the PEFT model; adapter and head are float32 and trainable, the rest is frozen. Method ``full`` has no
            frozen weights.
        subtracted: the initial A and B subtracted from the frozen weights, by their names in an adapter's file; empty
            for an init without ``Init.subtracts``.
        heads: starts of the names of the parameters that may have a rate of their own.
    """

    model: "PeftModel"
    subtracted: "dict[str, torch.Tensor]"
    heads: tuple[str, ...] = ("",)


def adapt(
    base: Base,
    settings: TrialSettings,
    head: Head,
    start: StartRows | None = None,
    *,
    updates: int | None = None,
) -> Adapted:
    """Put a new adapter on a base model; its weights are drawn from torch's global generator.

    Args:
        base: the base model; an init may change its weights.
        settings: settings of the trial.
        head: head of the objective.
        start: rows and weights for an init that reads some; without them such an init starts as ``default``, for
            trials of the structure.
        updates: number of optimizer steps of the trial, for methods with a schedule; None: not known, nothing trains.

    Raises:
        UserError: peft refuses the settings: ``target_modules`` matches no module, or the method does not support a
            module's class, or this dropout, rank or init for it.
    """
    from peft import get_peft_model_state_dict
    from peft.tuners.tuners_utils import BaseTunerLayer

    init = INITS[settings.init if settings.method == LORA else "default"]
    if init.subtracts:
        _untie_linear_layers(base.model, copies=settings.init == "olora")
    config = _config(base, settings, head, updates)
    model = _put_on(base, config, settings, start)
    tuned_layers: list[Any] = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    for layer in tuned_layers:
        # peft would cast each input to float32: undone under autocast, and without effect otherwise.
        layer.cast_input_dtype_enabled = False
    _require_layers(model)
    if settings.method == LORA:
        _require_linear(model, settings.init)
        _require_rank(model, settings.init)
        require_effect(model, settings)
        if settings.init == "eva" and start is not None:
            with quiet_libraries():
                start_eva(model, start)
        if init.corrects_rounding and start is not None:
            start_loftq(model, start)
    if settings.method == FULL:
        tie_weights(model)
        release_base(model)
    if settings.method in (LORA, FULL):
        _require_loadable(model)
    if init.reads_rows or init.trains_a_alone:  # a folder for the original base model needs no start of its own
        config.init_lora_weights, config.eva_config, config.lora_ga_config = True, None, None
        config.corda_config = None
    subtracted = {}
    if init.subtracts:
        state = get_peft_model_state_dict(model, save_embedding_layers=False)
        subtracted = {name: value.detach().clone() for name, value in state.items() if _is_lora(name)}
    heads = head_prefixes(model) if settings.method == FULL else ("",)
    return Adapted(model=model, subtracted=subtracted, heads=heads)


def _put_on(base: Base, config: Any, settings: TrialSettings, start: StartRows | None) -> "PeftModel":  # noqa: ANN401  (peft types too little)
    """Return the base model with an adapter; raises ``UserError`` if peft refuses it."""
    from peft import get_peft_model

    method, init = settings.method, settings.init if settings.method == LORA else "default"
    if init == "corda" and start is None:
        config.init_lora_weights = True  # peft would need the directions
    with quiet_libraries(ties=method != FULL):
        try:
            if start is not None and init in _ATTACHED:
                _ATTACHED[init](base.model, config, start)
            model: PeftModel = get_peft_model(base.model, config)
            return model
        except (ValueError, TypeError, AttributeError) as error:  # peft has no exception class of its own
            why = _without_modules(error)
            if isinstance(error, AttributeError) and init != "default":  # peft reads the weight of a layer
                why = f"init {init} supports layers only"
            problem = f"adapter.method: {method}{_REFUSED}{why}"
            raise UserError(problem + _adapted_parameters(config)) from error


def _config(base: Base, settings: TrialSettings, head: Head, updates: int | None) -> Any:  # noqa: ANN401  (peft types too little)
    """Return peft's configuration; peft may refuse a combination of options with ``UserError``."""
    try:
        return peft_config(base, settings, head, updates=updates)
    except (ValueError, TypeError) as error:
        if str(error).startswith("target_modules: "):
            raise
        raise UserError(f"adapter.method: {settings.method}{_REFUSED}{_without_modules(error)}") from error


def reason_of(error: Exception) -> str:
    """Return peft's reason from an error of ``adapt``."""
    return str(error).rpartition(_REFUSED)[2]


def _without_modules(error: Exception) -> str:
    """Return the message of an error without its printed modules, which may fill a screen."""
    return shorten(re.sub(r"\(.*\)", "", str(error), flags=re.DOTALL), 300, placeholder=" …").rstrip(".")


def _adapted_parameters(config: "PeftConfig") -> str:
    """Return a remark on adapted parameters outside of layers; peft adapts them by itself in some models."""
    names = sorted(getattr(config, "target_parameters", None) or ())
    return f" (in this model peft adapts parameters outside of layers: {', '.join(names)})" if names else ""


def _untie_linear_layers(model: "torch.nn.Module", *, copies: bool) -> None:
    """Give every linear layer its own parameter over the same memory, or over a copy.

    PiSSA changes the weight of a layer, and would change a tied embedding too. A user who loads the adapter has the
    original embedding. OLoRA changes the memory itself.
    """
    from torch.nn import Linear, Parameter

    for module in model.modules():
        if isinstance(module, Linear) and module.weight.is_floating_point():
            weight = module.weight.detach()
            module.weight = Parameter(weight.clone() if copies else weight, requires_grad=module.weight.requires_grad)


def _require_linear(model: "PeftModel", init: str) -> None:
    """Raise ``UserError`` for OLoRA on a transposed layer (GPT-2): peft factorises the weight as stored."""
    from peft.tuners.lora import LoraLayer
    from transformers.pytorch_utils import Conv1D

    if init != "olora":
        return
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer) and isinstance(module.get_base_layer(), Conv1D):
            raise UserError(f"adapter.method: lora{_REFUSED}init olora supports no Conv1D layer, such as {name}")


def _require_rank(model: "PeftModel", init: str) -> None:
    """Raise ``UserError`` for CorDA with a rank above the smaller side of a layer: it has no further directions."""
    from peft.tuners.lora import LoraLayer
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    for name, module in model.named_modules():
        layer = module.get_base_layer() if init == "corda" and isinstance(module, LoraLayer) else None
        if isinstance(layer, Linear | Conv1D):
            most, rank = min(layer.weight.shape), module.r["default"]
            if rank > most:
                raise UserError(f"adapter.method: lora{_REFUSED}init corda supports ranks up to {most} in {name}")


def _require_layers(model: "PeftModel") -> None:
    """Raise ``UserError`` if an adapted layer returns more than a tensor, like some routers of experts.

    peft adds its product to the output of the layer, and would fail in the first forward.
    """
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    tried: set[type] = set()
    for name, module in model.named_modules():
        layer = module.get_base_layer() if isinstance(module, BaseTunerLayer) else None
        if not isinstance(layer, torch.nn.Linear) or type(layer).forward is torch.nn.Linear.forward:
            continue
        if type(layer) in tried or not layer.weight.is_floating_point():
            continue
        tried.add(type(layer))
        training = layer.training
        layer.eval()
        try:
            with torch.no_grad():
                output = layer(layer.weight.new_zeros(2, layer.in_features))
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
            continue  # its forward needs another input: not judged
        finally:
            layer.train(training)
        if not isinstance(output, torch.Tensor):
            raise UserError(
                f"adapter.target_modules: {name.rpartition('.')[2]} of this model ({type(layer).__name__}) returns "
                f"more than a tensor, and peft fails on such a layer ({name}); name other modules"
            )


def _require_loadable(model: "PeftModel") -> None:
    """Raise ``UserError`` if peft cannot load its own checkpoint: it renames the keys of some model families."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    loaded: Any = set_peft_model_state_dict(model, state)
    # With bias "all" peft writes the biases of modules trained in full twice, and loads the other copy.
    if lost := [key for key in loaded.unexpected_keys if ".modules_to_save." not in key]:
        names = sorted({key.partition(".lora_")[0].rpartition(".")[2] for key in lost})
        raise UserError(
            f"adapter.target_modules: peft cannot load its own checkpoint of {', '.join(names)} of this model, for "
            f"example {lost[0]}; name other modules"
        )


@contextmanager
def merged(model: "PeftModel") -> Iterator[None]:
    """Merge the adapter into the base weights inside the block, on a CPU: a forward of LoRA takes a quarter less time.

    The layers get copies of their weights and biases, and their original tensors afterwards, bit for bit; unmerging
    alone is not exact. A head tied to an adapted embedding keeps the weight without the adapter. Nothing is merged on
    CUDA, where a second copy of the weights may not fit, or in 4 bits, where the sum would be rounded to 16 values.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch.nn import Parameter

    layers = [module.get_base_layer() for module in model.modules() if isinstance(module, BaseTunerLayer)]
    own = [(layer, name, weight) for layer in layers for name, weight in layer.named_parameters(recurse=False)]
    if (
        not _merges_exactly(model)
        or model.device.type != "cpu"
        or not all(weight.is_floating_point() for _, _, weight in own)
    ):
        yield
        return
    for layer, name, weight in own:
        setattr(layer, name, Parameter(weight.detach().clone(), requires_grad=weight.requires_grad))
    try:
        model.merge_adapter()
        yield
    finally:
        with quiet_libraries():
            model.unmerge_adapter()
        for layer, name, weight in own:
            setattr(layer, name, weight)


def _merges_exactly(model: "PeftModel") -> bool:
    """Return whether peft adds the adapter to weights of the layers and no more, so that copies of them restore it."""
    from peft import PeftType

    return PeftType(model.peft_config["default"].peft_type).value.lower() in MERGED_TO_MEASURE


def save_adapter(adapted: Adapted, folder: Path) -> None:
    """Write a folder for ``PeftModel.from_pretrained(base, folder)``: the configuration and a safetensors file."""
    if not adapted.subtracted:
        with _kept_ranks(adapted.model):
            adapted.model.save_pretrained(str(folder), save_embedding_layers=False)
        return
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(adapted.model, save_embedding_layers=False)
    base_name = str(adapted.model.get_base_model().name_or_path)
    write_adapter(folder, state, adapted.model.peft_config["default"], base_name, adapted.subtracted)


@contextmanager
def _kept_ranks(model: "PeftModel") -> Iterator[None]:
    """Give the configuration of an AdaLoRA adapter the pattern of its nonzero ranks inside the block.

    peft writes the ranks of its last mask only, and an update after the mask may have changed the others again.
    """
    config: Any = model.peft_config["default"]
    if config.peft_type.value.lower() != ADALORA:
        yield
        return
    own = config.rank_pattern
    config.rank_pattern = {
        name.replace(".default", ""): (value != 0).flatten().tolist()
        for name, value in model.get_base_model().named_parameters()
        if "lora_E" in name
    }
    try:
        yield
    finally:
        config.rank_pattern = own


def write_adapter(
    folder: Path,
    state: "Mapping[str, torch.Tensor]",
    config: "PeftConfig",
    base_name: str,
    subtracted: "Mapping[str, torch.Tensor]",
) -> None:
    """Write an adapter as a plain PEFT folder.

    Args:
        folder: created if necessary.
        state: the tensors by their names in an adapter's file.
        config: peft's configuration.
        base_name: name of the base model in the configuration.
        subtracted: see ``Adapted``; unless it is empty, the rank of the file is twice the rank of the adapter.
    """
    from safetensors.torch import save_file

    written: Any = copy.deepcopy(config)  # peft types alpha as an integer and computes with any number
    if subtracted:
        factor = math.sqrt(2) if written.use_rslora else 2  # of alpha: the same scaling at twice the rank
        written.r, written.lora_alpha, written.init_lora_weights = 2 * written.r, factor * written.lora_alpha, True
        written.rank_pattern = {name: 2 * rank for name, rank in written.rank_pattern.items()}
        written.alpha_pattern = {name: factor * alpha for name, alpha in written.alpha_pattern.items()}
        written.eva_config = written.lora_ga_config = written.corda_config = None
    written.inference_mode, written.base_model_name_or_path = True, base_name
    folder.mkdir(parents=True, exist_ok=True)
    if subtracted:
        state = {name: _with_init(name, value, subtracted, _rank_of(name, written)) for name, value in state.items()}
    save_file(_apart(state), folder / WEIGHTS)
    written.save_pretrained(str(folder))


def _apart(state: "Mapping[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """Return tensors on the CPU without common memory, as a file needs them.

    With ``bias: all`` a trained head's bias has two names.
    """
    tensors: dict[str, torch.Tensor] = {}
    seen = set[int]()
    for name, value in state.items():
        tensor = value.detach().cpu().contiguous()
        shared = tensor.untyped_storage().data_ptr() in seen
        tensors[name] = tensor.clone() if shared else tensor
        seen.add(tensors[name].untyped_storage().data_ptr())
    return tensors


def _rank_of(name: str, config: Any) -> int:  # noqa: ANN401  (LoraConfig)
    """Return the rank of a tensor's layer by the configuration of its file."""
    from peft.utils.other import get_pattern_key

    layer = re.split(r"\.lora_", name, maxsplit=1)[0]
    rank: int = config.rank_pattern.get(get_pattern_key(config.rank_pattern.keys(), layer), config.r)
    return rank


def _with_init(name: str, value: "torch.Tensor", subtracted: "Mapping[str, torch.Tensor]", rank: int) -> "torch.Tensor":
    """Return ``[A | A0]`` or ``[B | -B0]``: W + BA - B0 A0 over the original W equals (W - B0 A0) + BA in training.

    peft's own conversion loses the head. Matrices smaller than the rank are padded with zeros.
    """
    import torch

    value = value.detach().cpu()
    if name in subtracted:
        is_a, first = "lora_A" in name, subtracted[name].cpu()
        value = torch.cat([value, first if is_a else -first], dim=0 if is_a else 1)
    elif subtracted and "lora_embedding_" in name:  # PiSSA does not change embeddings
        is_a = "lora_embedding_A" in name
    else:
        return value
    missing = rank - value.shape[0 if is_a else 1]
    return torch.nn.functional.pad(value, (0, 0, 0, missing) if is_a else (0, missing)).contiguous()


def _is_lora(name: str) -> bool:
    return "lora_A" in name or "lora_B" in name
