"""The README of a function's checkpoint, and its text for the registry's page."""

from typing import TYPE_CHECKING

from orchestrator.tracking.cards.measured_table import measured
from orchestrator.tracking.cards.model_card import task

if TYPE_CHECKING:
    from orchestrator.tracking.logged_models.adapters import AdapterCard


def function_card(card: "AdapterCard") -> str:
    """Return the README in Markdown."""
    seed = "" if card.seed is None else f", seed {card.seed}"
    params = "\n".join(f"| {name} | {value} |" for name, value in card.params.items())
    return f"""# {card.objective}: a trained model

Trial {card.trial} of the sweep {card.sweep}, its best checkpoint (after {card.samples:,} training samples{seed}).
{task(card)}
The code is in `loratory_function.py`.

## Measured

{measured(card)}

## Limits

- The function read its data itself, so no rows and no licences are recorded here.

## Configuration

| parameter | value |
|---|---|
{params}
"""
