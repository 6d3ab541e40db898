"""Entities in news: trials of this project beside plain transformers and peft, on the same rows.

``python -m benchmarks.entities [--seeds 3]`` reads the packaged ``news-entities``; their labels are made by rules. The
plain side is transformers' recipe for token classification: words split before the tokenizer, the first token of a
word has its tag, ``Trainer`` with ``DataCollatorForTokenClassification``, and seqeval's strict F1. Both sides have the
same rows, configuration and number of updates; a seed gives other heads, adapters and orders of the rows. The head has
a learning rate of its own on both sides, as in ``sweeps/entities.yaml``: at 2e-3 for all parameters, F1 stays 0 with
most seeds on both sides.

One difference favours the plain side: it cuts texts after 64 tokens (8 of the 400 test texts) and leaves out their
remaining entities. This project reads such a text in windows, and all of its entities count.
"""

import argparse
import time
from dataclasses import replace
from typing import Any

import datasets
import numpy as np
from peft import LoraConfig, get_peft_model
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    set_seed,
)

from benchmarks.beside_plain import packed_seeds, plain_training, shown
from objectives.entities import OBJECTIVE
from orchestrator.assets.models import resolve_model
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.objective.entities.token_classification import tagged_words
from orchestrator.objective.loading import with_classes
from orchestrator.objective.padding import IGNORED

ROWS = Source(origin=Origin.PACKAGED, name="news-entities")
MODEL = Source(origin=Origin.PACKAGED, name="minilm")
LENGTH, RANK = 64, 16
PARAMS = {
    "learning_rate": 1e-3,
    "head_learning_rate": 1e-2,
    "rank": RANK,
    "alpha": 32,
    "batch_size": 8,
    "max_length": LENGTH,
}


def plain(rows: dict[str, datasets.Dataset], labels: tuple[str, ...], epochs: int, seed: int) -> float:
    """Train one seed with plain libraries; return F1 on the test rows."""
    set_seed(seed)
    folder = resolve_model(MODEL)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)

    def encoded(split: str) -> Any:  # noqa: ANN401  (a data set of datasets; Trainer names one of torch)
        words, tags = zip(*tagged_words(rows[split]), strict=True)
        found = tokenizer([*words], is_split_into_words=True, truncation=True, max_length=LENGTH)
        found["labels"] = []
        for number, row in enumerate(tags):
            places = found.word_ids(number)
            firsts = [place is not None and place not in places[:at] for at, place in enumerate(places)]
            found["labels"].append(
                [labels.index(row[place]) if first else IGNORED for place, first in zip(places, firsts, strict=True)]
            )
        return datasets.Dataset.from_dict(dict(found))

    base = AutoModelForTokenClassification.from_pretrained(folder, num_labels=len(labels))
    config = LoraConfig(
        task_type="TOKEN_CLS",
        r=RANK,
        lora_alpha=32,
        target_modules=["query", "key", "value", "dense"],
        modules_to_save=["classifier"],
    )
    trainer = plain_training(
        get_peft_model(base, config),
        encoded("train"),
        PARAMS,
        epochs=epochs,
        seed=seed,
        collator=DataCollatorForTokenClassification(tokenizer),
    )
    found: Any = trainer.predict(encoded("test"))
    predicted, true = np.argmax(found.predictions, axis=-1), found.label_ids
    names = [
        [[labels[tag] for tag, label in zip(some, row, strict=True) if label != IGNORED] for some, row in pairs]
        for pairs in (zip(true, true, strict=True), zip(predicted, true, strict=True))
    ]
    return float(f1_score(*names, mode="strict", scheme=IOB2))


def main() -> None:
    """Print both sides."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=800)
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    plan = DataPlan(source=ROWS, train=given.rows, validation=200, test=400, train_eval=50)
    splits = OBJECTIVE.splits(plan)
    labels = splits.summary.classes
    objective = with_classes(OBJECTIVE, labels)
    baseline = objective.baseline(splits) or {}
    print(f"{given.rows} training rows, {len(splits.test)} test rows, {given.epochs} epochs")
    print(f"baseline: F1 {baseline['test/f1']:.3f}", flush=True)
    began = time.perf_counter()
    bound = replace(plan, classes=labels)
    packed = [*packed_seeds(objective, MODEL, bound, PARAMS, epochs=given.epochs, seeds=given.seeds)]
    print(shown("packed", {"F1": [each["f1"] for each in packed]}, time.perf_counter() - began), flush=True)
    began = time.perf_counter()
    theirs = [plain(splits.by_name(), labels, given.epochs, seed) for seed in range(given.seeds)]
    print(shown("plain", {"F1": theirs}, time.perf_counter() - began))


if __name__ == "__main__":
    main()
