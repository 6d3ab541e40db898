"""Sample packing: the rows of a micro-batch stand one after another in few sequences, without attention between rows.

B: rows; P: packed sequences; T: tokens of the longest one. Position ids start again at every row. Without an attention
mask, transformers computes a block-diagonal one from them (``masking_utils.find_packed_sequence_indices``). A model
that builds its masks in another way would let rows attend to each other, so ``require_packing`` tries it first.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.core.errors import ModelError, UserError
from orchestrator.objective.language_modelling import CausalLM
from orchestrator.objective.padding import IGNORED
from orchestrator.objective.protocol import Example, Objective

if TYPE_CHECKING:
    import torch

_LENGTHS = (5, 3)
"""Tokens of the rows that try a model."""


def pack_rows(examples: Sequence[Example], max_length: int) -> "dict[str, Any]":
    """Return ``input_ids_PT``, ``position_ids_PT``, ``labels_PT`` and ``use_cache`` of a causal model's rows.

    Rows are placed by first-fit decreasing. Padding has position 0 and the label −100. So has the first token of each
    row, because no token of the row predicts it.

    Args:
        examples: encoded rows with ``input_ids`` and ``labels`` of one length, at most ``max_length``.
        max_length: most tokens of a packed sequence.
    """
    import torch

    bins: list[list[Example]] = []
    used: list[int] = []
    for example in sorted(examples, key=lambda row: -len(row["input_ids"])):
        length = len(example["input_ids"])
        place = next((at for at, tokens in enumerate(used) if tokens + length <= max_length), len(bins))
        if place == len(bins):
            bins.append([])
            used.append(0)
        bins[place].append(example)
        used[place] += length

    def tensor(sequences: Sequence[list[int]], padding: int) -> "torch.Tensor":
        return torch.tensor([[*sequence, *[padding] * (max(used) - len(sequence))] for sequence in sequences])

    return {
        "input_ids": tensor([[token for row in rows for token in row["input_ids"]] for rows in bins], 0),
        "position_ids": tensor([[at for row in rows for at in range(len(row["input_ids"]))] for rows in bins], 0),
        "labels": tensor(
            [[label for row in rows for label in (IGNORED, *row["labels"][1:])] for rows in bins], IGNORED
        ),
        "use_cache": False,  # with a cache, transformers does not look for packed rows
    }


def require_packing(model: "torch.nn.Module", objective: Objective, name: str) -> None:
    """Raise an error if a model or its objective cannot be trained on packed rows.

    Raises:
        UserError: the objective is not a ``CausalLM``.
        ModelError: the logits of two rows change if the rows are packed.
    """
    import torch

    if not isinstance(objective, CausalLM):  # others have rows of another form
        raise UserError(f"data.packing: objective {objective.name} has no rows of a causal model; remove this key")
    device = next(model.parameters()).device
    rows: list[Example] = [{"input_ids": [*range(1, 1 + n)], "labels": [IGNORED] * n} for n in _LENGTHS]
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            batches = (pack_rows(some, sum(_LENGTHS)) for some in (rows, *([row] for row in rows)))
            whole, *alone = (_logits(model, batch, device) for batch in batches)
    finally:
        model.train(training)
    apart = torch.cat(alone, dim=1)
    # Virtual tokens of prompt tuning add logits to each sequence.
    if whole.shape != apart.shape or not torch.allclose(whole, apart, rtol=1e-3, atol=1e-3 * float(apart.abs().max())):
        raise ModelError(
            f"data.packing: the model {name} lets packed rows attend to each other, so they would be trained wrongly. "
            "Remove this key"
        )


def _logits(model: "torch.nn.Module", batch: "dict[str, Any]", device: "torch.device") -> "torch.Tensor":
    given = {key: value.to(device) if hasattr(value, "to") else value for key, value in batch.items()}
    del given["labels"]
    logits: torch.Tensor = model(**given).logits
    return logits.float()
