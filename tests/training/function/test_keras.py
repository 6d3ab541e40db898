"""The shipped function for TensorFlow: MiniLM in Keras, with LoRA. The functions run in processes of their own."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.core.data import DataPlan
from orchestrator.core.metric import Direction
from orchestrator.core.sweeps.plan import EngineName, EnginePlan
from orchestrator.core.tasks.function import FunctionPlan
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.training.function.engine import FunctionEngine
from tests import needs

pytestmark = needs.tensorflow
ROOT = Path(__file__).parents[3]
FILE = ROOT / "docs/examples/keras_function.py"
TASK = TrialTask(
    number=0,
    settings=TrialSettings(values={"learning_rate": 1e-3, "rank": 4, "batch_size": 12, "weight_decay": 0.01}),
    seed=5,
)


def test_converted_minilm_equals_transformers() -> None:
    code = """
import sys; sys.path.insert(0, sys.argv[1])
import keras_function as example, numpy as np, tensorflow as tf, torch
from transformers import AutoModel
ids = example.encode(["a fine film", "dull, and again dull, and far too long"])
encoder = example.Encoder(example.fetch("minilm"), 4)
mask = tf.cast(ids != 0, tf.float32)
hidden = encoder.norm(tf.gather(encoder.table, ids) + encoder.places)
for block in encoder.blocks:
    hidden = block(hidden, mask)
plain = AutoModel.from_pretrained(example.fetch("minilm")).eval()
with torch.inference_mode():
    expected = plain(torch.tensor(ids).long(), attention_mask=torch.tensor(ids != 0).long()).last_hidden_state
assert len(encoder.trainable_variables) == 6 * 6 * 2 + 2, len(encoder.trainable_variables)
print(float(np.abs(hidden.numpy() - expected.numpy())[ids != 0].max()))
"""
    command = [sys.executable, "-c", code, str(FILE.parent)]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.split()[-1]) < 1e-4


@pytest.fixture
def plan(tmp_path: Path) -> EnginePlan:
    metrics = {"loss": Direction.MINIMIZE, "accuracy": Direction.MAXIMIZE}
    function = FunctionPlan(path=str(FILE), name="run", samples=48, metrics=metrics, test="test")
    return EnginePlan(
        objective=f"{FILE}:run",
        model=function.source,
        data=DataPlan(source=function.source),
        report_points=(24, 48),
        sweep_dir=str(tmp_path / "whole"),
        metric="val/loss",
        engine=EngineName.FUNCTION,
        function=function,
    )


def test_keras_trial_resumes_exactly_and_learns(plan: EnginePlan, tmp_path: Path) -> None:
    whole = FunctionEngine(plan).start(TASK)
    expected = [whole.advance(point).metrics for point in plan.report_points]
    whole.close()
    engine = FunctionEngine(replace(plan, sweep_dir=str(tmp_path / "resumed")))
    first = engine.start(TASK)
    first.advance(24)
    first.close()
    resumed = engine.start(TASK)
    report = resumed.advance(48)
    resumed.close()
    assert report.metrics["val/loss"] == expected[1]["val/loss"] < expected[0]["val/loss"]
    assert report.checkpoint is not None
    adapter = tmp_path / "resumed" / report.checkpoint / "adapter"
    assert sum(file.stat().st_size for file in adapter.rglob("*")) < 2_000_000  # the frozen weights are not in it
    measured = engine.measure(adapter, TASK, "test")
    assert measured.metrics["loss"] == pytest.approx(np.mean(measured.rows.losses), abs=1e-5)
    assert len(measured.rows.references) == 200
