"""The base model's values of each row, for objectives that compare a trained model with it.

The base model is frozen, so one forward of each row serves all trials. The values are computed in float32 and stored in
the sweep's folder: every trial, process and resumed sweep reads the same numbers.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.manifest import sync
from orchestrator.evaluation.measure import predictions
from orchestrator.objective.protocol import REFERENCE, ComparesWithBase, Example, Objective
from orchestrator.objective.rows.encoded_rows import add_values, values_of
from orchestrator.training.data.encoding import PART
from orchestrator.training.model.base_model import load_base
from orchestrator.training.process.memory import free_memory
from orchestrator.training.process.random_state import kept_random_state

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FOLDER = "reference"
"""Folder of the stored values in a sweep's folder."""
logger = logging.getLogger(__name__)


def base_pairs(
    plan: EnginePlan,
    objective: Objective,
    tokenizer: "PreTrainedTokenizerBase",
    examples: Sequence[Example],
    device: str,
) -> list[Any]:
    """Return the objective's ``predictions`` of each row with the base model, from the sweep's folder if they exist.

    Args:
        plan: names the base model and the sweep's folder.
        objective: computes the predictions.
        tokenizer: pads rows.
        examples: encoded rows.
        device: ``cpu`` or ``cuda``.

    Raises:
        LoratoryError: the base model cannot be loaded.
    """
    file = Path(plan.sweep_dir) / FOLDER / f"{_digest(examples)}.json"
    if file.is_file():
        return list(json.loads(file.read_text(encoding="utf-8")))
    began = time.perf_counter()
    with kept_random_state():  # weights missing in the model's files are drawn at random
        base = load_base(plan.model, objective, device, quantisation=plan.quantisation)
        pairs = predictions(base.model, objective, examples, tokenizer)
    del base
    free_memory(device)
    logger.info("%d rows measured with the base model in %.1f s", len(examples), time.perf_counter() - began)
    return _stored(file, pairs)


def add_references(
    plan: EnginePlan,
    objective: Objective,
    tokenizer: "PreTrainedTokenizerBase",
    examples: Sequence[Example],
    device: str,
) -> None:
    """Add the base model's values to rows of an objective that compares with it, unless all rows have them.

    The rows are completed part by part, so that mapped rows stay mapped.

    Raises:
        LoratoryError: the base model cannot be loaded.
    """
    if not isinstance(objective, ComparesWithBase):
        return
    if all(value is not None for value in values_of(examples, REFERENCE)):
        return
    pairs, values = base_pairs(plan, objective, tokenizer, examples, device), list[Any]()
    for start in range(0, len(examples), PART):
        part = slice(start, start + PART)
        values += [complete[REFERENCE] for complete in objective.with_reference(examples[part], pairs[part])]
    add_values(examples, REFERENCE, values)


def _stored(file: Path, pairs: Sequence[Any]) -> list[Any]:
    """Write the values, unless another process was faster; return those in the file.

    Threads and batches change the last bits of a sum, so all processes use the values of the first one.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(pairs), encoding="utf-8")
    sync(unfinished)
    with suppress(FileExistsError):
        os.link(unfinished, file)
    unfinished.unlink()
    sync(file.parent)
    return list(json.loads(file.read_text(encoding="utf-8")))


def _digest(examples: Sequence[Example]) -> str:
    """Return a hash of all tokens and labels, in order."""
    found = hashlib.blake2b(digest_size=8)
    for example in examples:
        found.update(json.dumps([value for name, value in sorted(example.items()) if name != REFERENCE]).encode())
    return found.hexdigest()
