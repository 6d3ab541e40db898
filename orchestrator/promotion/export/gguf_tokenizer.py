"""Writes a tokenizer to a GGUF model if llama.cpp can reproduce it: byte-level BPE with a known splitting rule.

llama.cpp knows the rule by which a tokenizer splits a text before its merges by a name. The table below follows the
regular expressions in llama.cpp's ``llama-vocab.cpp``; its converter finds the name by a digest of some encoded text.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.core.errors import UserError

if TYPE_CHECKING:
    from gguf import GGUFWriter, TokenType
    from transformers import PreTrainedTokenizerBase

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITS = {f"{_WORDS}\\p{{N}}{_REST}": "qwen2", f"{_WORDS}\\p{{N}}{{1,3}}{_REST}": "llama-bpe"}
"""llama.cpp's name by the regular expression of a ``Split`` before ``ByteLevel``."""
_MERGES_IGNORED = {"llama-bpe"}
"""Names with which llama.cpp takes a word of the vocabulary as it is, without its merges (``ignore_merges``)."""
_NORMALIZERS: Mapping[str, tuple[object, ...]] = {"qwen2": (None, {"type": "NFC"})}
"""Normalizers by name, where others than None are allowed: llama.cpp leaves the text as it is."""


def add_tokenizer(writer: "GGUFWriter", folder: Path, tokenizer: "PreTrainedTokenizerBase", vocab_size: int) -> None:
    """Add the tokenizer of a model's folder to a GGUF model.

    Args:
        writer: writer of the model.
        folder: holds ``tokenizer.json`` and ``tokenizer_config.json``.
        tokenizer: the same tokenizer, loaded.
        vocab_size: rows of the embedding; ids without a token are padding.

    Raises:
        UserError: llama.cpp cannot reproduce the tokenizer exactly.
    """
    import gguf

    stored = _stored(folder)
    name = splitting_rule(stored)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(name)
    texts, kinds = zip(*_tokens(stored, vocab_size), strict=True)
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    special = gguf.SpecialVocab(folder, load_merges=True, n_vocab=vocab_size)
    special.add_special_token = _added_around(tokenizer)
    special.add_to_gguf(writer, quiet=True)


def splitting_rule(stored: Mapping[str, Any]) -> str:
    """Return llama.cpp's name of a tokenizer's splitting rule.

    Args:
        stored: content of ``tokenizer.json``.

    Raises:
        UserError: there is none, or another part of the tokenizer has no place in GGUF.
    """
    model = stored["model"]
    if model["type"] != "BPE" or model.get("byte_fallback"):
        kind = "SentencePiece" if model.get("byte_fallback") else model["type"]
        raise _refused(f"it is {kind}, not byte-level BPE")
    name = _name(stored.get("pre_tokenizer"))
    if name is None:
        raise _refused("its rule to split a text has no name known here")
    if bool(model.get("ignore_merges")) != (name in _MERGES_IGNORED):
        raise _refused(f"llama.cpp's rule {name} and its setting ignore_merges do not fit together")
    if stored.get("normalizer") not in _NORMALIZERS.get(name, (None,)):
        raise _refused(f"it normalizes texts ({stored['normalizer']['type']}), llama.cpp does not")
    spaced = [
        each["content"]
        for each in stored.get("added_tokens", ())
        if each.get("lstrip") or each.get("rstrip") or each.get("single_word")
    ]
    if spaced:
        raise _refused(f"its token {spaced[0]!r} depends on the spaces around it")
    return name


def _name(pre_tokenizer: Mapping[str, Any] | None) -> str | None:
    steps = [] if pre_tokenizer is None else pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    if not steps or steps[-1]["type"] != "ByteLevel" or steps[-1]["add_prefix_space"]:
        return None
    by_words, before = steps[-1].get("use_regex", True), steps[:-1]
    if not before:
        return "gpt-2" if by_words else None
    if len(before) > 1:
        return None
    if before[0] == {"type": "Digits", "individual_digits": True}:
        return "smollm" if by_words else None
    if before[0]["type"] == "Split" and before[0]["behavior"] == "Isolated" and not before[0]["invert"]:
        return None if by_words else _SPLITS.get(before[0]["pattern"].get("Regex", ""))
    return None


def _tokens(stored: Mapping[str, Any], vocab_size: int) -> "Iterator[tuple[str, TokenType]]":
    """Yield text and type of each token by id."""
    from gguf import TokenType

    by_id = {number: text for text, number in stored["model"]["vocab"].items()}
    added = {each["id"]: each for each in stored.get("added_tokens", ())}
    for number in range(vocab_size):
        if number in added:
            special = TokenType.CONTROL if added[number]["special"] else TokenType.USER_DEFINED
            yield added[number]["content"], special
        elif number in by_id:
            yield by_id[number], TokenType.NORMAL
        else:
            yield f"[PAD{number}]", TokenType.UNUSED


def _added_around(tokenizer: "PreTrainedTokenizerBase") -> dict[str, bool]:
    """Return whether the tokenizer puts the first and the last token around a text.

    Raises:
        UserError: it adds others.
    """
    alone: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole: list[int] = tokenizer("a")["input_ids"]
    found = {
        "bos": bool(whole) and whole[0] == tokenizer.bos_token_id and whole[0] not in alone,
        "eos": bool(whole) and whole[-1] == tokenizer.eos_token_id and whole[-1] not in alone,
    }
    if len(whole) - len(alone) != sum(found.values()):
        raise _refused("it adds other tokens to a text than one at the start and one at the end")
    return found


def _stored(folder: Path) -> dict[str, Any]:
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise _refused("it has no tokenizer.json")
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _refused(reason: str) -> UserError:
    return UserError(
        f"--merge --gguf: the tokenizer cannot be carried exactly: {reason}; export with --merge only and convert "
        "that folder with llama.cpp's convert_hf_to_gguf.py"
    )
