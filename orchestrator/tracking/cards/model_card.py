"""The README of an exported adapter: task, data, scores, limits, and code to load it without Loratory."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.assets.catalogue import CATALOGUE, PackagedAsset
from orchestrator.core.data import Origin
from orchestrator.core.methods.catalogue import FULL
from orchestrator.core.methods.quantisation import Quantisation, format_of
from orchestrator.core.tasks.problem import Problem
from orchestrator.tracking.cards.answer_card import CODE, answer_limits, answer_task
from orchestrator.tracking.cards.entity_card import ENTITIES, entity_limits, entity_task, types_of
from orchestrator.tracking.cards.measured_table import measured
from orchestrator.tracking.cards.writer_card import input_limit, writer_code, writer_task

if TYPE_CHECKING:
    from orchestrator.tracking.logged_models.adapters import AdapterCard

FEW = 20
"""A class with fewer training rows is named in the limits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GateLine:
    """One gate of a promotion, in words.

    Attributes:
        gate: the gate's name.
        verdict: ``passed``, ``not passed`` ...
        detail: the compared values.
    """

    gate: str
    verdict: str
    detail: str = ""


ANSWERS = "question_answering"

CLASSIFIER = """\
from peft import PeftModel
from transformers import {imports}

{base}
labels = {labels}
model = {auto}.from_pretrained(
    {arguments}, num_labels=len(labels){problem}, id2label=dict(enumerate(labels)), ignore_mismatched_sizes=True
)  # the adapter brings its own head
tokenizer = AutoTokenizer.from_pretrained("THIS FOLDER")
model.config.pad_token_id = tokenizer.pad_token_id  # as in training
model = PeftModel.from_pretrained(model, "THIS FOLDER").eval()
"""

WRITERS = {
    "causal_lm": ("AutoModelForCausalLM", "text-generation"),
    "seq2seq_lm": ("AutoModelForSeq2SeqLM", "text2text-generation"),
}
"""The transformers class and the hub's task name, by head."""

PACKAGED = """\
base = {path}  # the folder in training; elsewhere from the hub
base = base if Path(base).is_dir() else {hub}"""

_ROUNDED_INPUTS = """\
bitsandbytes rounds the inputs of 8-bit layers too, which the measurements did not: expect slightly other outputs.
"""

QUANTISED = """\
quantisation = BitsAndBytesConfig(
{arguments})"""


def model_card(card: "AdapterCard", gates: Sequence[GateLine] = ()) -> str:
    """Return the README in Markdown, with front matter for the Hugging Face hub.

    Args:
        card: the adapter's card.
        gates: the gates of its promotion; empty: it was not promoted.
    """
    hub = _hub_id(card)
    tag = _auto_and_tag(card)[1]
    seed = "" if card.seed is None else f", seed {card.seed}"
    params = "\n".join(f"| {name} | {value} |" for name, value in card.params.items())
    return f"""---
library_name: peft
pipeline_tag: {tag}
{f"base_model: {hub}" if hub else "# base_model: a local folder"}
---

# {card.objective}: an adapter for {hub or card.base.name}

Trial {card.trial} of the sweep {card.sweep}, its best checkpoint (after {card.samples:,} training samples{seed}).
{task(card)}
{_quantisation(card)}
## Use it

```python
{_code(card, hub)}```

{_where_the_base_is(card, hub)}
{_scaling(card)}{_labels(card)}{_data(card)}
## Measured

{measured(card)}
{_gates(gates)}
## Limits

{_limits(card)}

## Configuration

| parameter | value |
|---|---|
{params}
"""


def _auto_and_tag(card: "AdapterCard") -> tuple[str, str]:
    """Return the transformers class and the hub's task name."""
    if card.head == ENTITIES:
        return "AutoModelForTokenClassification", "token-classification"
    if card.head == ANSWERS:
        return "AutoModelForQuestionAnswering", "question-answering"
    return ("AutoModelForSequenceClassification", "text-classification") if card.labels else WRITERS[card.head]


def task(card: "AdapterCard") -> str:
    """Return the adapter's task in one sentence."""
    if card.is_function:
        return "The model of a function: its own code trained it, and only its own `load` can load it."
    if card.head in {ENTITIES, ANSWERS}:
        return entity_task(card.labels) if card.head == ENTITIES else answer_task(card)
    text = "a text" if card.pair_column is None else "a pair of texts"
    if card.problem == Problem.REGRESSION:
        return f"It predicts {' and '.join(f'`{name}`' for name in card.labels)} of {text}, as numbers."
    if card.problem == Problem.MULTI_LABEL:
        return f"It gives {text} any number of labels, also none: {', '.join(f'`{label}`' for label in card.labels)}."
    if card.labels:
        return f"It classifies {text} as {_either([f'`{label}`' for label in card.labels])}."
    return writer_task(card)


def _either(words: Sequence[str]) -> str:
    """Return up to twelve words joined by commas and ``or``."""
    if len(words) > 12:
        return f"one of {len(words)} classes, for example {', '.join(words[:3])}"
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _data(card: "AdapterCard") -> str:
    """Return the table of the data; an empty text if it is unknown."""
    if not card.data:
        return ""
    lines = ["", "## Data", "", "| split | rows | source | licence | digest |", "|---|---|---|---|---|"]
    for split in card.data:
        rows = "unknown" if split.rows is None else f"{split.rows:,}"
        cells = (split.split, rows, _cell(split.source), split.licence or "unknown", f"`{split.digest[:16]}`")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _gates(gates: Sequence[GateLine]) -> str:
    """Return the table of the gates with its heading; an empty text without gates."""
    return f"\n## Gates\n\n{gate_table(gates)}\n" if gates else ""


def gate_table(gates: Sequence[GateLine]) -> str:
    """Return the gates of a promotion as a table."""
    if not any(item.detail for item in gates):
        return "\n".join(["| gate | result |", "|---|---|", *(f"| {item.gate} | {item.verdict} |" for item in gates)])
    lines = ["| gate | result | values |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {item.gate} | {item.verdict} | {_cell(item.detail)} |" for item in gates)])


def _limits(card: "AdapterCard") -> str:
    """Return the known limits of the adapter, as a list."""
    if card.is_function:
        return "- The function read its data itself, so no rows and no licences are recorded here."
    text = "text" if card.pair_column is None else "pair of texts"
    lines = [input_limit(card)]
    if card.head == ANSWERS:
        lines = answer_limits(card)
    elif card.head == ENTITIES:
        lines = entity_limits(card.max_length)
    elif card.problem == Problem.REGRESSION:
        lines.append(f"Every {text} gets numbers, also a text in another language or of another kind.")
    elif card.problem == Problem.MULTI_LABEL:
        lines.append("A label is given above a probability of one half; no threshold was tuned.")
    elif card.labels:
        lines.append(f"Every {text} gets one of the classes, also a text in another language or of another kind.")
    if card.max_new_tokens is not None:
        lines.append(f"Answers have at most {card.max_new_tokens} tokens unless the caller sets another number.")
    if card.method == FULL:
        lines.append("All weights were trained. Load the base in float32: peft rounds them to its number format.")
    few = [name for name, count in card.label_counts.get("train", {}).items() if count < FEW]
    if few:
        lines.append(f"Fewer than {FEW} training rows: {', '.join(few)}.")
    gap = card.metrics.get("overfit_gap_at_best")
    if gap is not None:
        lines.append(f"Overfit gap (validation loss less training loss): {gap:+.4f}.")
    if not any(name.startswith("test/") for name in card.metrics):
        lines.append("It was not measured on test rows. Its validation scores are too good, because they chose it.")
    if not any(name.startswith("shift/") for name in card.metrics):
        lines.append("It was not measured on texts of another source: no shift set was given.")
    return "\n".join(f"- {line}" for line in lines)


def _packaged(card: "AdapterCard") -> PackagedAsset | None:
    return CATALOGUE.get(card.base.name) if card.base.origin is Origin.PACKAGED else None


def _hub_id(card: "AdapterCard") -> str | None:
    """Return the base's id on the Hugging Face hub; None if only its folder is known."""
    if card.base.origin is Origin.HUB:
        return card.base.name
    asset = _packaged(card)
    return None if asset is None else asset.hub


def _code(card: "AdapterCard", hub: str | None) -> str:
    """Return the example code: it loads the base from the training folder, or from the hub if the folder is missing."""
    base, imports = f"base = {_quoted(card.base_path)}", ""
    if hub is not None and card.base.origin is Origin.PACKAGED:
        base, imports = PACKAGED.format(path=_quoted(card.base_path), hub=_quoted(hub)), "from pathlib import Path\n\n"
    arguments = f"base, revision={_quoted(card.base.revision)}" if card.base.revision else "base"
    arguments += ', dtype="float32"'
    auto = _auto_and_tag(card)[0]
    names = [auto, "AutoTokenizer"]
    if card.quantisation is not None:
        base += "\n" + QUANTISED.format(arguments=_keywords(card.quantisation))
        arguments += ", quantization_config=quantisation"
        names.append("BitsAndBytesConfig")
    template = CODE if card.head == ANSWERS else CLASSIFIER if card.labels else writer_code(card)
    return imports + template.format(
        base=base,
        arguments=arguments,
        auto=auto,
        labels=list(card.labels),
        problem="" if card.problem == Problem.SINGLE_LABEL else f', problem_type="{card.problem}"',
        prompt=card.prompt,
        max_length=card.max_length,
        imports=", ".join(names),
    )


def _labels(card: "AdapterCard") -> str:
    """Return a table of the classes: their values in the data and their rows by split."""
    if not card.label_counts:
        return ""
    splits = [*card.label_counts]
    rows = []
    for name in types_of(card.labels) if card.head == ENTITIES else card.labels:
        values = [f"`{value}`" for value, label in card.label_values.items() if label == name]
        counts = [f"{card.label_counts[split].get(name, 0):,}" for split in splits]
        rows.append(" | ".join((_cell(name), _cell(", ".join(values) or "–"), *counts)))
    head = " | ".join(("class", "in the data", *splits))
    table = "\n".join(f"| {row} |" for row in rows)
    return f"\n## Labels\n\n| {head} |\n|{'---|' * (len(splits) + 2)}\n{table}\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _keywords(arguments: Mapping[str, Any]) -> str:
    """Return keyword arguments as code, one a line."""
    return "".join(f"    {name}={value!r},\n" for name, value in arguments.items())


def _quantisation(card: "AdapterCard") -> str:
    if card.quantisation is None:
        return ""
    quantisation = format_of(card.quantisation)
    return (
        f"The base was frozen in {quantisation.words}, in training and in every measurement below.\n"
        "Load it the same way, with bitsandbytes installed: on the plain base the results differ. The\n"
        "configuration below quantises only the numbered layers: heads and poolers keep their format.\n"
        f"{_ROUNDED_INPUTS if quantisation is Quantisation.INT8 else ''}"
    )


def _scaling(card: "AdapterCard") -> str:
    if not card.rslora:
        return ""
    command = f"python -m orchestrator export {card.sweep} DIR --trial {card.trial} --plain-scaling"
    return (
        "\nThe adapter was trained with rsLoRA: its scaling is alpha / √rank (`use_rslora` in `adapter_config.json`).\n"
        "llama.cpp and SGLang ignore this and apply alpha / rank, which is too weak by √rank. For them, export with\n"
        f"`{command}`, which writes alpha · √rank.\n"
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _where_the_base_is(card: "AdapterCard", hub: str | None) -> str:
    if hub is None:
        return f"The base is not in this folder: it was the folder `{card.base_path}`."
    asset, revision = _packaged(card), f", revision {card.base.revision}" if card.base.revision else ""
    licence = "" if asset is None else f" Its licence: {asset.package.licence}."
    text = f"The base is not in this folder: it is [{hub}](https://huggingface.co/{hub}){revision}.{licence}"
    if asset is None or asset.copy is None:
        return text
    return (
        f"{text}\nThe numbers below were measured on a copy of it that was {asset.copy};\n"
        "on the hub's own weights they may differ."
    )


def merged_card(card: "AdapterCard", gates: Sequence[GateLine] = (), gguf_use: str | None = None) -> str:
    """Return the README of a merged model; ``gguf_use`` tells how to use a GGUF file, None: it is for transformers."""
    hub = _hub_id(card)
    auto, tag = _auto_and_tag(card)
    python = f"""```python
from transformers import {auto}, AutoTokenizer

model = {auto}.from_pretrained("THIS FOLDER").eval()
tokenizer = AutoTokenizer.from_pretrained("THIS FOLDER")
```"""
    return f"""---
library_name: {"gguf" if gguf_use else "transformers"}
pipeline_tag: {tag}
{f"base_model: {hub}" if hub else "# base_model: a local folder"}
---

# {card.objective}: {hub or card.base.name}, fine-tuned

The base model with the adapter of trial {card.trial} of the sweep {card.sweep} merged into its weights.
{task(card)}

## Use it

{gguf_use or python}
{_data(card)}
## Measured

The adapter was measured in float32, before the merge.

{measured(card)}
{_gates(gates)}
## Limits

{_limits(card)}
"""


def version_description(card: "AdapterCard", gates: Sequence[GateLine], reference: str) -> str:
    """Return the description of a version for the registry's page: a short card in Markdown.

    Args:
        card: the adapter's card.
        gates: the gates of its promotion.
        reference: ``name/version``.
    """
    seed = "" if card.seed is None else f", seed {card.seed}"
    kinds = ("test/", "best_val_", "overfit_gap_at_best", "shift/", "forgetting/")
    chosen = [metric for kind in kinds for metric in card.metrics if metric.startswith(kind)]
    on = "" if card.is_function else f" on {card.base}"
    origin = f"{card.objective}{on}, after {card.samples:,} samples{seed}"
    parts = [
        f"Trial {card.trial} of {card.sweep}: {origin}.",  # plain: tables show it as it is
        task(card),
        f"### Scores\n\n{measured(card, chosen)}",
    ]
    if gates:
        parts.append(f"### Gates\n\n{gate_table(gates)}")
    if card.data:
        parts.append(_data(card).strip().replace("## Data", "### Data", 1))
    parts.append(f"### Limits\n\n{_limits(card)}")
    parts.append(f"### Load it\n\n```python\nmlflow.pyfunc.load_model({_quoted(f'models:/{reference}')})\n```")
    return "\n\n".join(parts)
