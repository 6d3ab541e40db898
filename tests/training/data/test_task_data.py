"""The rows of each split and train fraction."""

from pathlib import Path

import pytest

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.core.settings import TrialSettings
from orchestrator.training.data.task_data import TaskData
from tests.fakes.tiny_models import tiny_bert
from tests.fakes.tiny_objective import TinyClassification


def test_smaller_train_fraction_is_a_subset(tmp_path: Path) -> None:
    bert = Source(origin=Origin.LOCAL, name=str(tiny_bert(tmp_path / "bert")))
    plan = DataPlan(source=bert, train=40, validation=5, test=5, train_eval=10, shift={"other": bert}, shift_rows=3)
    data = TaskData(TinyClassification(), plan, load_tokenizer(bert))
    rows = {share: data.train(TrialSettings(train_fraction=share)) for share in (0.1, 0.3, 1.0)}
    assert [len(found) for found in rows.values()] == [4, 12, 40]
    assert rows[0.3] == rows[1.0][:12]
    assert rows[0.1] == rows[1.0][:4]
    assert data.train_eval(TrialSettings()) == rows[1.0][:10]
    assert data.train_eval(TrialSettings(train_fraction=0.1)) == rows[0.1]
    assert data.shift_sets == ("other",)
    assert len(data.split("other", 32)) == 3
    assert max(len(row["input_ids"]) for row in data.split("validation", 6)) == 6
    with pytest.raises(DataError, match="there are: train, validation, test, other"):
        data.split("unknown", 32)
