"""Adapters as plain PEFT folders that transformers and peft load without Loratory."""

from pathlib import Path

from orchestrator.core.errors import UserError
from orchestrator.promotion.candidates import Candidate
from orchestrator.tracking.adapters import stage_adapter


def export_adapter(candidate: Candidate, target: Path) -> Path:
    """Write a trial's adapter to the new or empty folder ``target``: weights, tokenizer, README; return the folder.

    Raises:
        UserError: there is something in ``target``.
    """
    return stage_adapter(candidate.adapter, candidate.card, _cleared(target))


def _cleared(target: Path) -> Path:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"an export needs a new or an empty folder, got {target}")
    if target.exists():
        target.rmdir()
    target.parent.mkdir(parents=True, exist_ok=True)
    return target
