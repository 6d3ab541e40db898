"""Merges an adapter into its base model: one folder for plain transformers, without peft."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.core.errors import ModelError, UserError
from orchestrator.core.methods.catalogue import FULL, METHODS
from orchestrator.core.methods.quantisation import format_of
from orchestrator.core.sweeps.plan import Precision, WeightFormat
from orchestrator.evaluation.measure import forward
from orchestrator.promotion.export.peft_folder import new_folder
from orchestrator.tracking.cards.model_card import GateLine, merged_card
from orchestrator.tracking.logged_models.adapters import AdapterCard
from orchestrator.tracking.logged_models.runners import format_refusals, load_base_in, runner_class
from orchestrator.training.model.quiet import quiet_libraries

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

PROBES = ("a short text", "A longer text, with numbers (1,234.56) and names such as Anna or Tokyo.")
TOLERANCES: Mapping[Precision, float] = {Precision.FLOAT32: 1e-3, Precision.BFLOAT16: 0.1}
"""Largest difference of the logits after merging, relative to the largest logit."""


def export_merged(
    adapter: Path,
    card: AdapterCard,
    target: Path,
    gates: Sequence[GateLine] = (),
    precision: WeightFormat = Precision.FLOAT32,
) -> Path:
    """Write the base model with the adapter merged into its weights to ``target``; return the folder.

    The folder has the tokenizer and the class names. It is loaded once, and its logits are compared.

    Args:
        adapter: a staged adapter.
        card: its card; ``base_path`` is the base model on this machine.
        target: a new or empty folder.
        gates: the gates of its promotion, for the README.
        precision: number format of the base weights in memory, and of all written weights.

    Raises:
        UserError: ``target`` is not empty, the base model is quantised, the method cannot be merged, or torch cannot
            compute the model in bfloat16.
        ModelError: the merged model has other logits.
    """
    if card.quantisation is not None:
        raise UserError(
            f"--merge: the base model was in {format_of(card.quantisation).bits} bits, and merged weights would be "
            "rounded to them; export without --merge"
        )
    method = _method(adapter)
    if method is not None and not METHODS[method].merges:
        raise UserError(f"--merge: peft cannot merge {method} into the base model; export without --merge")
    runs = runner_class(card.head)
    import torch
    import transformers

    from orchestrator.tracking.logged_models.adapter_model import AUTO_CLASSES

    with new_folder(target), quiet_libraries(ties=card.method != FULL), format_refusals(precision):
        runner = runs(adapter, card.base_path, model=load_base_in(precision, card))
        before = _logits(runner.model, runner.tokenizer, card.head)
        tied = card.method == FULL and runner.model.config.tie_word_embeddings
        merged = runner.model.merge_and_unload()
        if tied:  # the copies are equal, and peft unties them
            merged.config.tie_word_embeddings = True
            merged.tie_weights()
        merged.to(getattr(torch, precision)).save_pretrained(target)
        runner.tokenizer.save_pretrained(target)
        (target / "README.md").write_text(merged_card(card, gates), encoding="utf-8")
        del runner, merged  # the written model needs the memory
        auto = getattr(transformers, AUTO_CLASSES[card.head])
        tokenizer = transformers.AutoTokenizer.from_pretrained(target)
        after = _logits(auto.from_pretrained(target, dtype=precision.value).eval(), tokenizer, card.head)
        for text, one, other in zip(PROBES, before, after, strict=True):
            largest = float((one - other).abs().max())
            if not largest <= TOLERANCES[precision] * float(one.abs().max()):
                raise ModelError(f"{target}: the merged model's logits for {text!r} differ by {largest:.2g}")
    return target


def _method(adapter: Path) -> str | None:
    """Return the method of a staged adapter; None if it is none of ours."""
    name = str(json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["peft_type"]).lower()
    return name if name in METHODS else None


def _logits(model: "torch.nn.Module", tokenizer: "PreTrainedTokenizerBase", head: str) -> "list[torch.Tensor]":
    """Return the logits of each probe."""
    import torch

    found = []
    with torch.inference_mode():
        for text in PROBES:
            ids = tokenizer(text, return_tensors="pt")["input_ids"]
            decoder = {"decoder_input_ids": ids[:, :1]} if head == "seq2seq_lm" else {}
            found.append(forward(model, {"input_ids": ids, **decoder}).float())
    return found
