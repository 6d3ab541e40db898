"""Check, before the first trial, whether a base model, its tokenizer and the task fit together.

Nothing is trained, and no weights are loaded: on torch's ``meta`` device a model has only names and shapes of tensors.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from orchestrator.assets.models import load_pretrained, require_model, resolve_model
from orchestrator.assets.tokens import load_tokenizer, target_end, token_notes
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import DataError, LoratoryError, ModelError, first_line
from orchestrator.objective.generation import TextGeneration
from orchestrator.objective.loading import finds_classes, with_classes
from orchestrator.objective.protocol import Head, Objective, Splits
from orchestrator.objective.rows.converted import row_parts
from orchestrator.objective.rows.selection import first_rows
from orchestrator.objective.rows.text_pairs import row_texts
from orchestrator.spec.sections.possible import possible
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.training.checks.positions import require_positions
from orchestrator.training.model.base_model import Base, with_head
from orchestrator.training.model.quiet import quiet_libraries
from orchestrator.training.model.structure import as_base, without_weights

if TYPE_CHECKING:
    import datasets
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_HEADS = {
    Head.SEQUENCE_CLASSIFICATION: "sequence classification",
    Head.TOKEN_CLASSIFICATION: "token classification",
    Head.QUESTION_ANSWERING: "question answering",
    Head.CAUSAL_LM: "causal language modelling",
    Head.SEQ2SEQ_LM: "sequence-to-sequence language modelling",
}
_BOTH_SIDES = {"bert-generation", "xlnet"}
"""Bidirectional model types without a head for masked language modelling."""
_LONGEST_ROW_CUT = {"t5gemma", "t5gemma2"}
"""Encoder-decoders whose classifiers read a row without its last token if it is the longest row of its batch."""
_UNKNOWN_ROWS = 200
"""Number of rows checked for unknown tokens; these depend on the language of the data, not on single rows."""
_MANY_UNKNOWN = 0.1
"""Fraction of unknown tokens above which a note is returned."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedModel:
    """A base model compatible with the task; its rows are not checked yet.

    Attributes:
        source: the base model.
        tokenizer: the model's tokenizer, as in trials.
        embedding_rows: number of token ids with an embedding.
        one_end: the end token from which an encoder-decoder classifies a row; None for other models.
        structure: the model without weights; None for a quantised model.
        weights: number of the model's weights.
        notes: remarks for the user, a sentence each.
    """

    source: Source
    tokenizer: "PreTrainedTokenizerBase"
    embedding_rows: int
    one_end: str | None
    structure: Base | None
    weights: int
    notes: tuple[str, ...]

    def check_rows(self, splits: Splits, max_length: int) -> tuple[str, ...]:
        """Check the rows; return remarks on their tokens.

        Raises:
            ModelError: all tokens of the texts are unknown, or some have no embedding.
            DataError: texts contain the end token from which the model classifies.
        """
        rows = (splits.train, splits.validation, splits.test, *splits.shift.values())
        if self._largest(rows, max_length) >= self.embedding_rows:
            raise ModelError(
                f"{self.source}: the tokenizer has {len(self.tokenizer)} tokens, the model's embedding has "
                f"{self.embedding_rows} rows, and texts of the data hold tokens beyond them. Call "
                "model.resize_token_embeddings(len(tokenizer)) and save the model, or use the model's own tokenizer."
            )
        self._require_no_end(splits)
        fraction = self._unknown_fraction(splits.train)
        if fraction == 1.0:
            raise ModelError(
                f"{self.source}: the tokenizer knows no token of the texts; every word becomes "
                f"{self.tokenizer.unk_token}. Name a model for the language of the data."
            )
        if fraction > _MANY_UNKNOWN:
            unknown = f"unknown to the tokenizer ({self.tokenizer.unk_token})"
            problem = f"{fraction:.0%} of the tokens of the texts are {unknown}"
            return (f"{self.source}: {problem}. Consider a model for the language of the data.",)
        return ()

    def _require_no_end(self, splits: Splits) -> None:
        """Refuse texts containing the end token: the model raises if rows of a batch have different numbers of it."""
        if self.one_end is None:
            return
        for name, rows in splits.by_name().items():
            texts = [text for text in row_texts(rows) if self.one_end in text]
            if texts:
                raise DataError(
                    f"{self.source}: the model classifies a row by its end token {self.one_end!r}, and {len(texts)} "
                    f"of the {len(rows)} texts of {name} contain it: {shorten(texts[0], 60)!r}. Remove it from the "
                    "texts, or name another model."
                )

    def _largest(self, rows: "Iterable[datasets.Dataset]", max_length: int) -> int:
        """Return the largest token id in texts and targets; 0 if the whole vocabulary has embeddings."""
        if len(self.tokenizer) <= self.embedding_rows:
            return 0
        return max((max(ids, default=0) for some in rows for ids in self._ids(some, max_length)), default=0)

    def _unknown_fraction(self, rows: "datasets.Dataset") -> float:
        unknown = self.tokenizer.unk_token_id
        if unknown is None:
            return 0.0
        tokens = [token_id for ids in self._ids(first_rows(rows, _UNKNOWN_ROWS), None) for token_id in ids]
        return tokens.count(unknown) / len(tokens) if tokens else 0.0

    def _ids(self, rows: "datasets.Dataset", max_length: int | None) -> Iterator[Sequence[int]]:
        for name, feature in rows.features.items():
            if getattr(feature, "dtype", None) == "string" and name != "group":
                cut = max_length is not None
                for part in row_parts(rows, [name], {}):
                    texts = part.columns[name]
                    given = self.tokenizer(
                        texts, truncation=cut, max_length=max_length, add_special_tokens=False, verbose=False
                    )
                    yield from given["input_ids"]


def checked_splits(spec: SweepSpec, objective: Objective) -> tuple[Objective, Splits, CheckedModel]:
    """Return the objective with its classes, the rows, and the base model, with remarks on both.

    The model is checked first, because reading the rows takes longer; except if the classes are found in the rows,
    because the model's head depends on them.

    Raises:
        AssetError: the data or the model is missing.
        DataError: the data breaks a rule.
        ModelError: the model is damaged, or does not fit the task, the rows or their length.
    """
    longest = max(int(str(trial["max_length"])) for trial in possible(spec.space, spec.fixed, ("max_length",)))
    splits = None
    if finds_classes(objective):
        splits = objective.splits(spec.data)
        objective = with_classes(objective, splits.summary.classes)
        if not objective.labels:
            raise DataError(f"objective {objective.name}: it states no labels, and its splits() found none in the data")
    checked = check_model(spec.model, objective, longest)
    splits = splits or objective.splits(spec.data)
    return objective, splits, replace(checked, notes=(*checked.notes, *checked.check_rows(splits, longest)))


def check_model(source: Source, objective: Objective, max_length: int) -> CheckedModel:
    """Check a base model for a task.

    Args:
        source: the base model.
        objective: the task.
        max_length: maximum number of tokens per row in the search space.

    Raises:
        AssetError: the model is missing.
        ModelError: its files are damaged or contradict each other, or the model does not fit the task.
    """
    require_model(source)
    config = _config(source)
    _require_head(source, config, objective)
    classifies = objective.head.classifies
    by_end = objective.head is Head.SEQUENCE_CLASSIFICATION and config.is_encoder_decoder
    if by_end and config.model_type in _LONGEST_ROW_CUT:
        raise ModelError(
            f"{source}: a {config.model_type} classifier reads the longest row of each batch without its last token, "
            "so a row's answer depends on the rows beside it. Name an encoder, a decoder, or T5."
        )
    with _refusing(source, "its tokenizer cannot be loaded"):
        tokenizer = load_tokenizer(source, classifies=classifies)
    _require_vocabulary(source, tokenizer)
    notes = token_notes(source, tokenizer, writes=not classifies)
    rows = len(tokenizer)
    structure = None
    if getattr(config, "quantization_config", None) is None:  # a quantised model needs its own package
        with _refusing(source, _unloadable(config)):
            model, loading = without_weights(source, objective, ignore_mismatched_sizes=True)
        structure = as_base(source, model, loading)
        notes += _check_weights(source, model, loading, writes=not classifies)
        if objective.head is Head.CAUSAL_LM:
            _require_causal(source, model)
        if by_end:
            _require_one_end(source, tokenizer, config)
        rows = _embedding_rows(model)
        _require_embedded(source, tokenizer, rows, writes=not classifies)
        notes += require_positions(source, model, max_length)
    if isinstance(objective, TextGeneration):
        _require_end(source, tokenizer, objective.head)
    if max_length > tokenizer.model_max_length:
        notes.append(
            f"{source}: data.max_length is {max_length}, its tokenizer says that the model was trained on texts of at "
            f"most {tokenizer.model_max_length} tokens (model_max_length)."
        )
    one_end = tokenizer.eos_token if by_end else None
    return CheckedModel(
        source=source,
        tokenizer=tokenizer,
        embedding_rows=rows,
        one_end=one_end,
        structure=structure,
        weights=_number_of_weights(source, config, objective, structure),
        notes=tuple(notes),
    )


@contextmanager
def _refusing(source: Source, problem: str) -> Iterator[None]:
    """Raise any error of a library as a ``ModelError`` of one sentence."""
    try:
        with quiet_libraries():
            yield
    except LoratoryError:
        raise
    except Exception as error:  # any error of transformers or tokenizers: they read only the model's files
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # A line ending in a colon is followed by the wrong value.
        reason = " ".join(lines[:2]) if lines and lines[0].endswith(":") else first_line(error)
        raise ModelError(f"{source}: {problem}: {reason}") from error


def _config(source: Source) -> "PretrainedConfig":
    """Return the model's configuration; refuse a model type unknown to transformers."""
    from transformers import CONFIG_MAPPING, AutoConfig, PretrainedConfig, __version__

    with _refusing(source, "its config.json cannot be read"):
        written = PretrainedConfig.get_config_dict(resolve_model(source), revision=source.revision)[0]
        kind = written.get("model_type")
        if kind is not None and kind not in CONFIG_MAPPING:
            own = " Its own code would have to run, which Loratory never does." if "auto_map" in written else ""
            raise ModelError(
                f"{source}: config.json has model_type {kind!r}, which transformers {__version__} does not know."
                f"{own} Name a model of a type that it knows, or update transformers."
            )
        config: PretrainedConfig = load_pretrained(AutoConfig, source, trust_remote_code=False)
    return config


def _number_of_weights(source: Source, config: "PretrainedConfig", objective: Objective, structure: Base | None) -> int:
    """Return the number of the model's weights; those of a quantised model follow from its configuration."""
    import torch

    if structure is not None:
        return int(structure.model.num_parameters())
    with _refusing(source, _unloadable(config)), torch.device("meta"):
        return int(with_head(objective)[0].from_config(config, trust_remote_code=False).num_parameters())


def _require_head(source: Source, config: "PretrainedConfig", objective: Objective) -> None:
    auto, _ = with_head(objective)
    if type(config) not in auto._model_mapping:  # transformers has no public API for this
        raise ModelError(
            f"{source}: transformers has no {config.model_type} model for {_HEADS[objective.head]}, which "
            f"{objective.name} needs. Name a model of another type."
        )


def _require_vocabulary(source: Source, tokenizer: "PreTrainedTokenizerBase") -> None:
    """Refuse a tokenizer with special tokens only: transformers creates one if the files are missing."""
    names = dict.fromkeys((*tokenizer.vocab_files_names.values(), "tokenizer.json", "tokenizer.model"))
    if source.origin is not Origin.HUB and tokenizer.vocab_files_names:
        folder = Path(resolve_model(source))
        if any((folder / name).is_file() for name in names):
            return
    elif len(tokenizer) > len(tokenizer.all_special_ids) or not tokenizer.vocab_files_names:
        return
    raise ModelError(
        f"{source}: there are no tokenizer files beside the model ({', '.join(names)}); every word would be unknown. "
        "Save the tokenizer there too (tokenizer.save_pretrained)."
    )


def _require_end(source: Source, tokenizer: "PreTrainedTokenizerBase", head: Head) -> None:
    """Refuse a tokenizer without an end token: the model would never learn to stop."""
    end = tokenizer.eos_token_id if head is Head.CAUSAL_LM else target_end(tokenizer)
    if end is not None:
        return
    raise ModelError(
        f"{source}: the tokenizer has no end token (eos_token), so a trial could not learn where an answer ends. Set "
        "tokenizer.eos_token to the token that ends the model's texts and save the tokenizer beside the model."
    )


def _unloadable(config: "PretrainedConfig") -> str:
    """Return the message for a model that fails to load; it names a padding token without an embedding."""
    text = config.get_text_config()
    pad, rows = (getattr(text, name, None) for name in ("pad_token_id", "vocab_size"))
    if not isinstance(pad, int) or not isinstance(rows, int) or pad < rows:
        return "transformers cannot load it"
    values = f"config.json has pad_token_id {pad} and vocab_size {rows}"
    return f"transformers cannot load it: {values}; set pad_token_id to the tokenizer's"


def _require_causal(source: Source, model: "PreTrainedModel") -> None:
    """Refuse a bidirectional model: its tokens would see the answer to generate."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING

    config = model.config
    sees_both_sides = type(config) in MODEL_FOR_MASKED_LM_MAPPING or config.model_type in _BOTH_SIDES
    if sees_both_sides and not (config.is_decoder or getattr(config, "causal", False)):
        raise ModelError(
            f"{source}: a {config.model_type} model reads texts from both sides and would see the answers that it "
            "should learn to write. Name a decoder (Llama, Qwen, GPT-2), or a model whose config.json has is_decoder: "
            "true and that was trained so."
        )


def _require_one_end(source: Source, tokenizer: "PreTrainedTokenizerBase", config: "PretrainedConfig") -> None:
    """Refuse a tokenizer that does not add exactly one end token: an encoder-decoder classifies a row from it."""
    end = config.eos_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
    if tokenizer("a")["input_ids"].count(end) != 1 or tokenizer.pad_token_id == end:
        raise ModelError(
            f"{source}: a {config.model_type} model classifies a row by its end token, and the tokenizer gives a row "
            f"none or pads with it ({end}). Use the model's own tokenizer."
        )


def _check_weights(source: Source, model: "PreTrainedModel", loading: dict[str, Any], *, writes: bool) -> list[str]:
    """Refuse incomplete or mismatched weights; return remarks on random and on ignored weights.

    The head of a classifier may be missing or of another size; the head of a language model may not.
    """
    body = _inside(model)
    shapes = [(key, at, wanted) for key, at, wanted in loading["mismatched_keys"] if writes or body(key)]
    if shapes:
        key, at, wanted = sorted(shapes)[0]
        raise ModelError(
            f"{source}: config.json and the weights contradict each other: {key} has the shape {[*at]} in the weights "
            f"and {[*wanted]} by config.json ({len(shapes)} such tensors). Download or save the model again."
        )
    missing = sorted(key for key in loading["missing_keys"] if body(key))
    if missing:
        raise ModelError(
            f"{source}: the weights lack {len(missing)} tensors of the model that config.json describes, "
            f"{missing[0]} among them. Download or save the model again."
        )
    notes = []
    fresh = sorted(key for key in loading["missing_keys"] if not body(key))
    if writes and fresh:
        layer = f"the output layer ({', '.join(fresh)})"
        notes.append(f"{source}: the weights lack {layer}; it is initialised at random and trained in full.")
    surplus = sorted(key for key in loading["unexpected_keys"] if body(key) and any(map(str.isdigit, key.split("."))))
    if surplus:
        tensors = f"{len(surplus)} tensors unknown to the model of config.json, {surplus[0]} among them"
        notes.append(f"{source}: the weights hold {tensors}; they are ignored.")
    return notes


def _inside(model: "PreTrainedModel") -> Callable[[str], bool]:
    """Return a function to tell tensors of the pretrained part from a head or a pooler, which may be missing."""
    prefix = model.base_model_prefix
    head = model.get_output_embeddings()
    outside = {f"{name}." for name, module in model.named_modules() if module is head and name}

    def inside(key: str) -> bool:
        if "pooler" in key or any(key.startswith(name) for name in outside):
            return False
        return model.base_model is model or key.startswith(f"{prefix}.")

    return inside


def _embedding_rows(model: "PreTrainedModel") -> int:
    """Return the number of token ids with an embedding, from the configuration if the model does not show it."""
    from torch.nn import Embedding

    try:
        embedding = model.get_input_embeddings()
    except NotImplementedError:
        embedding = None
    if isinstance(embedding, Embedding):
        return embedding.num_embeddings
    return int(getattr(model.config.get_text_config(), "vocab_size", None) or 2**31)


def _require_embedded(source: Source, tokenizer: "PreTrainedTokenizerBase", rows: int, *, writes: bool) -> None:
    """Refuse a tokenizer that adds tokens without an embedding to every row."""
    used = [("padding", tokenizer.pad_token_id)]
    used += [("end", tokenizer.eos_token_id)] if writes else []
    used += [("special", token_id) for token_id in tokenizer("a")["input_ids"]]
    for name, token_id in used:
        if token_id is not None and token_id >= rows:
            raise ModelError(
                f"{source}: the tokenizer's {name} token {tokenizer.convert_ids_to_tokens(token_id)!r} has the id "
                f"{token_id}, and the model's embedding has {rows} rows (ids 0 to {rows - 1}). Call "
                "model.resize_token_embeddings(len(tokenizer)) and save the model, or use the model's own tokenizer."
            )
