"""A base model's tokenizer as every part of the product uses it, and the token ids that the model takes from it.

A tokenizer, a model's configuration and its generation configuration each name a padding and an end token. Where they
differ, the tokenizer's count, because the tokenizer makes the rows.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from orchestrator.assets.models import load_pretrained, resolve_model
from orchestrator.core.data import Source
from orchestrator.core.errors import AssetError, ModelError

if TYPE_CHECKING:
    from transformers import GenerationConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


def load_tokenizer(source: Source, *, classifies: bool = True) -> "PreTrainedTokenizerBase":
    """Return the base model's tokenizer with a padding token and, for a classifier, the side on which rows are padded.

    Rows of a classifier are padded on the right, unless its head reads the last place of a row (XLNet). A tokenizer
    without a padding token pads with another of its special tokens; the one that the configuration names comes first.

    Args:
        source: the base model.
        classifies: whether its head classifies rows.

    Raises:
        AssetError: the model is missing or cannot be reached.
        ModelError: the tokenizer has no special token at all.
    """
    from transformers import AutoConfig, AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = load_pretrained(AutoTokenizer, source, trust_remote_code=False)
    config = load_pretrained(AutoConfig, source, trust_remote_code=False)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = _padding(tokenizer, config, source)
    if classifies:
        tokenizer.padding_side = "left" if reads_last_place(config) else "right"
    return tokenizer


def _padding(tokenizer: "PreTrainedTokenizerBase", config: "PretrainedConfig", source: Source) -> str:
    special = set(tokenizer.all_special_ids)
    wanted = (_written_padding(config), tokenizer.eos_token_id, tokenizer.unk_token_id, *sorted(special))
    found = next((token_id for token_id in wanted if token_id in special), None)
    if found is None:
        raise ModelError(
            f"{source}: its tokenizer has no padding token and no other special token to pad with. Set "
            "tokenizer.pad_token and save the tokenizer beside the model."
        )
    return str(tokenizer.convert_ids_to_tokens(found))


def _written_padding(config: "PretrainedConfig") -> int | None:
    """Return the padding token of a configuration; some classes (CodeGen's) have no such setting."""
    found: int | None = getattr(config.get_text_config(), "pad_token_id", None)
    return found


def reads_last_place(config: "PretrainedConfig") -> bool:
    """Return whether the classifier of this configuration reads the last place of a row, so that padding goes first."""
    if getattr(config, "summary_type", None) != "last":
        return False
    import inspect

    from transformers import AutoModelForSequenceClassification

    # Its code says whether it uses the setting. It is not built: that patches torch for all threads of the process.
    kind: Any = AutoModelForSequenceClassification._model_mapping[type(config)]
    return "SequenceSummary" in inspect.getsource(kind.__init__)


def use_tokens_of(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", *, classifies: bool) -> None:
    """Set the model's padding token, and the end token that an encoder-decoder classifies by, to the tokenizer's.

    Decoders that classify look for the last token that is no padding. Embeddings keep the padding index that they were
    made with: RoBERTa counts its positions from it.
    """
    config = model.config
    for part in (config, config.get_text_config()):
        part.pad_token_id = tokenizer.pad_token_id
    if classifies and config.is_encoder_decoder and tokenizer.eos_token_id is not None:
        config.eos_token_id = tokenizer.eos_token_id


def generation_config(source: Source, tokenizer: "PreTrainedTokenizerBase") -> "GenerationConfig":
    """Return the base model's generation configuration with the tokenizer's padding and with every end token."""
    from transformers import AutoConfig, GenerationConfig

    found = _stored_generation(source)
    if found is None:
        found = GenerationConfig.from_model_config(load_pretrained(AutoConfig, source, trust_remote_code=False))
    ends = [*end_tokens(source, tokenizer)]
    found.eos_token_id = ends[0] if len(ends) == 1 else ends or None
    found.pad_token_id = tokenizer.pad_token_id
    found._from_model_config = False  # or generate() would make it anew from the model's configuration
    return found


def end_tokens(source: Source, tokenizer: "PreTrainedTokenizerBase") -> tuple[int, ...]:
    """Return the ids at which generation ends: that of ``target_end``, then those that the model's files name."""
    stored = _stored_generation(source)
    named = [target_end(tokenizer), None if stored is None else stored.eos_token_id, _written_end(source)]
    return tuple(dict.fromkeys(token_id for value in named for token_id in _ids(value)))


def target_end(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """Return the token that ends a target: the end token, or the special token with which every text ends."""
    if tokenizer.eos_token_id is not None:
        return int(tokenizer.eos_token_id)
    ids = tokenizer(text_target="a")["input_ids"]
    return ids[-1] if ids and ids[-1] in tokenizer.all_special_ids else None


def token_notes(source: Source, tokenizer: "PreTrainedTokenizerBase", *, writes: bool) -> list[str]:
    """Return a sentence for each token that the tokenizer and the model's files name differently.

    Args:
        source: the base model.
        tokenizer: from ``load_tokenizer``.
        writes: whether the model writes; only then its end token matters.
    """
    from transformers import AutoConfig

    written = _written_padding(load_pretrained(AutoConfig, source, trust_remote_code=False))
    notes, pad, eos = [], tokenizer.pad_token_id, target_end(tokenizer)
    if written not in {None, pad}:
        notes.append(
            f"{source}: the tokenizer pads with {tokenizer.pad_token!r} ({pad}), the configuration has pad_token_id "
            f"{written}. Training, measurements and predict use {pad}; the README of an export sets it."
        )
    others = [token_id for token_id in end_tokens(source, tokenizer) if token_id != eos]
    if writes and others and eos not in [*_ids(_written_end(source))]:
        own, *told = (_told(tokenizer, token_id) for token_id in (eos, *others))
        notes.append(
            f"{source}: the tokenizer ends a text with {own}, the configuration with {', '.join(told)}. "
            f"Trials learn to end with {own}; generation ends at any of them."
        )
    return notes


def _told(tokenizer: "PreTrainedTokenizerBase", token_id: int | None) -> str:
    token = None if token_id is None else tokenizer.convert_ids_to_tokens(token_id)
    return f"{token_id}, which is no token of its own" if token is None else f"{token!r} ({token_id})"


def _stored_generation(source: Source) -> "GenerationConfig | None":
    """Return the generation configuration that lies beside the model; None if there is none."""
    from transformers import GenerationConfig

    try:
        found: GenerationConfig = load_pretrained(GenerationConfig, source)
    except (OSError, AssetError):  # a model needs none
        return None
    return found


def _written_end(source: Source) -> Any:  # noqa: ANN401  (a JSON value)
    """Return ``eos_token_id`` of ``config.json`` itself: a class's default knows nothing of the vocabulary."""
    from transformers import PretrainedConfig

    return PretrainedConfig.get_config_dict(resolve_model(source), revision=source.revision)[0].get("eos_token_id")


def _ids(value: Any) -> Iterator[int]:  # noqa: ANN401  (None, an id or a list of ids)
    for token_id in value if isinstance(value, list | tuple) else [value]:
        if isinstance(token_id, int) and token_id >= 0:
            yield token_id
