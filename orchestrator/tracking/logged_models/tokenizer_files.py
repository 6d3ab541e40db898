"""A base model's tokenizer and generation configuration, saved beside an adapter.

The tokenizer is saved as the trials use it, with padding token, padding side and all its files. Then the saved
tokenizer is loaded, and its tokens are compared with the original ones.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from orchestrator.assets.hub import hub_errors
from orchestrator.assets.model_files import TOKENIZER_FILES
from orchestrator.assets.models import load_pretrained
from orchestrator.assets.tokens import generation_config, load_tokenizer
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENIZER_CONFIG = "tokenizer_config.json"
_SETTINGS = (TOKENIZER_CONFIG, "tokenizer.json", "special_tokens_map.json", "added_tokens.json")
"""Files with a tokenizer's settings; the other files hold its vocabulary."""
_PROBES = (
    "The quick brown fox can't jump over 13 lazy dogs: naïve, café, 1,234.56!",
    "  Two  spaces\nand a new line\t\U0001f642 #tag @user http://example.org",
    "日本語の文 नमस्ते दुनिया Привет мир",
)
_WORDS = 200
"""Number of vocabulary tokens in the comparison."""


def stage_tokenizer(base_path: str, revision: str | None, folder: Path, *, classifies: bool) -> str:
    """Write the tokenizer of a base model to ``folder`` and return its padding side.

    Args:
        base_path: the base model's folder or hub id.
        revision: the revision of the hub id.
        folder: an existing folder.
        classifies: whether the adapter has a classification head; if not, the generation configuration is written too.

    Raises:
        ModelError: the written tokenizer differs from the original, or does not load.
    """
    local = Path(base_path).is_dir()
    source = Source(origin=Origin.LOCAL if local else Origin.HUB, name=base_path, revision=revision)
    tokenizer = load_tokenizer(source, classifies=classifies)
    tokenizer.model_input_names = _inputs(source, tokenizer)
    tokenizer.save_pretrained(folder)
    patterns = [*TOKENIZER_FILES, *tokenizer.vocab_files_names.values()]
    originals = _originals(source, patterns)
    # The published vocabulary: BertweetTokenizer cannot read the merges it saves.
    _copy(originals, folder, patterns, skip=_SETTINGS)
    problem = difference(tokenizer, folder)
    if problem is not None:  # the published settings may hold more than the saved ones
        _copy(originals, folder, patterns)
        problem = difference(tokenizer, folder)
    if problem is not None:
        raise ModelError(f"{folder}: the tokenizer of {base_path} does not load from its own files: {problem}")
    if not classifies:
        _save_generation(source, tokenizer, folder)
    return str(tokenizer.padding_side)


def _inputs(source: Source, tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """Return the model's input names, without token types if they are all 0 and the model has no table for them.

    GPT-2 would treat them as tokens and add an embedding at every position.
    """
    from transformers import AutoConfig

    config = load_pretrained(AutoConfig, source, trust_remote_code=False)
    types = tokenizer("a", return_token_type_ids=True)["token_type_ids"]
    if any(types) or getattr(config, "type_vocab_size", None):
        return [*tokenizer.model_input_names]
    return [name for name in tokenizer.model_input_names if name != "token_type_ids"]


def _originals(source: Source, patterns: Sequence[str]) -> Path:
    """Return the folder with the tokenizer's published files."""
    if source.origin is Origin.LOCAL:
        return Path(source.name)
    from huggingface_hub import snapshot_download

    with hub_errors(f"model {source}"):
        return Path(snapshot_download(source.name, revision=source.revision, allow_patterns=[*patterns]))


def _copy(base: Path, folder: Path, patterns: Sequence[str], *, skip: Sequence[str] = ()) -> None:
    for pattern in patterns:
        for file in base.glob(pattern):
            if file.is_file() and file.name not in skip:
                shutil.copyfile(file, folder / file.name)


def difference(tokenizer: "PreTrainedTokenizerBase", folder: Path) -> str | None:
    """Return the difference of the tokenizer loaded from ``folder``, in words; None if there is none."""
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001  (tokenizers raises plain Exception; the caller tells the message)
        return f"{type(error).__name__}: {error}"
    for probe in (*_PROBES, _words_of(tokenizer)):
        # Not verbose: transformers would warn of long probes.
        if loaded(probe, verbose=False)["input_ids"] != tokenizer(probe, verbose=False)["input_ids"]:
            return f"it gives other tokens for {shorten(probe, 60)!r}"
    return None if loaded.pad_token_id == tokenizer.pad_token_id else "it pads with another token"


def _words_of(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return a text of tokens spread over the vocabulary."""
    size = len(tokenizer)
    ids = sorted({step * (size - 1) // _WORDS for step in range(_WORDS + 1)})
    special = set(tokenizer.all_special_ids)
    return " ".join(tokenizer.batch_decode([[token_id] for token_id in ids if token_id not in special]))


def _save_generation(source: Source, tokenizer: "PreTrainedTokenizerBase", folder: Path) -> None:
    """Write the special tokens of generation. The base model's beams and penalties are left out, as in measurements."""
    from transformers import GenerationConfig

    config = generation_config(source, tokenizer)
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id")
    GenerationConfig(**{name: getattr(config, name) for name in names}).save_pretrained(folder)
