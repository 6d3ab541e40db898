"""Measure an exported adapter with plain peft and transformers. A script of its own: it imports nothing of ours.

``python plain_peft.py ADAPTER BASE ROWS.json`` prints ``{"loss": ..., "accuracy": ...}``.
"""

import json
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def main() -> None:
    adapter, base, rows_file = sys.argv[1:]
    with open(rows_file, encoding="utf-8") as file:  # noqa: PTH123  (a plain script)
        rows = json.load(file)
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    model = PeftModel.from_pretrained(model, adapter).eval()
    losses, right = [], 0
    with torch.inference_mode():
        for row in rows["rows"]:
            encoded = tokenizer(row["text"], truncation=True, max_length=rows["max_length"], return_tensors="pt")
            logits = model(**encoded).logits
            losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor([row["label"]])).item())
            right += int(logits.argmax().item() == row["label"])
    print(json.dumps({"loss": sum(losses) / len(losses), "accuracy": right / len(rows["rows"])}))  # noqa: T201


if __name__ == "__main__":
    main()
