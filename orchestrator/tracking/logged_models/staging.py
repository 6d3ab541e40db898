"""Stage a trained adapter: write the folder for registration, export and serving.

A staged adapter is a standard PEFT folder with its tokenizer, a README, and ``loratory.json``.
"""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

from orchestrator.core.errors import UserError
from orchestrator.core.tasks.function import change_of
from orchestrator.tracking.cards.function_card import function_card
from orchestrator.tracking.cards.model_card import model_card
from orchestrator.tracking.logged_models.adapters import CARD, CONFIG, AdapterCard, read_card
from orchestrator.tracking.logged_models.tokenizer_files import TOKENIZER_CONFIG, stage_tokenizer

TEMPLATE = "chat_template.jinja"
"""The file of a chat template beside a tokenizer, as transformers names it."""
FUNCTION_FILE = "loratory_function.py"
"""The function's file in a staged checkpoint; ``function_model.py`` reads it."""


def stage_adapter(adapter: Path, card: AdapterCard, target: Path) -> Path:
    """Copy a trained adapter to the new folder ``target``, add tokenizer, card and README, and return the folder.

    The base model is not copied: ``adapter_config.json`` and the card refer to it.

    Raises:
        ModelError: the base model's tokenizer cannot be saved unchanged.
        UserError: the function's file is missing, or is not the one that trained the checkpoint.
    """
    shutil.copytree(adapter, target)
    if card.is_function:
        return _with_function(card, target)
    config = json.loads((target / CONFIG).read_text(encoding="utf-8"))
    config |= {"base_model_name_or_path": card.base_path, "revision": card.base.revision}
    (target / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    card = replace(card, padding_side=_tokenizer_of(card, target))
    (target / CARD).write_text(json.dumps(asdict(card), indent=2) + "\n", encoding="utf-8")
    (target / "README.md").write_text(model_card(card), encoding="utf-8")
    return target


def _with_function(card: AdapterCard, target: Path) -> Path:
    """Add the function's file, the card and the README to a checkpoint of a function, and return the folder."""
    if not (target / FUNCTION_FILE).is_file():  # else it was staged before
        change = change_of(card.base_path, card.function_digest)
        if change is not None:
            raise UserError(f"{change}: restore it as it was for {card.sweep}, because a checkpoint needs its own code")
        shutil.copy(card.base_path, target / FUNCTION_FILE)
    (target / CARD).write_text(json.dumps(asdict(card), indent=2) + "\n", encoding="utf-8")
    (target / "README.md").write_text(function_card(card), encoding="utf-8")
    return target


def _tokenizer_of(card: AdapterCard, target: Path) -> str:
    """Write the tokenizer if it is missing, and return the padding side of a classifier's rows."""
    if (target / TOKENIZER_CONFIG).is_file():  # the folder was staged before
        return read_card(target).padding_side if (target / CARD).is_file() else card.padding_side
    classifies = bool(card.labels)
    side = stage_tokenizer(card.base_path, card.base.revision, target, classifies=classifies)
    if card.chat:
        _stage_template(card, target)
    return side if classifies else card.padding_side


def _stage_template(card: AdapterCard, target: Path) -> None:
    """Write the given chat template, and add the token that ends an assistant's turn to the end tokens."""
    from transformers import AutoTokenizer, GenerationConfig

    from orchestrator.objective.chat import Renderer

    if card.chat_template is not None:
        (target / TEMPLATE).write_text(card.chat_template, encoding="utf-8")
    end = Renderer.create(AutoTokenizer.from_pretrained(target)).end
    config = GenerationConfig.from_pretrained(target)
    known = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    if end not in known:
        config.eos_token_id = [end, *(token for token in known if token is not None)]
        config.save_pretrained(target)
