"""The modules trained in full and saved with the adapter: the head, and modules without weights in the files."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from orchestrator.core.errors import UserError
from orchestrator.objective.protocol import Head
from orchestrator.training.model.base_model import Base

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PEFT_HEADS = ("classifier", "score")
"""Names added by peft to ``modules_to_save`` of every classifier."""


def modules_to_save(base: Base, head: Head) -> list[str]:
    """Return the names for peft's ``modules_to_save``, without the names added by peft to a classifier of rows.

    The head of a classifier is every module outside the backbone (``base_model_prefix``), under any name:
    ``classifier``, ``classification_head``, ``pre_classifier``. A language model's head (``lm_head``) stays frozen.

    peft matches the end of a module's name, so ``classifier`` also matches ``pre_classifier``. But it keeps adapters
    off exact matches only. Therefore full names are returned. With ``all-linear``, peft keeps adapters off the head of
    a classifier of rows, but not off one of tokens (``findings/peft_all_linear_adapts_token_head.sh``).

    Raises:
        UserError: no head of a classifier is found, so it could not be trained.
    """
    return without_peft_heads(trained_in_full(base, head), head)


def without_peft_heads(modules: Iterable[str], head: Head) -> list[str]:
    """Return names of modules, ascending, without the names that peft adds by itself."""
    return sorted({*modules} - {*(PEFT_HEADS if head is Head.SEQUENCE_CLASSIFICATION else ())})


def trained_in_full(base: Base, head: Head) -> set[str]:
    """Return the names of the modules trained in full by every method; raises as ``modules_to_save``."""
    wanted = {*base.fresh_modules} - {""}
    if head.classifies:
        wanted |= {*outside_backbone(base.model), *PEFT_HEADS}
    names = [name for name, _ in base.model.named_modules(remove_duplicate=False) if name]
    modules = topmost(name for name in names if any(name.endswith(ending) for ending in wanted))
    if not modules and head.classifies:
        rule = "a classifier's head stands outside its backbone, or is missing in the model's files"
        raise UserError(f"model: {rule}; {type(base.model).__name__} has none that could be trained")
    return modules


def outside_backbone(model: "PreTrainedModel") -> list[str]:
    """Return the names of the model's children with parameters outside its backbone."""
    inside = {id(parameter) for parameter in model.base_model.parameters()}
    return [
        name
        for name, child in model.named_children()
        if any(id(parameter) not in inside for parameter in child.parameters())
    ]


def topmost(names: Iterable[str]) -> set[str]:
    """Return the names of modules not inside another one of them."""
    given = {*names}
    return {name for name in given if not any(name.startswith(f"{other}.") for other in given)}
