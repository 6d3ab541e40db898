"""Gradient checkpointing: the backward computes the activations of each layer again (arXiv 1604.06174)."""

from typing import TYPE_CHECKING, Any

from orchestrator.core.errors import ModelError

if TYPE_CHECKING:
    from peft import PeftModel


def recompute_activations(model: "PeftModel", name: str) -> None:
    """Make the layers of a model keep only their inputs; dropout draws the same masks again.

    Args:
        model: the model with its adapter.
        name: name of the base model, for the error.

    Raises:
        ModelError: transformers' code of this model cannot recompute activations.
    """
    base: Any = model.get_base_model()  # a transformers model
    if not getattr(base, "supports_gradient_checkpointing", False):
        raise ModelError(
            f"training.gradient_checkpointing: the code of {name} ({type(base).__name__}) does not support it; "
            "write false"
        )
    base.config.use_cache = False  # a cache would be filled twice
    base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
