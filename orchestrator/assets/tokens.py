"""Loads a base model's tokenizer, and sets the model's special tokens to the tokenizer's.

A tokenizer, a model's configuration and its generation configuration each define a padding and an end token. If they
differ, the tokenizer's are used, because the tokenizer produces the rows.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from orchestrator.assets.models import load_pretrained, resolve_model
from orchestrator.core.data import Source
from orchestrator.core.errors import AssetError, ModelError

if TYPE_CHECKING:
    from transformers import GenerationConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


def load_tokenizer(source: Source, *, classifies: bool = True) -> "PreTrainedTokenizerBase":
    """Return the base model's tokenizer with a padding token and, for a classifier, a padding side.

    Rows of a classifier are padded on the right, unless its head reads the last position of a row (XLNet). A tokenizer
    without a padding token gets one of its special tokens, preferably the padding token of the configuration.

    Args:
        source: the base model.
        classifies: whether the head classifies rows.

    Raises:
        AssetError: the model is missing or cannot be reached.
        ModelError: the tokenizer has no special token.
    """
    from transformers import AutoConfig, AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = load_pretrained(AutoTokenizer, source, trust_remote_code=False)
    config = load_pretrained(AutoConfig, source, trust_remote_code=False)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = _padding(tokenizer, config, source)
    if classifies:
        tokenizer.padding_side = "left" if reads_last_position(config) else "right"
    return tokenizer


def _padding(tokenizer: "PreTrainedTokenizerBase", config: "PretrainedConfig", source: Source) -> str:
    special = set(tokenizer.all_special_ids)
    preferred = (_config_padding(config), tokenizer.eos_token_id, tokenizer.unk_token_id, *sorted(special))
    padding = next((token_id for token_id in preferred if token_id in special), None)
    if padding is None:
        raise ModelError(
            f"{source}: the tokenizer has no padding token and no other special token. Set tokenizer.pad_token and "
            "save the tokenizer with the model."
        )
    return str(tokenizer.convert_ids_to_tokens(padding))


def _config_padding(config: "PretrainedConfig") -> int | None:
    """Return the padding token of a configuration; None for classes without this attribute (CodeGen)."""
    padding: int | None = getattr(config.get_text_config(), "pad_token_id", None)
    return padding


def reads_last_position(config: "PretrainedConfig") -> bool:
    """Return whether the configuration's classifier reads the last position of a row and needs padding on the left."""
    if getattr(config, "summary_type", None) != "last":
        return False
    import inspect

    from transformers import AutoModelForSequenceClassification

    # The source code shows the use of the setting. Building the model would patch torch for all threads.
    kind: Any = AutoModelForSequenceClassification._model_mapping[type(config)]
    return "SequenceSummary" in inspect.getsource(kind.__init__)


def use_tokens_of(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", *, classifies: bool) -> None:
    """Set the model's padding token, and the end token of a classifying encoder-decoder, to the tokenizer's.

    A classifying decoder reads the last token before the padding. The padding index of embeddings is not changed:
    RoBERTa counts its positions from it.
    """
    config = model.config
    for part in (config, config.get_text_config()):
        part.pad_token_id = tokenizer.pad_token_id
    if classifies and config.is_encoder_decoder and tokenizer.eos_token_id is not None:
        config.eos_token_id = tokenizer.eos_token_id


def generation_config(source: Source, tokenizer: "PreTrainedTokenizerBase") -> "GenerationConfig":
    """Return the base model's generation configuration with the tokenizer's padding token and all end tokens."""
    from transformers import AutoConfig, GenerationConfig

    config = _stored_generation(source)
    if config is None:
        config = GenerationConfig.from_model_config(load_pretrained(AutoConfig, source, trust_remote_code=False))
    ends = [*end_tokens(source, tokenizer)]
    config.eos_token_id = ends[0] if len(ends) == 1 else ends or None
    config.pad_token_id = tokenizer.pad_token_id
    config._from_model_config = False  # otherwise generate() rebuilds it from the model's configuration
    return config


def end_tokens(source: Source, tokenizer: "PreTrainedTokenizerBase") -> tuple[int, ...]:
    """Return the ids of tokens ending a generation: ``target_end`` first, then those of the model's files."""
    stored = _stored_generation(source)
    values = [target_end(tokenizer), None if stored is None else stored.eos_token_id, _config_end(source)]
    return tuple(dict.fromkeys(token_id for value in values for token_id in _ids(value)))


def target_end(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """Return the id of a target's last token: the end token, or the special token at the end of every text."""
    if tokenizer.eos_token_id is not None:
        return int(tokenizer.eos_token_id)
    ids = tokenizer(text_target="a")["input_ids"]
    return ids[-1] if ids and ids[-1] in tokenizer.all_special_ids else None


def token_notes(source: Source, tokenizer: "PreTrainedTokenizerBase", *, writes: bool) -> list[str]:
    """Return a sentence for each special token with different ids in the tokenizer and the model's files.

    Args:
        source: the base model.
        tokenizer: from ``load_tokenizer``.
        writes: whether the model generates text; the end token is checked only then.
    """
    from transformers import AutoConfig

    config_pad = _config_padding(load_pretrained(AutoConfig, source, trust_remote_code=False))
    notes, pad, eos = [], tokenizer.pad_token_id, target_end(tokenizer)
    if config_pad not in {None, pad}:
        notes.append(
            f"{source}: the tokenizer pads with {tokenizer.pad_token!r} ({pad}), the configuration has pad_token_id "
            f"{config_pad}. Training, evaluation and predict use {pad}; the README of an export sets it."
        )
    others = [token_id for token_id in end_tokens(source, tokenizer) if token_id != eos]
    if writes and others and eos not in [*_ids(_config_end(source))]:
        own, *configured = (_token_text(tokenizer, token_id) for token_id in (eos, *others))
        notes.append(
            f"{source}: the tokenizer ends a text with {own}, the configuration with {', '.join(configured)}. "
            f"Trials learn to end with {own}; generation ends at any of them."
        )
    return notes


def _token_text(tokenizer: "PreTrainedTokenizerBase", token_id: int | None) -> str:
    token = None if token_id is None else tokenizer.convert_ids_to_tokens(token_id)
    return f"{token_id}, which the tokenizer does not have" if token is None else f"{token!r} ({token_id})"


def _stored_generation(source: Source) -> "GenerationConfig | None":
    """Return the generation configuration stored with the model; None if there is none."""
    from transformers import GenerationConfig

    try:
        config: GenerationConfig = load_pretrained(GenerationConfig, source)
    except (OSError, AssetError):  # the file is optional
        return None
    return config


def _config_end(source: Source) -> object:
    """Return ``eos_token_id`` from ``config.json``; the class's default may not fit the vocabulary."""
    from transformers import PretrainedConfig

    config = PretrainedConfig.get_config_dict(resolve_model(source), revision=source.revision)[0]
    end: object = config.get("eos_token_id")
    return end


def _ids(value: object) -> Iterator[int]:
    """Yield the ids in ``value``: None, an id or a list of ids."""
    for token_id in value if isinstance(value, list | tuple) else [value]:
        if isinstance(token_id, int) and token_id >= 0:
            yield token_id
