"""A plain function that trains a text classifier with PyTorch, without transformers or peft.

``run(config, report)`` is all that a sweep needs: see ``torch_function.yaml``. It trains one trial, and ``report``
passes on its metrics and its checkpoint. ``test`` measures a kept checkpoint on test rows, and ``load`` makes the
promoted model usable; both are optional.
"""

import csv
import random
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    import pandas as pd

    from orchestrator.training.function.child import Config, Report

LABELS = ("billing", "outage", "question")
BUCKETS = 2048
"""Number of rows of the embedding; each word is hashed to one of them."""
DATA = Path(__file__).with_name("tickets.csv")


class Classifier(nn.Module):
    """The mean of the embeddings of all words, then one linear layer."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(BUCKETS, width)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, len(LABELS)))

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """Return the logits of each text by class."""
        rows = [[zlib.crc32(word.encode()) % BUCKETS for word in text.lower().split()] or [0] for text in texts]
        starts = torch.tensor([0, *map(len, rows[:-1])]).cumsum(0)
        words = torch.tensor([word for row in rows for word in row])
        logits: torch.Tensor = self.head(self.words(words, starts))
        return logits


def split(name: str) -> tuple[list[str], torch.Tensor]:
    """Return texts and label ids of the split train, validation or test; all rows of a customer are in one split."""
    with DATA.open(encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file)]
    parts = {"train": range(6), "validation": range(6, 8), "test": range(8, 10)}
    rows = [row for row in rows if zlib.crc32(row["group"].encode()) % 10 in parts[name]]
    return [row["text"] for row in rows], torch.tensor([LABELS.index(row["label"]) for row in rows])


def measure(model: nn.Module, name: str) -> tuple[dict[str, float], torch.Tensor, torch.Tensor]:
    """Return loss and accuracy on a split, with the logits and the label ids."""
    texts, labels = split(name)
    model.eval()
    with torch.inference_mode():
        logits = model(texts)
    model.train()
    loss = nn.functional.cross_entropy(logits, labels)
    accuracy = (logits.argmax(1) == labels).float().mean()
    return {"loss": float(loss), "accuracy": float(accuracy)}, logits, labels


def run(config: "Config", report: "Report") -> None:
    """Train one trial from its newest checkpoint, or from the beginning."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    model = Classifier(config["width"], config["dropout"])
    optimizer = torch.optim.AdamW(model.parameters(), config["learning_rate"], weight_decay=config["weight_decay"])
    texts, labels = split("train")
    order, samples = random.Random(config.seed), config.start_samples
    if config.checkpoint is not None:
        model.load_state_dict(torch.load(config.checkpoint / "model.pt"))
        state = torch.load(config.checkpoint / "resume" / "state.pt", weights_only=False)
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch"])
        order.setstate(state["order"])
    while samples < config.samples:
        batch = order.sample(range(len(texts)), config["batch_size"])
        loss = nn.functional.cross_entropy(model([texts[row] for row in batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        samples += len(batch)
        if report.due(samples):  # evaluate and write a checkpoint only where the sweep needs them
            validation, train = measure(model, "validation")[0], measure(model, "train")[0]
            metrics = {f"val/{name}": value for name, value in validation.items()}
            metrics |= {f"train/{name}": value for name, value in train.items()}
            state = {"optimizer": optimizer.state_dict(), "torch": torch.get_rng_state(), "order": order.getstate()}
            report(metrics, samples=samples, checkpoint=save(config.folder / "checkpoint", model, config, state))


def save(folder: Path, model: Classifier, config: "Config", state: dict[str, Any]) -> Path:
    """Write a checkpoint. The folder ``resume`` is deleted when the trial has ended."""
    (folder / "resume").mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), folder / "model.pt")
    torch.save({"width": config["width"]}, folder / "sizes.pt")
    torch.save(state, folder / "resume" / "state.pt")
    return folder


def load(folder: Path) -> "TicketModel":
    """Return the model of a checkpoint; ``mlflow.pyfunc.load_model`` calls this for the promoted version."""
    model = Classifier(torch.load(folder / "sizes.pt")["width"], 0.0)
    model.load_state_dict(torch.load(folder / "model.pt"))
    return TicketModel(model.eval())


class TicketModel:
    """A trained classifier for data frames with the column ``text``."""

    def __init__(self, model: Classifier) -> None:
        self.model = model

    def predict(self, frame: "pd.DataFrame") -> list[str]:
        """Return the label of each row."""
        with torch.inference_mode():
            return [LABELS[place] for place in self.model([*frame["text"]]).argmax(1).tolist()]


def test(config: "Config", checkpoint: Path) -> dict[str, Any]:
    """Return the metrics of a kept checkpoint on the test rows, and the values of each row."""
    torch.set_num_threads(config.threads)
    metrics, logits, labels = measure(load(checkpoint).model, "test")
    losses = nn.functional.cross_entropy(logits, labels, reduction="none")
    rows = {"losses": losses.tolist(), "predictions": logits.argmax(1).tolist(), "references": labels.tolist()}
    return {**metrics, "rows": rows}
