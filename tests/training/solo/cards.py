"""The files which a staged adapter has beside its weights: tokenizer and card."""

import json
from pathlib import Path

from transformers import AutoTokenizer

from orchestrator.objective.protocol import Objective
from orchestrator.tracking.logged_models.adapters import AdapterCard
from tests.tracking.cards import made_card


def write_card(
    adapter: Path, model: Path, objective: Objective, *, samples: int, method: str | None = None
) -> AdapterCard:
    """Write the tokenizer of a base model and a card into an adapter's folder; return the card."""
    AutoTokenizer.from_pretrained(model).save_pretrained(adapter)
    labels = tuple(objective.labels)
    card = made_card(model, head=objective.head, labels=labels, samples=samples, method=method)
    (adapter / "loratory.json").write_text(json.dumps(card.to_json()))
    return card
