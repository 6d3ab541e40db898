"""The files written by ``new objective``: a commented task or function, and its test."""

TASK = '''"""{name}: say here in one sentence what the model decides."""

from collections.abc import Mapping, Sequence

from orchestrator.core.data import Origin, Source
from orchestrator.core.metric import Direction
from orchestrator.evaluation.baseline import tfidf_baseline
from orchestrator.evaluation.metrics import classification_metrics
from orchestrator.objective.classification import TextClassification
from orchestrator.objective.protocol import Splits


class {title}(TextClassification):
    """One class per text. The engines train, measure and save; this file has no training loop."""

    name = "{name}"
    # The classes in the order of their ids. () finds them in the column label.
    labels: tuple[str, ...] = ("business", "entertainment", "politics", "sports", "tech")
    # Every metric returned by `measure`, and the loss, with the direction in which it improves.
    metrics: Mapping[str, Direction] = {{
        "loss": Direction.MINIMIZE,
        "accuracy": Direction.MAXIMIZE,
        "macro_f1": Direction.MAXIMIZE,
    }}
    # The searched metric of a sweep file without search.metric.
    default_metric = "val/macro_f1"
    # The rows of a sweep file without data.source: columns text and label, perhaps group. For a file of your own:
    # Source(origin=Origin.LOCAL, name="/path/rows.csv").
    default_source = Source(origin=Origin.PACKAGED, name="bbc-news")

    def measure(self, pairs: Sequence[tuple[int, int]]) -> dict[str, float]:
        """Return every metric except the loss, from pairs of predicted and true class ids."""
        return classification_metrics(pairs, len(self.labels))

    def baseline(self, splits: Splits) -> Mapping[str, float]:
        """Return the metrics of a simple model on the same rows; the winner must beat it."""
        return tfidf_baseline(splits, len(self.labels))


OBJECTIVE = {title}()
'''

TASK_TEST = '''"""The contract of objectives, for {name}: every hook is called on a few rows. Run it with pytest."""

from pathlib import Path

import pytest

from orchestrator.objective.loading import load_objective
from orchestrator.objective.protocol import Objective
from orchestrator.testing import ObjectiveContract


class Test{title}(ObjectiveContract):
    @pytest.fixture
    def objective(self) -> Objective:
        return load_objective(str(Path(__file__).with_name("{name}.py")))
'''

FUNCTION = '''"""{name}: a function that trains one trial, with any framework.

A sweep file names it: ``objective: ./{name}.py:run``. Replace the straight line here by your own model.
"""

import json
import random
from pathlib import Path


def run(config, report):
    """Train one trial from its checkpoint, or from the beginning.

    config["name"] is a searched value, or a fixed one of function.values. report passes on metrics and a checkpoint;
    it returns if the trial continues, and raises Stopped if it has ended.
    """
    draws, slope, samples = random.Random(config.seed), 0.0, 0
    if config.checkpoint is not None:  # after a kill: restore the model, the optimizer and every random state
        slope = json.loads((config.checkpoint / "model.json").read_text())
        state = json.loads((config.checkpoint / "resume" / "state.json").read_text())
        draws.setstate((state[0], tuple(state[1]), state[2]))
        samples = config.start_samples
    while samples < config.samples:
        x = draws.uniform(-1, 1)
        slope -= config["learning_rate"] * 2 * (slope * x - 3 * x) * x  # gradient of the squared error
        samples += 1
        if report.due(samples):  # evaluate and save only where the sweep needs a report
            report({{"val/loss": (slope - 3) ** 2 / 3}}, samples=samples, checkpoint=save(config.folder, slope, draws))


def save(folder, slope, draws):
    """Write a checkpoint, and return its folder. Files needed only to resume belong in the folder resume."""
    checkpoint = folder / "checkpoint"
    (checkpoint / "resume").mkdir(parents=True, exist_ok=True)
    (checkpoint / "model.json").write_text(json.dumps(slope))
    (checkpoint / "resume" / "state.json").write_text(json.dumps(draws.getstate()))
    return checkpoint


def load(folder):
    """Return the promoted model: MLflow calls it with a data frame."""
    slope = json.loads((Path(folder) / "model.json").read_text())
    return lambda frame: frame["x"] * slope


def test(config, checkpoint):
    """Return the metrics of a kept checkpoint on test rows, read once after the search (function.test: test)."""
    slope = json.loads((checkpoint / "model.json").read_text())
    return {{"loss": (slope - 3) ** 2 / 3}}
'''

FUNCTION_TEST = '''"""The contract of functions, for {name}: a resumed trial gets the same values. Run: pytest."""

from pathlib import Path

from orchestrator.testing import FunctionContract


class Test{title}(FunctionContract):
    file = Path(__file__).with_name("{name}.py")
    function = "run"
    values = {{"learning_rate": 0.01}}  # a value of each parameter
    metrics = ("loss",)  # the metrics of the sweep file
    samples = 200  # few samples, so that the test is short
'''

FUNCTION_SWEEP = """\
# yaml-language-server: $schema={schema}
#
#   command   {program} sweep {name}.yaml

name: {name}
objective: ./{name}.py:run              # file and function, relative to this file

function:
  samples: 2000                         # training samples of a trial, as the function reports them
  metrics: {{loss: minimize}}             # in each report as val/loss; the first metric is searched
  test: test                            # measures each kept checkpoint on test rows, once

search:
  space:                                # any names; low and high without a fraction make whole numbers
    learning_rate: {{low: 1.0e-4, high: 1.0, log: true}}

budget: {{trials: 8}}

resources: {{parallel_trials: 2}}         # processes at once
"""
