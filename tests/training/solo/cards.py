"""The files which a staged adapter has beside its weights: tokenizer and card."""

import json
from pathlib import Path

from transformers import AutoTokenizer

from orchestrator.core.data import Origin, Source
from orchestrator.objective.protocol import Objective
from orchestrator.tracking.logged_models.adapters import AdapterCard


def write_card(
    adapter: Path, model: Path, objective: Objective, *, samples: int, method: str | None = None
) -> AdapterCard:
    """Write the tokenizer of a base model and a card into an adapter's folder; return the card."""
    AutoTokenizer.from_pretrained(model).save_pretrained(adapter)
    card = AdapterCard(
        base=Source(origin=Origin.LOCAL, name=str(model)),
        base_path=str(model),
        head=objective.head,
        labels=tuple(objective.labels),
        max_length=32,
        objective="tiny",
        sweep="tiny#1",
        sweep_key="",
        trial=0,
        samples=samples,
        measured_at=0.0,
        method=method,
    )
    (adapter / "loratory.json").write_text(json.dumps(card.to_json()))
    return card
