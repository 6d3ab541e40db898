"""An adapter as an MLflow model. MLflow stores this file beside the adapter and runs it to load the model.

So the file imports nothing of this project: mlflow, torch, transformers and peft suffice. For the same reason it
repeats the detection of length-dependent RoPE in ``evaluation/row_independence.py``; a test compares the two.

The path of the base model is in ``loratory.json``; the caller can give another one:
``mlflow.pyfunc.load_model(uri, model_config={"base": "/models/minilm"})``, or ``LORATORY_BASE_MODEL``.
"""

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import mlflow
from mlflow.pyfunc.model import PythonModel, PythonModelContext

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from transformers import PreTrainedModel

AUTO_CLASSES = {
    "sequence_classification": "AutoModelForSequenceClassification",
    "token_classification": "AutoModelForTokenClassification",
    "question_answering": "AutoModelForQuestionAnswering",
    "causal_lm": "AutoModelForCausalLM",
    "seq2seq_lm": "AutoModelForSeq2SeqLM",
}

TEXT = "text"
"""The default name of the text column."""

SINGLE_LABEL, MULTI_LABEL, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
"""Problems of a classification head, with transformers' names."""

MAX_NEW_TOKENS = 64
"""Most tokens of a generated answer, for cards without a limit."""
BASE = "LORATORY_BASE_MODEL"
"""Environment variable with the base model's folder or hub id; for servers, which take no ``model_config``."""


class Written(NamedTuple):
    """A generated answer without special tokens, and whether the limit of tokens ended it (``cut``)."""

    text: str
    cut: bool


class AdapterRunner:
    """A base model with an adapter, ready to predict. B: rows; C: classes."""

    def __init__(
        self, folder: Path, base: str | None = None, device: str = "cpu", model: "PreTrainedModel | None" = None
    ) -> None:
        """Load the base, the adapter (head included) and the tokenizer.

        Args:
            folder: a PEFT folder with a tokenizer and ``loratory.json``.
            base: the base model's folder or hub id; None: as in training.
            device: the torch device.
            model: the loaded base model, which is changed; None: ``load_base`` loads it.
        """
        import peft
        import transformers

        self.folder, self.card, self.device = folder, read_card(folder), device
        self.labels: tuple[str, ...] = tuple(self.card["labels"])
        self.problem: str = self.card.get("problem", SINGLE_LABEL)
        model = load_base(self.card, base, device) if model is None else model
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self._use_tokens(model)
        self.model = peft.PeftModel.from_pretrained(model, folder).to(device).eval()
        self.rounding = 2e-3 if model.dtype.itemsize > 2 else 0.1  # of logits, relative to the largest one
        self.one_by_one = reset_long_rope(self.model) or self._sees_other_rows()

    def _sees_other_rows(self) -> bool:
        """Return whether a row's logits depend on its padding, as in a model without attention mask (FNet)."""
        import torch

        if self.card["head"] == "causal_lm":
            return False  # in a causal model no token attends to later tokens
        texts, side = ["a b c", "a b c " * 4], self.card.get("padding_side", "right")
        rows = self.tokenizer(texts, truncation=True, max_length=self.card["max_length"])["input_ids"]
        start = {}
        if self.card["head"] == "seq2seq_lm":
            first = getattr(self.model.config, "decoder_start_token_id", None) or 0
            start["decoder_input_ids"] = torch.tensor([[first]])
        logits = []
        with torch.inference_mode():
            for count in (1, 2):
                padded = self.tokenizer.pad({"input_ids": rows[:count]}, padding_side=side, return_tensors="pt")
                decoder = {name: value.repeat(count, 1).to(self.device) for name, value in start.items()}
                logits.append(self.model(**padded.to(self.device), **decoder).logits[0].float())
        return not bool((logits[0] - logits[1]).abs().max() <= self.rounding * logits[0].abs().max())

    def _use_tokens(self, model: "PreTrainedModel") -> None:
        """Set the model's padding and end tokens to the tokenizer's, as in training."""
        import transformers

        for config in (model.config, model.config.get_text_config()):
            config.pad_token_id = self.tokenizer.pad_token_id  # decoders find the last real token by it
        if self.labels and model.config.is_encoder_decoder and self.tokenizer.eos_token_id is not None:
            model.config.eos_token_id = self.tokenizer.eos_token_id  # their classifiers find the end by it
        if not self.labels and (self.folder / "generation_config.json").is_file():
            model.generation_config = transformers.GenerationConfig.from_pretrained(self.folder)

    def _ends_within(self, texts: Sequence[str]) -> bool:
        """Return whether a text contains the end token. Encoder-decoder classifiers need equal counts in a batch."""
        end = self.tokenizer.eos_token
        return self.model.config.is_encoder_decoder and end is not None and any(end in text for text in texts)

    def probabilities(
        self, texts: Sequence[str], batch_size: int = 32, pairs: Sequence[str] | None = None
    ) -> list[list[float]]:
        """Return the class probabilities of each text, B×C; in regression the predicted numbers.

        The probabilities of several labels per text do not add up to 1. ``pairs`` has the second text of each row;
        None: rows have one text.
        """
        import torch

        rows: list[list[float]] = []
        with torch.inference_mode():
            alone = self.one_by_one or self._ends_within([*texts, *(pairs or [])])
            size = 1 if alone else batch_size
            seconds = [None] * len(texts) if pairs is None else _batches(pairs, size)
            for batch, others in zip(_batches(texts, size), seconds, strict=False):
                encoded = self.tokenizer(
                    list(batch),
                    None if others is None else list(others),
                    truncation=True,
                    max_length=self.card["max_length"],
                    padding=True,
                    padding_side=self.card.get("padding_side", "right"),
                    return_tensors="pt",
                ).to(self.device)
                if "token_type_ids" in encoded and not encoded["token_type_ids"].any():
                    del encoded["token_type_ids"]  # absent in training too; GPT-2 would treat them as tokens
                rows += self._scores(self.model(**encoded).logits.float()).tolist()
        return rows

    def _scores(self, logits_BC: "torch.Tensor") -> "torch.Tensor":
        if self.problem == REGRESSION:
            return logits_BC
        return logits_BC.sigmoid() if self.problem == MULTI_LABEL else logits_BC.softmax(dim=-1)

    def calibrated(self, rows: Sequence[Sequence[float]]) -> list[list[float]]:
        """Return class probabilities at the adapter's temperature, B×C, from ``rows`` without it, B×C.

        The most probable classes stay the same. Raises MlflowException if the adapter has no temperature.
        """
        temperature = self.card.get("temperature")
        if temperature is None:
            raise _refusal("calibrated: this adapter has no temperature; leave the parameter out")
        return [with_temperature(row, temperature) for row in rows]

    @property
    def max_new_tokens(self) -> int:
        """Most tokens of an answer, unless the caller sets another number."""
        return int(self.card.get("max_new_tokens") or MAX_NEW_TOKENS)

    def generate(self, texts: Sequence[str], batch_size: int = 8, max_new_tokens: int | None = None) -> list[Written]:
        """Return the generated answer to each text's prompt, by greedy decoding.

        It has at most ``max_new_tokens`` tokens; None: the adapter's own limit. A batch has ``batch_size`` texts.
        """
        import torch

        answers: list[Written] = []
        most, ends = max_new_tokens or self.max_new_tokens, self._ends()
        continues_prompt = self.card["head"] == "causal_lm"  # the output of an encoder-decoder has no prompt
        with torch.inference_mode():
            for batch in _batches(texts, 1 if self.one_by_one else batch_size):
                rows = {"input_ids": [self._prompt(text) for text in batch]}
                side = "left" if continues_prompt else "right"
                encoded = self.tokenizer.pad(rows, padding_side=side, return_tensors="pt").to(self.device)
                num_prompt_tokens = encoded["input_ids"].shape[1] if continues_prompt else 1
                tokens = self.model.generate(
                    input_ids=encoded["input_ids"],
                    attention_mask=encoded["attention_mask"],
                    max_new_tokens=self._new_tokens(num_prompt_tokens, most),
                    do_sample=False,
                    eos_token_id=ends or None,
                    pad_token_id=self.tokenizer.pad_token_id,
                )
                # Skip the decoder's start token: it may be an end token too.
                for row in tokens[:, num_prompt_tokens:].tolist():
                    end = next((index for index, token in enumerate(row) if token in ends), len(row))
                    [text] = self.tokenizer.batch_decode([row[:end]], skip_special_tokens=True)
                    answers.append(Written(text.strip(), cut=end == len(row)))
        return answers

    def _new_tokens(self, length: int, wanted: int) -> int:
        """Return the number of new tokens after ``length`` tokens: at most ``wanted``, within the model's positions."""
        positions = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if not isinstance(positions, int) or positions <= 0:
            return wanted
        return max(1, min(wanted, positions - length + 1))  # the last token needs no position

    def _ends(self) -> list[int]:
        """Return the end tokens: the tokenizer's, as in training, then the base model's."""
        known = self.model.generation_config.eos_token_id
        known = known if isinstance(known, list) else [known]
        return list(dict.fromkeys(token for token in (self.tokenizer.eos_token_id, *known) if token is not None))

    def _prompt(self, text: str) -> list[int]:
        """Return the prompt's tokens as in training: three separately tokenised pieces, the text cut to fit.

        A chat model's prompt is the text in its chat template, without a cut; see ``_messages``.
        """
        if self.card.get("chat"):
            return self._chat_prompt(_messages(text))
        before, _, after = self.card["prompt"].partition("{text}")
        whole = self.tokenizer("a", return_special_tokens_mask=True)
        ids, special = whole["input_ids"], whole["special_tokens_mask"]  # with the special tokens around a text
        first, last = ids[: special.index(0)], ids[len(ids) - special[::-1].index(0) :]
        pieces = self.tokenizer([before, text, after], add_special_tokens=False, verbose=False)["input_ids"]
        num_text_tokens = max(1, self.card["max_length"] - sum(map(len, (first, pieces[0], pieces[2], last))))
        return [*first, *pieces[0], *pieces[1][:num_text_tokens], *pieces[2], *last]

    def _chat_prompt(self, messages: list[dict[str, str]]) -> list[int]:
        text = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        most = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or len(ids)
        if len(ids) > most:
            raise _refusal(f"a conversation has {len(ids):,} tokens, the model {most:,} positions; leave out turns")
        return ids


class AdapterModel(PythonModel):
    """The model for MLflow: a frame with the text column in, one row of answers for each text out.

    A classifier answers with ``label``, ``score`` (its probability) and ``probabilities`` (by label). With several
    labels per text it answers with ``labels`` (those with a probability above one half) and ``probabilities``; in
    regression with ``values`` (by name). A language model answers with ``text`` and ``cut``: whether the limit of
    tokens ended the answer. MLflow has checked the frame against the signature, so it has the text column.
    """

    # Without it MLflow warns at every import of this file about the missing annotation of predict.
    _skip_type_hint_validation = True
    runner_class: type[AdapterRunner] = AdapterRunner

    def load_context(self, context: PythonModelContext) -> None:
        """Load the adapter and its base."""
        config = context.model_config or {}
        self.runner = self.runner_class(Path(context.artifacts["adapter"]), config.get("base") or os.environ.get(BASE))

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG002
        """Return a data frame with one row per text, with the index of the input.

        Args:
            context: MLflow's context, unused.
            model_input: a frame with the text column.
            params: ``calibrated``: whether a classifier divides its logits by the adapter's temperature;
                ``max_new_tokens``: most tokens of a language model's answer.

        Raises:
            MlflowException: a row has no text (the message names the row), or the adapter has no temperature.
        """
        import pandas as pd

        series = frame_column(model_input, self.runner.card.get("text_column", TEXT))
        texts = cell_texts(series)
        labels = self.runner.labels
        if not labels:
            written = self.runner.generate(texts, max_new_tokens=(params or {}).get("max_new_tokens"))
            columns = {"text": [each.text for each in written], "cut": [each.cut for each in written]}
            return pd.DataFrame(columns, index=series.index)
        other = self.runner.card.get("pair_column")
        values = self.runner.probabilities(
            texts, pairs=None if other is None else cell_texts(frame_column(model_input, other))
        )
        if (params or {}).get("calibrated"):
            values = self.runner.calibrated(values)
        rows = [dict(zip(labels, row, strict=True)) for row in values]
        if self.runner.problem == REGRESSION:
            return pd.DataFrame({"values": rows}, index=series.index)
        if self.runner.problem == MULTI_LABEL:
            chosen = [[label for label, probability in row.items() if probability > 0.5] for row in rows]
            return pd.DataFrame({"labels": chosen, "probabilities": rows}, index=series.index)
        best = [max(row, key=row.__getitem__) for row in rows]
        scores = [row[label] for row, label in zip(rows, best, strict=True)]
        return pd.DataFrame({"label": best, "score": scores, "probabilities": rows}, index=series.index)


def read_card(folder: Path) -> dict[str, Any]:
    """Return the adapter's card, ``loratory.json``."""
    return cast("dict[str, Any]", json.loads((folder / "loratory.json").read_text(encoding="utf-8")))


def load_base(
    card: dict[str, Any], base: str | None = None, device: str = "cpu", dtype: str = "float32"
) -> "PreTrainedModel":
    """Return the base model of an adapter's card, without the adapter.

    ``base`` is its folder or hub id; None: as in training. ``device`` is the torch device of a quantised base model;
    others are loaded on the CPU. ``dtype`` is the number format of all weights, head included; adapters were measured
    over float32. Raises MlflowException if the folder does not exist.
    """
    import transformers
    from torch.nn.functional import linear

    options: dict[str, Any] = {"revision": card["base"]["revision"], "dtype": dtype}
    if card["labels"]:
        names = dict(enumerate(card["labels"]))
        options |= {"num_labels": len(names), "id2label": names, "label2id": {v: k for k, v in names.items()}}
        options["ignore_mismatched_sizes"] = True  # the adapter brings the head
    if card.get("quantisation"):
        config = transformers.BitsAndBytesConfig(**card["quantisation"])
        options |= {"quantization_config": config, "device_map": {"": device}}
    base = base or card["base_path"]
    if Path(base).is_absolute() and not Path(base).is_dir():
        raise _refusal(
            f"the base model is not on this machine: folder {base} does not exist. Name its folder here with "
            f'load_model(..., model_config={{"base": FOLDER}}) or with the environment variable {BASE}'
        )
    model: Any = getattr(transformers, AUTO_CLASSES[card["head"]]).from_pretrained(base, **options)
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
        if type(module).__name__ == "Linear8bitLt":  # its own forward rounds the inputs to 8 bits too
            module.forward = lambda x, at=module: linear(x, at.weight.data * (at.weight.SCB / 127)[:, None], at.bias)
    return cast("PreTrainedModel", model)


def with_temperature(probabilities: Sequence[float], temperature: float) -> list[float]:
    """Return ``softmax(logits / temperature)`` from ``softmax(logits)``; the most probable class stays the same."""
    top = max(probabilities)
    powers = [(probability / top) ** (1 / temperature) for probability in probabilities]
    total = sum(powers)
    return [power / total for power in powers]


def reset_long_rope(model: "torch.nn.Module") -> bool:
    """Reset length-dependent RoPE (dynamic, long) before each forward; return whether the model has any."""
    has_any = False
    for module in model.modules():
        kinds = getattr(module, "rope_type", None)
        kinds = list(kinds.values()) if isinstance(kinds, dict) else [kinds]
        if any(isinstance(kind, str) and (kind == "longrope" or "dynamic" in kind) for kind in kinds):
            module.register_forward_pre_hook(_reset_rope)
            has_any = True
    return has_any


def _reset_rope(module: "torch.nn.Module", _: object) -> None:
    for name in [name for name, _ in module.named_buffers() if name.endswith("original_inv_freq")]:
        prefix = name.removesuffix("original_inv_freq")
        module.register_buffer(f"{prefix}inv_freq", getattr(module, name).clone(), persistent=False)
        setattr(module, f"{prefix}max_seq_len_cached", module.original_max_seq_len)


def _messages(text: str) -> list[dict[str, str]]:
    """Return the messages in a text: a JSON list of ``{"role": …, "content": …}``, or else one turn of the user."""
    found = None
    with contextlib.suppress(ValueError):
        found = json.loads(text) if text.lstrip().startswith("[") else None
    is_chat = isinstance(found, list) and all(isinstance(m, dict) and {"role", "content"} <= m.keys() for m in found)
    return found if found and is_chat else [{"role": "user", "content": text}]


def frame_column(frame: "pd.DataFrame", name: str) -> "pd.Series[Any]":
    """Return the text column."""
    import pandas as pd

    cells = frame[name].tolist()
    if len(cells) == 1 and isinstance(cells[0], list):  # MLflow makes one row of {"text": ["a", "b"]}
        return pd.Series(cells[0], dtype=object)
    return frame[name]


def cell_texts(series: "pd.Series[Any]") -> list[str]:
    """Return the texts; none may be missing."""
    import pandas as pd

    for row, text in series.items():
        if isinstance(text, str) and any("\ud800" <= sign <= "\udfff" for sign in text):
            raise _refusal(f"row {row} is not Unicode text: {text[:60]!r}")
        if isinstance(text, str) and text.strip():
            continue
        if isinstance(text, str) or (pd.api.types.is_scalar(text) and pd.isna(text)):
            raise _refusal(f"row {row} has no text")
        raise _refusal(f"row {row} holds {type(text).__name__} {str(text)[:60]!r}; a text is needed")
    return list(series)


def _refusal(message: str) -> Exception:
    return cast("Exception", mlflow.exceptions.MlflowException.invalid_parameter_value(message))


def _batches(texts: Sequence[str], size: int) -> list[Sequence[str]]:
    return [texts[start : start + size] for start in range(0, len(texts), size)]


mlflow.models.set_model(AdapterModel())
