"""The README that travels with an adapter: what it is, how good it is, and how to load it without Loratory."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.tracking.adapters import AdapterCard

CLASSIFIER = """\
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

labels = {labels}
base = AutoModelForSequenceClassification.from_pretrained(
    "{base}", num_labels=len(labels), id2label=dict(enumerate(labels))
)
model = PeftModel.from_pretrained(base, "THIS FOLDER").eval()
tokenizer = AutoTokenizer.from_pretrained("THIS FOLDER")
"""

CAUSAL_LM = """\
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("{base}"), "THIS FOLDER").eval()
tokenizer = AutoTokenizer.from_pretrained("THIS FOLDER")
prompt = {prompt!r}.replace("{{text}}", "YOUR TEXT")
"""


def model_card(card: "AdapterCard") -> str:
    """Return the README in Markdown, with the front matter that the Hugging Face hub reads."""
    tag = "text-classification" if card.labels else "text-generation"
    code = (CLASSIFIER if card.labels else CAUSAL_LM).format(
        base=card.base_path, labels=list(card.labels), prompt=card.prompt
    )
    metrics = "\n".join(f"| {name} | {value:.4f} |" for name, value in card.metrics.items())
    params = "\n".join(f"| {name} | {value} |" for name, value in card.params.items())
    return f"""---
library_name: peft
pipeline_tag: {tag}
base_model: {card.base.name}
---

# {card.objective}: an adapter for {card.base.name}

Trial {card.trial} of the sweep {card.sweep}, its best checkpoint (after {card.samples:,} training samples).
Inputs were cut to {card.max_length} tokens.

## Use it

```python
{code}```

The base is not in this folder; any copy of {card.base} will do.

## Measured

| metric | value |
|---|---|
{metrics}

## Varied in the search

| setting | value |
|---|---|
{params}
"""
