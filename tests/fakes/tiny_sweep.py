"""A sweep of a few seconds in one folder: the sentiment objective, generated rows and a tiny model."""

import random
from pathlib import Path

from tests.fakes.tiny_models import tiny_bert

SWEEP = """
name: tiny
objective: sentiment
model: ./model
data:
  source: ./rows.csv
  train: 64
  validation: 32
  test: 32
  train_eval: 16
  max_length: 16
training: {epochs: 1, batch_size: 16}
search:
  sampler: random
  space:
    learning_rate: {low: 1.0e-3, high: 1.0e-2, log: true}
    rank: {choices: [2, 4]}
early_stopping: {rule: none, reports: 2}
budget: {trials: 2}
resources: {parallel_trials: 2}
tracking: {keep_adapters: 1}
seed: 3
"""


def tiny_sweep(folder: Path) -> Path:
    """Write ``tiny.yaml``, its rows and its model to ``folder`` and return the sweep file."""
    tiny_bert(folder / "model")
    draw = random.Random(0)
    good, bad = ("good", "great", "fine", "nice", "happy"), ("bad", "awful", "poor", "terrible", "sad")
    rows = ["text,label"]
    for index in range(160):
        words = (draw.choice((bad, good)[index % 2]), draw.choice(("film", "plot", "music")), f"number {index}")
        rows.append(f"the {words[1]} was {words[0]} and {words[2]},{('negative', 'positive')[index % 2]}")
    (folder / "rows.csv").write_text("\n".join(rows) + "\n")
    file = folder / "tiny.yaml"
    file.write_text(SWEEP)
    return file
