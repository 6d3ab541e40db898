"""A sweep with names and values refused by other systems, from its start to its registered model."""

import threading
from pathlib import Path

import pytest

from orchestrator.core.errors import ObjectiveError
from orchestrator.core.sweeps.sweep import SweepStatus
from orchestrator.core.trials.trial import TrialState
from orchestrator.ledger.ledger import Ledger
from orchestrator.promotion.gates.judge import PromotionRequest
from orchestrator.promotion.promote import promote
from orchestrator.stores import read_spec, stored_sweep
from orchestrator.sweep import SweepOptions, SweepResult, run_sweep
from orchestrator.tracking.location import connect, locate
from tests.fakes.tiny_sweep import SWEEP, tiny_sweep

pytestmark = pytest.mark.usefixtures("own_stores")

OBJECTIVE = """
import numpy as np
import torch
from orchestrator.core.data import Origin, Source
from orchestrator.core.metric import Direction
from orchestrator.objective.classification import TextClassification

class Task(TextClassification):
    name = "team/mood v1.2"
    labels = ("negative", "positive")
    metrics = {"loss": Direction.MINIMIZE, "hit@1": Direction.MAXIMIZE, "share": Direction.MAXIMIZE}
    default_metric = "val/hit@1"
    default_source = Source(origin=Origin.LOCAL, name="rows.csv")

    def measure(self, pairs):
        hits = np.mean([a == b for a, b in pairs])
        return {"hit@1": np.float32(hits), "share": SHARE}

OBJECTIVE = Task()
"""


def run(folder: Path, share: str) -> SweepResult:
    file = tiny_sweep(folder)
    file.write_text(SWEEP.replace("objective: sentiment", "objective: ./mood.py"))
    (folder / "mood.py").write_text(OBJECTIVE.replace("SHARE", share))
    return run_sweep(read_spec(file), SweepOptions(inline=True), (), threading.Event(), lambda _line: None)


def test_names_and_values_reach_mlflow_and_registry(tmp_path: Path) -> None:
    done = run(tmp_path, "torch.tensor(0.25)")
    assert done.finished
    assert done.synced
    assert {type(value) for record in done.records for value in record.final.values()} == {float}
    client = connect(locate())
    run_of_winner = client.get_run(done.records[0].run_id or "")
    assert run_of_winner.data.metrics["val/share"] == 0.25
    assert run_of_winner.data.metrics["val/hit_1"] == done.records[0].reports[-1].metrics["val/hit@1"]
    (model,) = client.search_logged_models([done.sweep.experiment_id or ""])
    assert model.name.startswith("team-mood v1-2-trial-00")
    stored = stored_sweep("tiny")
    candidate = stored.candidates().choose()
    version = promote(
        stored.sweep, candidate, stored.location, PromotionRequest(name="tiny", metric=stored.metric)
    ).version
    assert version.tags["best_val_hit_1"] == f"{candidate.card.metrics['best_val_hit@1']:.6g}"


def test_non_numeric_metric_costs_no_trial(tmp_path: Path) -> None:
    with pytest.raises(ObjectiveError, match=r"team/mood v1.2: measure: share must be a real number .*got None"):
        run(tmp_path, "None")
    ledger = Ledger.open()
    (sweep,) = ledger.sweeps.all()
    assert sweep.status is SweepStatus.INTERRUPTED
    assert {record.state for record in ledger.trials.all(sweep.id)} == {TrialState.RUNNING}
