"""Full fine-tuning (``adapter.method: full``) as an adapter of peft: copies of all modules with weights.

peft trains and saves the copies (``modules_to_save``). So a trained model is a plain PEFT folder with all weights, and
everything that reads an adapter reads it.
"""

from typing import TYPE_CHECKING, Any

from orchestrator.core.errors import UserError
from orchestrator.objective.protocol import Head
from orchestrator.training.model.base_model import Base
from orchestrator.training.model.heads import outside_backbone, topmost, trained_in_full, without_peft_heads

if TYPE_CHECKING:
    from peft import PeftModel

_PREFIX = "base_model.model."
_HEADED = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS")


def trained_modules(base: Base, head: Head) -> list[str]:
    """Return the names for peft's ``modules_to_save``: the head, and all other modules with weights.

    Raises:
        UserError: the model has weights outside of its modules, and peft copies modules only; or as
            ``modules_to_save``.
    """
    owners = {
        name
        for name, module in base.model.named_modules(remove_duplicate=False)
        if any(parameter.requires_grad for parameter in module.parameters(recurse=False))
    }
    if "" in owners:
        names = ", ".join(name for name, _ in base.model.named_parameters(recurse=False))
        raise UserError(f"the model has weights outside of its modules, and peft trains modules only: {names}")
    return without_peft_heads(topmost({*owners, *trained_in_full(base, head)}), head)


def tie_weights(model: "PeftModel") -> None:
    """Tie the copies of tied weights, such as a language model's head and embedding: peft copies each by itself."""
    from peft.utils.other import ModulesToSaveWrapper
    from torch.nn import Parameter

    copies: dict[int, Parameter] = {}
    for wrapper in model.modules():
        if not isinstance(wrapper, ModulesToSaveWrapper):
            continue
        copied = wrapper.modules_to_save["default"]
        for name, original in wrapper.original_module.named_parameters(remove_duplicate=False):
            path, _, attribute = name.rpartition(".")
            owner = copied.get_submodule(path)
            setattr(owner, attribute, copies.setdefault(id(original), getattr(owner, attribute)))


def release_base(model: "PeftModel") -> None:
    """Free the weights of the base model: training computes with the copies alone.

    The original parameters get no elements, so a forward through them fails.
    """
    from peft.utils.other import ModulesToSaveWrapper

    for wrapper in model.modules():
        if isinstance(wrapper, ModulesToSaveWrapper):
            for parameter in wrapper.original_module.parameters():
                parameter.data = parameter.data.new_empty(0)


def head_prefixes(model: "PeftModel") -> tuple[str, ...]:
    """Return the start of the names of the head's parameters; empty for a language model, whose head is a base weight.

    The head of a classifier is every module outside the backbone.
    """
    if model.peft_config["default"].task_type not in _HEADED:
        return ()
    base: Any = model.get_base_model()
    return tuple(f"{_PREFIX}{name}." for name in outside_backbone(base))
