"""The settings of a loss over pairs are checked with the objective, the loss and the metrics."""

from pathlib import Path

import pytest

from orchestrator.core.errors import SpecError
from orchestrator.objective.loading import objective_facts
from orchestrator.spec.load import load_spec

SWEEP = """\
name: pairs
objective: short_headline
training: {label_smoothing: 0.1}
preference: {loss: ipo, gamma: 1.0}
search:
  metric: val/loss
  space:
    beta: {low: 0.05, high: 0.5, log: true}
budget: {trials: 3}
"""


def test_ignored_settings_and_unequal_losses_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.yaml").write_text(SWEEP)
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / "pairs.yaml", (), objective_facts=objective_facts, packaged=["smollm2", "bbc-news"])
    places = [line.split(":", 1)[1].partition(": ")[0] for line in str(caught.value).splitlines()]
    assert places == [
        "1:1 early_stopping.metric",
        "3:12 training.label_smoothing",
        "4:25 preference.gamma",
        "6:3 search.metric",
    ]


def test_searched_loss_needs_a_common_metric(tmp_path: Path) -> None:
    text = SWEEP.replace("val/loss", "val/preference_accuracy").replace("beta: {", "loss: {choices: [dpo, simpo]}\n#")
    text = text.replace("loss: ipo, ", "") + "early_stopping: {metric: val/margin}\n"
    (tmp_path / "pairs.yaml").write_text(text)
    spec = load_spec(tmp_path / "pairs.yaml", (), objective_facts=objective_facts, packaged=["smollm2", "bbc-news"])
    assert spec.fixed == {"label_smoothing": 0.1, "gamma": 1.0}


def test_goal_over_losses_of_searched_beta_is_refused(tmp_path: Path) -> None:
    goal = "metrics: [val/margin, gap/loss, forgetting/loss]\n  constraints: {val/loss: {max: 1.0}}"
    text = SWEEP.replace("metric: val/loss", goal).replace(", gamma: 1.0", "").replace("training", "# training")
    (tmp_path / "pairs.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / "pairs.yaml", (), objective_facts=objective_facts, packaged=["smollm2", "bbc-news"])
    places = [line.split(":", 1)[1].partition(": ")[0] for line in str(caught.value).splitlines()]
    assert places == ["6:25 search.metrics.1", "7:17 search.constraints.val/loss"]
