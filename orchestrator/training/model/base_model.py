"""Load the base model with the head of an objective."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.assets.models import load_pretrained
from orchestrator.assets.tokens import load_tokenizer, use_tokens_of
from orchestrator.core.data import Source
from orchestrator.core.methods.quantisation import Quantisation, require_package
from orchestrator.core.tasks.problem import Problem
from orchestrator.evaluation.row_independence import reset_rope_per_forward
from orchestrator.objective.protocol import Head, Objective, problem_of
from orchestrator.training.model.cpu_attention import attention_on_cpu, implemented_by
from orchestrator.training.model.quiet import quiet_libraries
from orchestrator.training.process.random_state import kept_random_state

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

AUTO_CLASSES = {
    Head.SEQUENCE_CLASSIFICATION: "AutoModelForSequenceClassification",
    Head.TOKEN_CLASSIFICATION: "AutoModelForTokenClassification",
    Head.QUESTION_ANSWERING: "AutoModelForQuestionAnswering",
    Head.CAUSAL_LM: "AutoModelForCausalLM",
    Head.SEQ2SEQ_LM: "AutoModelForSeq2SeqLM",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """A base model in float32, or with its linear layers in 4 or 8 bits.

    Attributes:
        model: the model with the objective's head.
        fresh_modules: modules without weights in the model's files, so random: the head, sometimes a pooler.
        revision: the requested revision on the hub.
    """

    model: "PreTrainedModel"
    fresh_modules: tuple[str, ...]
    revision: str | None


def load_base(
    source: Source,
    objective: Objective,
    device: str,
    *,
    dtype: "torch.dtype | None" = None,
    attention: str | None = None,
    quantisation: Quantisation | None = None,
    stays_on_cpu: bool = False,
) -> Base:
    """Load the base model; weights missing in its files are drawn from torch's global generator.

    It is not cached between trials: loading 90 MB from the page cache takes 0.05 s.

    Args:
        source: the base model.
        objective: determines the head.
        device: ``cpu`` or ``cuda``.
        dtype: number format of the weights; None: float32.
        attention: transformers' name of an attention implementation; None: the fastest one on the device with the
            results of the model's default.
        quantisation: number format of the frozen linear layers; None: ``dtype``.
        stays_on_cpu: leave the weights in the CPU's memory, to be divided before they go to the device.

    Raises:
        AssetError: the model is missing or cannot be reached.
        UserError: the package for the quantisation is not installed.
    """
    import torch

    dtype = dtype or torch.float32
    auto, arguments = with_head(objective)
    arguments |= {"trust_remote_code": False}
    if attention is None and device == "cpu":
        attention = attention_on_cpu(source, objective.head, partial(load_pretrained, auto, source, **arguments))
    arguments |= {"dtype": dtype, "output_loading_info": True}
    if quantisation is not None:
        require_package(quantisation)
        from orchestrator.training.model import quantised

        arguments |= quantised.loading(quantisation, device)
    with quiet_libraries():
        model, loading = load_pretrained(auto, source, **arguments, **implemented_by(attention))
    missing = {*loading["missing_keys"], *(key[0] for key in loading.get("mismatched_keys", ()))}
    classifies = objective.head.classifies
    use_tokens_of(model, load_tokenizer(source, classifies=classifies), classifies=classifies)
    fresh = tuple(sorted({key.rpartition(".")[0] for key in missing}))
    if quantisation is not None:
        quantised.set_compute_dtype(model, dtype)
    reset_rope_per_forward(model)
    return Base(model=model.to("cpu" if stays_on_cpu else device), fresh_modules=fresh, revision=source.revision)


def load_unquantised(source: Source, objective: Objective) -> "PreTrainedModel":
    """Return a base model in the CPU's memory, in the number format of its files; its head is random.

    The process's random state stays as it is.

    Raises:
        AssetError: the model is missing or cannot be reached.
    """
    auto, arguments = with_head(objective)
    with quiet_libraries(), kept_random_state():
        model: PreTrainedModel = load_pretrained(auto, source, **arguments, trust_remote_code=False, dtype="auto")
    return model


def with_head(objective: Objective) -> tuple[Any, dict[str, Any]]:
    """Return transformers' auto class for the objective's head, and the arguments for the head."""
    import transformers

    auto = getattr(transformers, AUTO_CLASSES[objective.head])
    if not objective.head.classifies:
        return auto, {}
    problem = problem_of(objective)
    return auto, {
        **({} if problem in {None, Problem.SINGLE_LABEL} else {"problem_type": problem}),
        "num_labels": len(objective.labels),
        "id2label": dict(enumerate(objective.labels)),
        "label2id": {label: index for index, label in enumerate(objective.labels)},
        "ignore_mismatched_sizes": True,  # a head for another number of classes is replaced
    }


def load_adapted(
    source: Source, objective: Objective, device: str, adapter: Path, quantisation: Quantisation | None = None
) -> "PeftModel":
    """Load the base model with a saved adapter through peft, in eval mode."""
    return with_adapter(load_base(source, objective, device, quantisation=quantisation), adapter)


def with_adapter(base: Base, adapter: Path) -> "PeftModel":
    """Put a saved adapter on a base model through peft, in eval mode."""
    from peft import PeftModel

    with quiet_libraries(ties=False):
        model: PeftModel = PeftModel.from_pretrained(base.model, str(adapter))
    return model.eval()
