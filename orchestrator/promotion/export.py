"""Adapters as plain PEFT folders that transformers and peft load without Loratory."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.core.errors import UserError
from orchestrator.promotion.candidates import Candidate
from orchestrator.tracking.adapters import CONFIG, stage_adapter


def export_adapter(candidate: Candidate, target: Path, *, plain_scaling: bool = False) -> Path:
    """Write a trial's adapter to the new or empty folder ``target``: weights, tokenizer, README; return the folder.

    Args:
        candidate: the trial and its adapter.
        target: is made if it does not exist.
        plain_scaling: write an rsLoRA adapter as a plain one; see ``with_plain_scaling``. Others are left as they are.

    Raises:
        UserError: there is something in ``target``.
    """
    card = replace(candidate.card, rslora=False) if plain_scaling else candidate.card
    folder = stage_adapter(candidate.adapter, card, _cleared(target))
    if plain_scaling:
        file = folder / CONFIG
        config = with_plain_scaling(json.loads(file.read_text(encoding="utf-8")))
        file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return folder


def with_plain_scaling(config: dict[str, Any]) -> dict[str, Any]:
    """Return peft's configuration of an rsLoRA adapter as one of plain LoRA that computes the same.

    alpha / sqrt(rank) is alpha * sqrt(rank) / rank. Ranks and alphas of single layers are turned likewise.
    """
    if not config.get("use_rslora"):
        return config
    rank, alpha = config["r"], config["lora_alpha"]
    ranks, alphas = config.get("rank_pattern") or {}, config.get("alpha_pattern") or {}
    own = {
        layers: alphas.get(layers, alpha) * math.sqrt(ranks.get(layers, rank))
        for layers in dict.fromkeys((*ranks, *alphas))
    }
    return {**config, "use_rslora": False, "lora_alpha": alpha * math.sqrt(rank), "alpha_pattern": own}


def _cleared(target: Path) -> Path:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"an export needs a new or an empty folder, got {target}")
    if target.exists():
        target.rmdir()
    target.parent.mkdir(parents=True, exist_ok=True)
    return target
