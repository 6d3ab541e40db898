"""Starts of LoRA computed after the model is loaded, from training rows or from the weights before quantisation.

EVA (arXiv 2410.07170), LoRA-GA (2407.05000) and CorDA (2406.05223) read rows; LoftQ (2310.08659) reads weights.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.core.errors import UserError
from orchestrator.evaluation.measure import forward
from orchestrator.objective.protocol import Example, Objective

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ROWS = 256
"""Most training rows read by a start: the first of the trial's own order."""
_GRADIENT_ROWS = 8
_MOST_PASSES = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class StartRows:
    """The training rows and the weights read by a start.

    Attributes:
        objective: collates the rows and computes their loss.
        tokenizer: pads them.
        rows: encoded rows, the first of the trial's order.
        device: device of the model.
        load_unquantised: returns the base model without quantisation; see ``load_unquantised``.
    """

    objective: Objective
    tokenizer: "PreTrainedTokenizerBase"
    rows: Sequence[Example]
    device: str
    load_unquantised: "Callable[[], PreTrainedModel]"

    def batches(self, size: int) -> "list[dict[str, torch.Tensor]]":
        """Return collated batches of ``size`` rows; an incomplete last one is left out unless it is the only one."""
        parts = [self.rows[first : first + size] for first in range(0, len(self.rows), size)]
        complete = [part for part in parts if len(part) == size] or parts
        return [
            {name: value.to(self.device) for name, value in self.objective.collate(part, self.tokenizer).items()}
            for part in complete
        ]


def attach_gradients(model: "PreTrainedModel", config: "LoraConfig", start: StartRows) -> None:
    """Compute the mean gradient of each target weight, from which peft starts LoRA-GA when it adds the adapter."""
    from peft.tuners.lora import preprocess_loraga
    from peft.tuners.tuners_utils import _maybe_include_all_linear_layers

    _maybe_include_all_linear_layers(config, model)  # otherwise "all-linear" is taken for a regular expression

    def backward() -> None:
        for batch in start.batches(_GRADIENT_ROWS):
            loss_B, units_B = start.objective.losses(forward(model, batch), batch)
            (loss_B.sum() / units_B.sum().clamp(min=1.0)).backward()

    preprocess_loraga(model, config, backward)


def attach_directions(model: "PreTrainedModel", config: "LoraConfig", start: StartRows) -> None:
    """Compute the main directions of each target weight times the covariance of its inputs, for CorDA.

    Covariances are peft's: of one row at a time, each divided by its largest value. peft itself needs inputs with a
    time dimension (``findings/peft_corda_needs_time.sh``); the pooler of an encoder has none. A layer without any
    input gets the directions of its weight.

    Raises:
        UserError: the inputs of a layer are not finite.
    """
    import torch
    from peft.tuners.lora.corda import collect_eigens, crop_corda_eigens, target_modules
    from peft.tuners.tuners_utils import _maybe_include_all_linear_layers
    from peft.utils.other import get_pattern_key
    from transformers.pytorch_utils import Conv1D

    _maybe_include_all_linear_layers(config, model)  # otherwise "all-linear" is taken for a regular expression
    pairs: Any = target_modules(model, config)
    targets: dict[str, Any] = dict(pairs)
    given: Any = config
    covariances = _covariances(model, targets, start)
    for name, layer in targets.items():
        covariance = covariances.get(name)
        if covariance is not None and not torch.isfinite(covariance).all():
            raise UserError(f"adapter.init: corda needs finite inputs, and those of {name} are not")
        size = layer.weight.shape[0 if isinstance(layer, Conv1D) else 1]
        layer.covariance_matrix = torch.eye(size, device=layer.weight.device) if covariance is None else covariance
        layer.rank = given.rank_pattern.get(get_pattern_key(given.rank_pattern.keys(), name), given.r)
        layer.corda_method = given.corda_config.corda_method
    collect_eigens(model, config, verbose=False)
    crop_corda_eigens(model, config)
    for layer in targets.values():
        del layer.covariance_matrix, layer.rank, layer.corda_method


def _covariances(
    model: "PreTrainedModel", targets: "Mapping[str, torch.nn.Module]", start: StartRows
) -> "dict[str, torch.Tensor]":
    """Return the mean covariance of the inputs of each layer with inputs, D×D for D inputs."""
    import torch

    sums: dict[str, torch.Tensor] = {}
    counts: dict[str, int] = {}

    def hook_of(name: str) -> "Callable[[torch.nn.Module, tuple[torch.Tensor, ...], object], None]":
        def hook(_: object, inputs: "tuple[torch.Tensor, ...]", __: object) -> None:
            x_TD = inputs[0].detach().reshape(-1, inputs[0].shape[-1]).float()
            x_TD = x_TD / x_TD.max().abs()
            sums[name] = sums.get(name, 0) + x_TD.T @ x_TD
            counts[name] = counts.get(name, 0) + 1

        return hook

    handles = [layer.register_forward_hook(hook_of(name)) for name, layer in targets.items()]
    model.eval()
    try:
        with torch.no_grad():
            for batch in start.batches(1):
                forward(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: total / counts[name] for name, total in sums.items()}


def start_eva(model: "PeftModel", start: StartRows) -> None:
    """Start A from the main directions of each layer's inputs; ranks move to the layers that explain most.

    Raises:
        UserError: there are too few training rows, or the directions do not settle.
    """
    from peft.tuners.lora.eva import initialize_lora_eva_weights

    config: Any = model.peft_config["default"]
    size = max(16, round(config.eva_config.rho * config.r))
    if len(start.rows) < size:
        raise UserError(f"adapter.init: eva with rank {config.r} needs {size} training rows, got {len(start.rows)}")
    initialize_lora_eva_weights(
        model,
        _Passes(start.batches(size)),
        forward_fn=forward,
        prepare_model_inputs_fn=_token_masks,
        prepare_layer_inputs_fn=_real_inputs,
        show_progress_bar=False,
    )


def start_loftq(model: "PeftModel", start: StartRows) -> None:
    """Start A and B from the main directions of each 4-bit layer's rounding error, so that they correct it.

    This is LoftQ with one iteration: further iterations would change the codes, which all trials share. peft's own
    function ignores alpha and needs CUDA (``findings/peft_loftq_ignores_alpha.sh``). Ranks beyond the smaller side of a
    layer keep their default start, and so do layers that are not quantised.
    """
    import torch
    from bitsandbytes.nn import Linear4bit
    from peft.tuners.lora import LoraLayer
    from transformers.pytorch_utils import Conv1D

    from orchestrator.training.model.quantised import weight_of

    unquantised = start.load_unquantised()
    with torch.no_grad():
        for name, module in model.get_base_model().named_modules():
            if not (isinstance(module, LoraLayer) and isinstance(module.get_base_layer(), Linear4bit)):
                continue
            layer: Any = module  # peft types its parts as modules or tensors
            source: Any = unquantised.get_submodule(name)
            decoded_OI = weight_of(layer.get_base_layer().weight).float()
            weight_OI = (source.weight.t() if isinstance(source, Conv1D) else source.weight).to(decoded_OI)
            left_OK, sizes_K, right_KI = torch.linalg.svd(weight_OI - decoded_OI, full_matrices=False)
            rank = min(layer.r["default"], len(sizes_K))
            root_R = (sizes_K[:rank] / layer.scaling["default"]).sqrt()
            layer.lora_A["default"].weight[:rank] = root_R[:, None] * right_KI[:rank]
            layer.lora_B["default"].weight[:, :rank] = left_OK[:, :rank] * root_R


class _Passes:
    """Batches in a fixed order; reading them more than ``_MOST_PASSES`` times is an error, and not an endless loop."""

    def __init__(self, batches: "Sequence[dict[str, torch.Tensor]]") -> None:
        self._batches = batches
        self._passes = 0

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> "Iterator[dict[str, torch.Tensor]]":
        self._passes += 1
        if self._passes > _MOST_PASSES:
            raise UserError(
                f"adapter.init: eva found no stable directions in {_MOST_PASSES} passes over {ROWS} training rows; "
                "choose a smaller rank or another init"
            )
        return iter(self._batches)


def _token_masks(batch: "Mapping[str, torch.Tensor]", _: object) -> "list[torch.Tensor]":
    """Return the masks of real tokens: of the rows, and of a decoder's rows."""
    return [batch[name].bool() for name in ("attention_mask", "decoder_attention_mask") if name in batch]


def _real_inputs(layer_input: Any, masks: "Sequence[torch.Tensor]", _: str) -> "torch.Tensor":  # noqa: ANN401  (peft's)
    """Return a layer's inputs without padding, one vector a row. Inputs without a time dimension are complete."""
    values: torch.Tensor = layer_input if hasattr(layer_input, "dim") else layer_input[0]
    for mask in masks:
        if values.dim() == 3 and values.shape[:2] == mask.shape:
            return values[mask]
    return values.reshape(-1, values.shape[-1]).contiguous()
