"""Every metric of the shipped tasks can be searched, in its own direction."""

from pathlib import Path

import pytest

from orchestrator.core.metric import Direction
from orchestrator.objective.static import static_facts
from orchestrator.spec.load import load_spec

SWEEP = """
name: any
objective: {task}
search: {{{metric}space: {{rank: {{choices: [4, 8]}}}}}}
budget: {{trials: 2}}
"""
LOWER = {"loss", "brier", "ece_15_l1", "mse"}
DEFAULTS = {
    "classification": "macro_f1",
    "multi_label": "micro_f1",
    "regression": "spearman",
    "extractive_qa": "f1",
    "entities": "f1",
}
ASKED = {
    "classification": {"accuracy", "macro_f1", "weighted_f1", "auroc", "mcc", "brier"},
    "multi_label": {"micro_f1", "macro_f1", "auroc"},
    "regression": {"mse", "r2", "spearman"},
    "extractive_qa": {"exact_match", "f1", "character_f1"},
    "entities": {"f1", "macro_f1", "precision", "recall"},
}


@pytest.mark.parametrize("task", DEFAULTS)
def test_metrics_are_searched_in_their_direction(task: str, tmp_path: Path) -> None:
    names = static_facts(task).metrics.keys()
    assert ASKED[task] <= names
    for name in ("", *names):
        written = f"metric: val/{name}, " if name else ""
        (tmp_path / "sweep.yaml").write_text(SWEEP.format(task=task, metric=written))
        packaged = ("bbc-news", "vader-movie", "minilm", "news-entities", "news-questions")
        spec = load_spec(tmp_path / "sweep.yaml", (), objective_facts=static_facts, packaged=packaged)
        assert spec.metric.name == f"val/{name or DEFAULTS[task]}"
        assert spec.metric.direction is (Direction.MINIMIZE if name in LOWER else Direction.MAXIMIZE)
