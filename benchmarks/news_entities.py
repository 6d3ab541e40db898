"""Compare a trial with entities with plain transformers and peft on the same rows.

``python -m benchmarks.news_entities SWEEP FILE [OVERRIDE …]`` reads the winner of a finished sweep, for example
``news-entities docs/examples/entities.yaml``, trains its configuration with plain ``transformers.Trainer``, peft and
transformers' token collator, and prints the test F1 of both.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from peft import LoraConfig, TaskType, get_peft_model
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)

from orchestrator.core.settings import TrialSettings
from orchestrator.objective.entities.token_classification import tagged_words
from orchestrator.objective.loading import load_objective
from orchestrator.stores import read_spec, stored_sweep

Rows = list[dict[str, Any]]


def encoded(rows: Any, tokenizer: Any, labels: Sequence[str], max_length: int) -> Rows:  # noqa: ANN401  (untyped)
    """Return the rows as transformers' examples do: words in, the first token of each word labelled."""
    found = []
    for words, tags in tagged_words(rows):
        row = tokenizer(words, is_split_into_words=True, truncation=True, max_length=max_length)
        of_word = row.word_ids()
        places = zip(of_word, [None, *of_word[:-1]], strict=True)
        ids = [-100 if word in {None, before} else labels.index(tags[word]) for word, before in places]
        found.append({"input_ids": row["input_ids"], "labels": ids})
    return found


def plain_f1(base: str, settings: TrialSettings, labels: Sequence[str], rows: tuple[Any, Any], seed: int) -> float:
    """Train with plain libraries; return the test F1 by seqeval's strict mode."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    train, test = (encoded(some, tokenizer, labels, settings.max_length) for some in rows)
    set_seed(seed)
    model = AutoModelForTokenClassification.from_pretrained(base, num_labels=len(labels))
    config = LoraConfig(
        task_type=TaskType.TOKEN_CLS,
        r=settings.rank,
        lora_alpha=int(settings.alpha),
        lora_dropout=settings.dropout,
        target_modules="all-linear",
        exclude_modules=["classifier"],  # findings/peft_all_linear_adapts_token_head.sh
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            warmup_steps=settings.warmup_ratio,
            report_to="none",
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
            seed=seed,
        )
        trainer: Any = Trainer(
            model=get_peft_model(model, config),
            args=arguments,
            train_dataset=cast("Any", train),
            data_collator=DataCollatorForTokenClassification(tokenizer),
        )
        trainer.train()
        output = trainer.predict(test)
    predicted: list[list[str]] = []
    true: list[list[str]] = []
    for row, ids in zip(np.argmax(output.predictions, axis=-1), output.label_ids, strict=True):
        predicted.append([labels[tag] for tag, own in zip(row, ids, strict=True) if own != -100])
        true.append([labels[own] for own in ids if own != -100])
    return float(f1_score(true, predicted, mode="strict", scheme=IOB2))


def main(name: str, file: str) -> None:
    """Print the test F1 of the winner of a sweep, and of plain libraries on the same rows with two seeds."""
    candidate = stored_sweep(name).candidates().choose()
    card, settings = candidate.card, candidate.trial.task.settings
    splits = load_objective("entities", card.labels).splits(read_spec(Path(file), tuple(sys.argv[3:])).data)
    print(f"Loratory: {card.metrics['test/f1']:.4f} on {len(splits.test)} test rows")
    for seed in (1, 2):
        found = plain_f1(card.base_path, settings, card.labels, (splits.train, splits.test), seed)
        print(f"Trainer, seed {seed}: {found:.4f}")


if __name__ == "__main__":
    torch.set_num_threads(2)
    main(sys.argv[1], sys.argv[2])
