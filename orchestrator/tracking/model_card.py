"""The README of an exported adapter: origin, metrics, and code to load it without Loratory."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.assets.catalogue import CATALOGUE, PackagedAsset
from orchestrator.core.data import Origin

if TYPE_CHECKING:
    from orchestrator.tracking.adapters import AdapterCard

CLASSIFIER = """\
from peft import PeftModel
from transformers import {imports}

{base}
labels = {labels}
model = AutoModelForSequenceClassification.from_pretrained(
    {arguments}, num_labels=len(labels), id2label=dict(enumerate(labels)), ignore_mismatched_sizes=True
)  # the adapter brings its own head
tokenizer = AutoTokenizer.from_pretrained("THIS FOLDER")
model.config.pad_token_id = tokenizer.pad_token_id  # as in training
model = PeftModel.from_pretrained(model, "THIS FOLDER").eval()
"""

WRITER = """\
from peft import PeftModel
from transformers import {imports}

{base}
model = {auto}.from_pretrained({arguments})
tokenizer = AutoTokenizer.from_pretrained("THIS FOLDER")
model.config.pad_token_id = tokenizer.pad_token_id  # as in training
model.generation_config = model.generation_config.from_pretrained("THIS FOLDER")  # with the learned end token
model = PeftModel.from_pretrained(model, "THIS FOLDER").eval()
prompt = {prompt!r}.replace("{{text}}", "YOUR TEXT")
"""

WRITERS = {
    "causal_lm": ("AutoModelForCausalLM", "text-generation"),
    "seq2seq_lm": ("AutoModelForSeq2SeqLM", "text2text-generation"),
}
"""The transformers class and the hub's task name, by head."""

PACKAGED = """\
base = {path}  # the folder in training; elsewhere from the hub
base = base if Path(base).is_dir() else {hub}"""

QUANTISED = """\
quantisation = BitsAndBytesConfig(
{arguments})"""


def model_card(card: "AdapterCard") -> str:
    """Return the README in Markdown, with front matter for the Hugging Face hub."""
    hub = _hub_id(card)
    tag = "text-classification" if card.labels else WRITERS[card.head][1]
    params = "\n".join(f"| {name} | {value} |" for name, value in card.params.items())
    return f"""---
library_name: peft
pipeline_tag: {tag}
{f"base_model: {hub}" if hub else "# base_model: a local folder"}
---

# {card.objective}: an adapter for {hub or card.base.name}

Trial {card.trial} of the sweep {card.sweep}, its best checkpoint (after {card.samples:,} training samples).
Inputs were cut to {card.max_length} tokens.
{_quantisation(card)}
## Use it

```python
{_code(card, hub)}```

{_where_the_base_is(card, hub)}
{_scaling(card)}{_labels(card)}
## Measured

{_measured(card)}

## Configuration

| parameter | value |
|---|---|
{params}
"""


def _measured(card: "AdapterCard") -> str:
    """Return the table of metrics. Metrics with an interval add a column and a legend."""
    if not card.intervals:
        rows = "\n".join(f"| {name} | {_number(value)} |" for name, value in card.metrics.items())
        return f"| metric | value |\n|---|---|\n{rows}"
    lines = ["| metric | value | 95 % interval |", "|---|---|---|"]
    for name, value in card.metrics.items():
        limits = card.intervals.get(name)
        shown = "" if limits is None else f"{limits.low:.4f} to {limits.high:.4f}"
        lines.append(f"| {name} | {_number(value)} | {shown} |")
    sources = [f"- {name}: {limits.sources}" for name, limits in card.intervals.items()]
    legend = "Validation chose the trial and its test rows were read once, so no interval is corrected for the choice."
    return "\n".join([*lines, "", "Each interval holds:", "", *sources, "", legend])


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
    base = f"base = {_quoted(card.base_path)}"
    imports = ""
    if hub is not None and card.base.origin is Origin.PACKAGED:
        base, imports = PACKAGED.format(path=_quoted(card.base_path), hub=_quoted(hub)), "from pathlib import Path\n\n"
    arguments = f"base, revision={_quoted(card.base.revision)}" if card.base.revision else "base"
    auto = "AutoModelForSequenceClassification" if card.labels else WRITERS[card.head][0]
    names = [auto, "AutoTokenizer"]
    if card.quantisation is not None:
        base += "\n" + QUANTISED.format(arguments=_keywords(card.quantisation))
        arguments += ', dtype="float32", quantization_config=quantisation'
        names.append("BitsAndBytesConfig")
    template = CLASSIFIER if card.labels else WRITER
    return imports + template.format(
        base=base,
        arguments=arguments,
        auto=auto,
        labels=list(card.labels),
        prompt=card.prompt,
        imports=", ".join(names),
    )


def _labels(card: "AdapterCard") -> str:
    """Return a table of the classes: their values in the data and their rows by split."""
    if not card.label_counts:
        return ""
    splits = [*card.label_counts]
    rows = []
    for name in card.labels:
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
    return (
        "The base was frozen in 4 bits (NF4, double quantisation), in training and in every measurement below.\n"
        "Load it the same way, with bitsandbytes installed: on the plain base the results differ. The\n"
        "configuration below quantises only the numbered layers: heads and poolers are not in 4 bits.\n"
    )


def _scaling(card: "AdapterCard") -> str:
    if not card.rslora:
        return ""
    command = f"loratory export {card.sweep} DIR --trial {card.trial} --plain-scaling"
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
    text = f"The base is not in this folder: it is [{hub}](https://huggingface.co/{hub}){revision}."
    if asset is None or asset.copy is None:
        return text
    return (
        f"{text}\nThe numbers below were measured on a copy of it that was {asset.copy};\n"
        "on the hub's own weights they may differ."
    )


def _number(value: float) -> str:
    """Return four decimals, or none for whole numbers other than 0 and 1, which may be shares."""
    return f"{value:.0f}" if value.is_integer() and abs(value) > 1 else f"{value:.4f}"
