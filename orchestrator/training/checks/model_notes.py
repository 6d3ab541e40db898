"""Remarks on a model and its adapters for the user, from the structure of the model without its weights."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.core.methods.catalogue import FULL, METHODS
from orchestrator.core.methods.quantisation import Quantisation
from orchestrator.core.space import ParamValue
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.objective.protocol import Head
from orchestrator.training.model.adapters import adapt
from orchestrator.training.model.base_model import Base
from orchestrator.training.model.base_size import in_numbered_layer, planned_bytes
from orchestrator.training.model.structure import copy_structure

if TYPE_CHECKING:
    from peft.tuners.tuners_utils import BaseTunerLayer
    from transformers import PreTrainedModel

_PREFIX = "base_model.model."
_BYTES = 4
"""Bytes of a float32 number."""
_CHECKPOINTS = 3
"""Most checkpoints of a running trial with the averages of AdamW: two that training may resume from, and a new one."""
_EXPERTS = re.compile(r"(^|\.)experts(\.|$)")


def model_notes(
    base: Base,
    head: Head,
    trials: Sequence[Mapping[str, ParamValue]],
    quantisation: Quantisation | None,
    float_bytes: int = 4,
) -> tuple[str, ...]:
    """Return sentences for the user about the model and its adapters.

    They are about quantised weights, full fine-tuning, methods whose adapters cannot be merged, experts without
    adapters, and ranks without effect.

    Args:
        base: on torch's ``meta`` device; see ``load_structure``.
        head: head of the model.
        trials: adapter settings of the search space, all accepted by peft.
        quantisation: number format of the frozen linear layers.
        float_bytes: bytes of each weight without quantisation.
    """
    notes = [] if quantisation is None else _quantised_notes(base.model, quantisation, float_bytes)
    notes += [_full_note(base.model)] if any(trial["method"] == FULL for trial in trials) else []
    notes += _unmerged_notes(trials)
    experts = _experts(base.model)
    lokr = sorted({int(str(trial["rank"])) for trial in trials if trial["method"] == "lokr"})
    if not experts and not lokr:
        return tuple(notes)
    adapting = [trial for trial in trials if "target_modules" in trial]
    for method, targets in dict.fromkeys((str(trial["method"]), str(trial["target_modules"])) for trial in adapting):
        trial = next(t for t in adapting if (t["method"], t["target_modules"]) == (method, targets))
        adapted = _adapted(base, trial, head) if experts or method == "lokr" else {}
        if experts:
            notes.append(_experts_note(experts, list(adapted), method, targets))
        if method == "lokr":
            notes += _ranks_without_effect(list(adapted.values()), lokr, targets)
    return tuple(notes)


def _unmerged_notes(trials: Sequence[Mapping[str, ParamValue]]) -> list[str]:
    """Return a sentence naming the methods whose adapters cannot be merged; none if all can."""
    named = [*dict.fromkeys(str(trial["method"]) for trial in trials if not METHODS[str(trial["method"])].merges)]
    if not named:
        return []
    return [f"peft cannot merge {', '.join(named)} into the base model: registry export works only without --merge"]


def _experts(model: "PreTrainedModel") -> list[str]:
    """Return the names of the weights of a mixture's experts: modules under ``experts``, or one stacked tensor.

    A tensor of three dimensions holds experts if its first dimension is a number of experts in the configuration;
    XLNet's attention has other tensors of three dimensions.
    """
    config = model.config.get_text_config().to_dict()
    counts = {value for name, value in config.items() if "expert" in name and isinstance(value, int) and value > 1}
    experts = []
    for name, parameter in model.named_parameters():
        stacked = parameter.dim() > 2 and parameter.shape[0] in counts
        numbered = parameter.dim() > 1 and _EXPERTS.search(name) is not None
        if (stacked or numbered) and not name.endswith("bias"):
            experts.append(name)
    return experts


def _adapted(base: Base, trial: Mapping[str, ParamValue], head: Head) -> "dict[str, BaseTunerLayer]":
    """Return peft's layers of an adapter by the names of the adapted weights."""
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    with torch.device("meta"):
        model = adapt(copy_structure(base), TrialSettings.from_params(trial), head).model
    adapted = {}
    for name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer):
            layer = name.removeprefix(_PREFIX).replace(".base_layer", "")
            adapted[f"{layer}.{getattr(module, 'parameter_name', 'weight')}"] = module
    return adapted


def _experts_note(experts: Sequence[str], adapted: Sequence[str], method: str, targets: str) -> str:
    """Return a sentence about the weights of a mixture adapted by a method."""
    left = [name for name in experts if name not in {*adapted}]
    reached = [name for name in experts if name in {*adapted}]
    others = [name for name in adapted if name not in {*experts}]
    start = f"a mixture of experts, {method} on {targets}:"
    if not reached:
        note = f"experts without adapters: {_patterns(left)}; with adapters: {_patterns(others) or 'nothing'}"
    elif not left:
        note = f"experts with adapters: {_patterns(reached)}; also {_patterns(others) or 'nothing else'}"
    else:
        with_adapters = f"experts with adapters: {_patterns(reached)}; also {_patterns(others) or 'nothing else'}"
        note = f"{with_adapters}; experts without adapters: {_patterns(left)}"
    return f"{start} {note}"


def _patterns(names: Sequence[str]) -> str:
    """Return names grouped by kind with their numbers, without the path before the layer number."""
    kinds: dict[str, int] = {}
    for name in names:
        inside = re.sub(r"^\D*\.\d+\.", "", name)
        kind = re.sub(r"(?<=[._])\d+(?=\.)", "*", inside).removesuffix(".weight")
        kinds[kind] = kinds.get(kind, 0) + 1
    return ", ".join(f"{kind} ({number})" for kind, number in kinds.items())


def _quantised_notes(model: "PreTrainedModel", quantisation: Quantisation, float_bytes: int) -> list[str]:
    """Return a sentence on the quantised fraction of weights in numbered layers, and one on the memory of all weights.

    Only linear layers are quantised.
    """
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    inside, left = 0, list[tuple[int, str]]()
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not in_numbered_layer(module_name):
                continue
            if name == "weight" and (type(module) is Linear or isinstance(module, Conv1D)):
                inside += parameter.numel()
            else:
                left.append((parameter.numel(), f"{module_name}.{name}"))
    total = inside + sum(number for number, _ in left)
    fraction = inside / max(1, total)
    bits = f"{quantisation.bits} bits"
    note = f"quantisation {quantisation}: {100 * fraction:.0f} % of the weights in the layers are held in {bits}"
    large = [name for number, name in left if number * 100 > total or _EXPERTS.search(name)]
    planned, plain = (planned_bytes(model, each, float_bytes) / 2**20 for each in (quantisation, None))
    memory = f"quantisation {quantisation}: the base model takes {planned:,.1f} MiB, without it {plain:,.1f} MiB"
    return [f"{note}; not in {bits}: {_patterns(large)}" if fraction < 0.9 and large else note, memory]


def _full_note(model: "PreTrainedModel") -> str:
    """Return a sentence about memory and disk of a trial with method ``full``."""
    count = sum(parameter.numel() for parameter in model.parameters())
    kept = _BYTES * sum(parameter.numel() for _, parameter in model.named_parameters(remove_duplicate=False))
    averages = 2 * _BYTES * count
    memory, running = 2 * _BYTES * count + averages, _CHECKPOINTS * (kept + averages) + kept
    return (
        f"full trains all {count / 1e6:,.1f}M weights in the solo engine: {_gigabytes(memory)} for weights, gradients "
        f"and AdamW, beside the activations; up to {_gigabytes(running)} on disk for each running trial, "
        f"{_gigabytes(kept)} for each kept model, and as much again in MLflow; "
        "good learning rates are about a tenth of lora's"
    )


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:,.2f} GB"


def _ranks_without_effect(layers: "Sequence[BaseTunerLayer]", ranks: Sequence[int], targets: str) -> list[str]:
    """Return a sentence about the ranks with no effect on LoKr's adapters, if the search space has such ranks.

    peft does not decompose a layer's second Kronecker factor if the rank is at least half of the factor's longer side.
    The rank of such a layer changes only alpha / rank.
    """
    from peft.tuners.lokr.layer import factorization
    from torch.nn import Linear

    limits: list[int] = []
    for layer in layers:
        inner = layer.get_base_layer()
        if isinstance(inner, Linear):
            limits.append(-(-max(factorization(size)[1] for size in (inner.out_features, inner.in_features)) // 2))
    beyond = [rank for rank in ranks if limits and rank >= min(limits)]
    if not beyond:
        return []
    first, last = min(limits), max(limits)
    where = (
        "in every layer"
        if first == last
        else f"in {limits.count(first)} of {len(limits)} layers, from {last} on in all"
    )
    note = f"lokr on {targets}: from rank {first} on the rank changes only the scale alpha / rank {where}"
    why = f"because peft then trains the whole factor; the search space has ranks up to {beyond[-1]}"
    return [f"{note}, {why}: choose ranks below {first}"]
