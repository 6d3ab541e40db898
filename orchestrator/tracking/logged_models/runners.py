"""The class that runs a base model with an adapter, by the head; and the base model in a number format."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orchestrator.core.errors import UserError
from orchestrator.core.methods.quantisation import format_of
from orchestrator.core.sweeps.plan import Precision, WeightFormat
from orchestrator.objective.protocol import Head
from orchestrator.tracking.environment import load_mlflow

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from orchestrator.tracking.logged_models.adapter_model import AdapterRunner
    from orchestrator.tracking.logged_models.adapters import AdapterCard


def runner_class(head: str) -> "type[AdapterRunner]":
    """Return the runner for a head; it imports mlflow."""
    load_mlflow()
    from orchestrator.tracking.logged_models.adapter_model import AdapterRunner
    from orchestrator.tracking.logged_models.answer_model import AnswerRunner
    from orchestrator.tracking.logged_models.entity_model import EntityRunner

    kinds = {Head.QUESTION_ANSWERING: AnswerRunner, Head.TOKEN_CLASSIFICATION: EntityRunner}
    return kinds.get(Head(head), AdapterRunner)


def require_format(card: "AdapterCard", precision: WeightFormat, reference: str) -> None:
    """Raise ``UserError`` if the weights of a model cannot be in this number format.

    Args:
        card: the adapter's card.
        precision: the wanted format; every model can have float32, or the format of its quantisation.
        reference: the model, as named by the user.
    """
    if precision is Precision.FLOAT32:
        return
    found = None
    if card.is_function:
        found = "was trained by a function, and its own code decides the format of its weights"
    elif card.quantisation is not None:
        found = f"has a base model in {format_of(card.quantisation).bits} bits, a format of its own"
    if found is not None:
        raise UserError(f"--precision {precision}: {reference} {found}; leave out --precision")


def load_base_in(
    precision: WeightFormat, card: "AdapterCard", base: str | None = None, device: str = "cpu"
) -> "PreTrainedModel":
    """Return the base model of an adapter's card, without the adapter, with its weights in a number format.

    In bfloat16 a classifier's head, so all outside the backbone, stays in float32, and so do its logits: peft copies
    it for each adapter, and keeps the other trained weights in float32 by itself.

    Args:
        precision: the format; see ``require_format``.
        card: the card.
        base: the base model's folder or hub id; None: as in training.
        device: torch device of a quantised base model; others are loaded on the CPU.

    Raises:
        MlflowException: the folder does not exist.
        OSError: the base model cannot be loaded.
    """
    load_mlflow()
    from orchestrator.tracking.logged_models.adapter_model import load_base

    model = load_base(card.to_json(), base, device, precision.value)
    if precision is Precision.BFLOAT16 and Head(card.head).classifies:
        for child in model.children():
            if child is not model.base_model:
                child.float().register_forward_pre_hook(_in_float32)
    return model


@contextmanager
def format_refusals(precision: WeightFormat) -> Iterator[None]:
    """Turn torch's errors about missing operations in bfloat16 into ``UserError``; FNet's Fourier transforms have none.

    Args:
        precision: number format of the weights used in the block.
    """
    try:
        yield
    except RuntimeError as error:
        if precision is Precision.FLOAT32 or precision not in str(error).lower():
            raise
        raise UserError(
            f"--precision {precision}: torch cannot compute this model in it ({error}); leave out --precision"
        ) from error


def _in_float32(_module: "torch.nn.Module", inputs: "tuple[torch.Tensor, ...]") -> "tuple[torch.Tensor, ...]":
    """Return the inputs of a head in its own format."""
    return tuple(each.float() if each.is_floating_point() else each for each in inputs)
