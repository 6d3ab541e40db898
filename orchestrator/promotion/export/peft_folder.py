"""Exports adapters as plain PEFT folders for transformers and peft, independent of Loratory."""

import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.assets.models import load_pretrained
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import ModelError, UserError
from orchestrator.core.methods.catalogue import FULL, takers
from orchestrator.objective.protocol import Head
from orchestrator.promotion.candidates import Candidate
from orchestrator.tracking.cards.model_card import GateLine, model_card
from orchestrator.tracking.logged_models.adapters import CONFIG, AdapterCard, read_card
from orchestrator.tracking.logged_models.staging import stage_adapter
from orchestrator.training.model.adapters import WEIGHTS
from orchestrator.training.model.base_model import AUTO_CLASSES
from orchestrator.training.model.quiet import quiet_libraries

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def export_adapter(candidate: Candidate, target: Path, *, plain_scaling: bool = False) -> Path:
    """Write a trial's adapter, tokenizer and README to the new or empty folder ``target``; return the folder.

    Plain transformers and peft load the folder once as a check. On failure, the folder is removed.

    Args:
        candidate: the trial and its adapter.
        target: the folder; it is created if it does not exist.
        plain_scaling: convert an rsLoRA adapter to plain LoRA; see ``with_plain_scaling``.

    Raises:
        UserError: ``target`` is not empty, or ``plain_scaling`` has no meaning for the method.
        ModelError: plain peft does not load the complete adapter.
    """
    return export_folder(candidate.adapter, candidate.card, target, plain_scaling=plain_scaling)


def export_folder(
    adapter: Path, card: AdapterCard, target: Path, *, plain_scaling: bool = False, gates: Sequence[GateLine] = ()
) -> Path:
    """Write an adapter from its folder, as ``export_adapter`` does; return the folder.

    Args:
        adapter: the folder of the adapter.
        card: its card.
        target: the folder; it is created if it does not exist.
        plain_scaling: convert an rsLoRA adapter to plain LoRA; see ``with_plain_scaling``.
        gates: the gates of its promotion, for the README.

    Raises:
        UserError: ``target`` is not empty, or ``plain_scaling`` has no meaning for the method.
        ModelError: plain peft does not load the complete adapter.
    """
    if plain_scaling:
        require_rank_scaling(adapter, card)
    if card.is_function:
        with new_folder(target):
            stage_adapter(adapter, card, target)
        return target
    card = replace(card, rslora=False) if plain_scaling else card
    with new_folder(target):
        stage_adapter(adapter, card, target)
        if plain_scaling:
            file = target / CONFIG
            config = with_plain_scaling(json.loads(file.read_text(encoding="utf-8")))
            file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        if gates:
            (target / "README.md").write_text(model_card(read_card(target), gates), encoding="utf-8")
        _require_loadable(target, card)
    return target


@contextmanager
def new_folder(target: Path) -> Iterator[None]:
    """Make way for a new folder ``target``; remove the files of a failed block.

    Raises:
        UserError: ``target`` is not empty.
    """
    _prepare_folder(target)
    try:
        yield
    except BaseException:  # also on an interrupt: an incomplete export looks like a complete one
        shutil.rmtree(target, ignore_errors=True)
        raise


def require_rank_scaling(adapter: Path, card: AdapterCard) -> None:
    """Raise ``UserError`` unless alpha and rank decide the scaling of an adapter, as in LoRA.

    Args:
        adapter: the folder of the adapter.
        card: its card. Cards of early versions do not name the method; the folder does.
    """
    if card.is_function:
        found = "a function trained this model, and it decides about scalings"
    else:
        method = card.method or str(json.loads((adapter / CONFIG).read_text(encoding="utf-8"))["peft_type"]).lower()
        if method in takers("rslora"):
            return
        found = f"this adapter has the method {method}" if method != FULL else "full fine-tuning has no adapter"
    raise UserError(
        f"--plain-scaling converts rsLoRA's scaling of the method {', '.join(takers('rslora'))}, but {found}; "
        "export without --plain-scaling"
    )


def with_plain_scaling(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of an rsLoRA adapter, converted to plain LoRA with equal outputs.

    The scaling alpha / sqrt(rank) equals alpha' / rank with alpha' = alpha * sqrt(rank). The patterns for single
    layers are converted too.
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


def _require_loadable(folder: Path, card: AdapterCard) -> None:
    """Raise ``ModelError`` unless the adapter's tensors are exactly the tensors expected by plain peft.

    The base model is loaded to the ``meta`` device and takes no memory, except for methods that read its weights.
    """
    import transformers
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    local = Path(card.base_path).is_dir()
    source = Source(origin=Origin.LOCAL if local else Origin.HUB, name=card.base_path, revision=card.base.revision)
    heads = {"num_labels": len(card.labels), "ignore_mismatched_sizes": True} if card.labels else {}
    auto = getattr(transformers, AUTO_CLASSES[Head(card.head)])
    with quiet_libraries():
        try:
            model = _loaded(partial(load_pretrained, auto, source, trust_remote_code=False, **heads), folder)
        except (RuntimeError, ValueError, KeyError) as error:  # shapes or names do not match
            raise ModelError(f"{folder}: plain peft cannot load the adapter: {error}") from error
    with safe_open(folder / WEIGHTS, "pt") as file:
        differing = set(file.keys()) ^ set(get_peft_model_state_dict(model, save_embedding_layers=False))
    if differing:
        raise ModelError(
            f"{folder}: plain peft would load the adapter without {len(differing)} of its tensors, for example "
            f"{min(differing)}"
        )


def _loaded(load: "Callable[..., PreTrainedModel]", folder: Path) -> "PeftModel":
    """Return the base model with an adapter, without weights if the method allows it."""
    from peft import PeftModel

    try:
        model: PeftModel = PeftModel.from_pretrained(load(device_map="meta"), str(folder))
    except NotImplementedError:  # AdaLoRA and SHiRA compute with the weights
        model = PeftModel.from_pretrained(load(), str(folder))
    return model


def _prepare_folder(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"an export needs a new or an empty folder, got {target}")
    if target.exists():
        target.rmdir()
    target.parent.mkdir(parents=True, exist_ok=True)
