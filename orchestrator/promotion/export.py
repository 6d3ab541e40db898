"""Adapters as plain PEFT folders that transformers and peft load without Loratory."""

import shutil
from pathlib import Path

from orchestrator.core.errors import UserError
from orchestrator.promotion.candidates import Candidate
from orchestrator.tracking.adapters import stage_adapter
from orchestrator.tracking.location import Location
from orchestrator.tracking.registry import ModelReference, Registry


def export_adapter(candidate: Candidate, target: Path) -> Path:
    """Write a trial's adapter to the new or empty folder ``target``: weights, tokenizer, README; return the folder.

    Raises:
        UserError: there is something in ``target``.
    """
    return stage_adapter(candidate.adapter, candidate.card, _cleared(target))


def export_version(reference: ModelReference, location: Location, target: Path) -> Path:
    """Write a registered version's adapter to the new or empty folder ``target`` and return the folder.

    Raises:
        UserError: there is something in ``target``, or there is no such version.
    """
    registry = Registry(location)
    adapter = registry.download(registry.get(reference))
    shutil.copytree(adapter, _cleared(target))
    return target


def _cleared(target: Path) -> Path:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"an export needs a new or an empty folder, got {target}")
    if target.exists():
        target.rmdir()
    target.parent.mkdir(parents=True, exist_ok=True)
    return target
