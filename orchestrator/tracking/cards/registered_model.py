"""Texts for the registry's pages in MLflow: the description of a registered model, and tables with space in them."""

import shlex
from typing import TYPE_CHECKING

from orchestrator.tracking.cards.measured_table import score
from orchestrator.tracking.cards.model_card import task

if TYPE_CHECKING:
    from orchestrator.tracking.logged_models.adapters import AdapterCard


def model_description(name: str, champion: int | None, card: "AdapterCard | None", metric: str | None) -> str:
    """Return what the model is, its champion with scores, how to load it, and where its history is.

    Args:
        name: the registered model.
        champion: the version with the alias ``champion``; None: there is none.
        card: the champion's card; None: there is no champion, or another program logged it.
        metric: the card's metric to show; None: none is known.
    """
    typed = shlex.quote(name)
    parts = [f"**{name}**" if card is None else f"**{name}**: {task(card)}"]
    if champion is None:
        parts.append("No version is the champion. Each version has a card of its own.")
    else:
        parts.append(f"**Champion: version {champion}**{_origin(card)} Each version has a card of its own.")
    if card is not None and metric is not None:
        parts.append(f"Its score: {score(card, metric)}.")
    if champion is not None:
        predict = f', or `python -m orchestrator predict {typed} "TEXT"`'
        is_function = card is not None and card.is_function
        parts.append(f'Load it: `mlflow.pyfunc.load_model("models:/{name}@champion")`{"" if is_function else predict}')
        parts.append(f"Go back to the champion before: `python -m orchestrator rollback {typed}`")
    parts.append(f"History, with dates, persons and reasons: `python -m orchestrator registry history {typed}`")
    return "\n\n".join(parts)


def spaced(text: str) -> str:
    """Return Markdown with space before each cell of a table but the first: MLflow's pages put none between columns."""
    return "\n".join(line.replace(" | ", " | &emsp;") if line.startswith("| ") else line for line in text.split("\n"))


def _origin(card: "AdapterCard | None") -> str:
    if card is None:
        return "."
    return f", trial {card.trial} of {card.sweep}{'' if card.is_function else f' over {card.base}'}."
