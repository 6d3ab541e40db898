"""The rows of each split and train fraction."""

from pathlib import Path

import pytest

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.objective.rows.digest import digest
from orchestrator.training.data.task_data import TaskData
from tests.fakes.tiny_models import tiny_bert
from tests.fakes.tiny_objective import TinyClassification


def task(fraction: float = 1.0, *, seed: int = 0, fold: int | None = None, share: float | None = None) -> TrialTask:
    settings = TrialSettings(train_fraction=fraction)
    return TrialTask(number=0, settings=settings, seed=seed, fold=fold, share=share)


def test_smaller_train_fraction_is_a_subset(tmp_path: Path) -> None:
    bert = Source(origin=Origin.LOCAL, name=str(tiny_bert(tmp_path / "bert")))
    plan = DataPlan(source=bert, train=40, validation=5, test=5, train_eval=10, shift={"other": bert}, shift_rows=3)
    data = TaskData(TinyClassification(), plan, load_tokenizer(bert))
    rows = {share: data.train(task(share)) for share in (0.1, 0.3, 1.0)}
    assert [len(found) for found in rows.values()] == [4, 12, 40]
    assert rows[0.3] == rows[1.0][:12]
    assert rows[0.1] == rows[1.0][:4]
    assert data.train_eval(task(1.0)) == rows[1.0][:10]
    assert data.train_eval(task(0.1)) == rows[0.1]
    assert data.shift_sets == ("other",)
    assert len(data.split("other", 32)) == 3
    assert max(len(row["input_ids"]) for row in data.split("validation", 6)) == 6
    with pytest.raises(DataError, match="there are: train, validation, test, other"):
        data.split("unknown", 32)


def test_fold_validates_on_rows_of_train(tmp_path: Path) -> None:
    bert = Source(origin=Origin.LOCAL, name=str(tiny_bert(tmp_path / "bert")))
    plan = DataPlan(source=bert, train=40, validation=10, test=5, train_eval=10, folds=5)
    data = TaskData(TinyClassification(), plan, load_tokenizer(bert))
    own = {id(row) for row in data.validation(task())}
    held = [{id(row) for row in data.validation(task(fold=fold))} for fold in (1, 2, 3, 4)]
    assert set.union(*held) == {id(row) for row in data.train(task())}
    assert sum(map(len, held)) == 40
    for fold, validation in enumerate(held, start=1):
        train = {id(row) for row in data.train(task(fold=fold))}
        assert own < train
        assert not train & validation
        assert {id(row) for row in data.measured("validation", task(fold=fold))} == validation
    assert len(data.train(task(0.5, fold=1))) == 20


def test_shares_of_rows_are_nested(tmp_path: Path) -> None:
    bert = Source(origin=Origin.LOCAL, name=str(tiny_bert(tmp_path / "bert")))
    data = TaskData(TinyClassification(), DataPlan(source=bert, train=40, validation=10, test=5), load_tokenizer(bert))
    rows = [[id(row) for row in data.train(task(seed=3, share=share))] for share in (0.125, 0.25, 0.5, 1.0)]
    assert [len(found) for found in rows] == [5, 10, 20, 40]
    assert rows[0] == rows[1][:5]
    assert rows[2] == rows[3][:20]
    assert {*rows[0]} != {id(row) for row in data.train(task(seed=4, share=0.125))}
    labels = [row["labels"] for row in data.train(task())]
    half = [row["labels"] for row in data.train(task(seed=3, share=0.5))]
    assert abs(sum(half) - sum(labels) / 2) <= 1


def test_trials_with_equal_keys_have_equal_rows(tmp_path: Path) -> None:
    bert = Source(origin=Origin.LOCAL, name=str(tiny_bert(tmp_path / "bert")))
    plan = DataPlan(source=bert, train=40, validation=10, test=5, train_eval=10, folds=5)
    data = TaskData(TinyClassification(), plan, load_tokenizer(bert))
    rows: dict[object, tuple[list[int], list[int]]] = {}
    tasks = [
        task(fraction, seed=seed, fold=fold, share=share)
        for fraction in (0.5, 1.0)
        for seed in (3, 4)
        for fold in (None, 1, 2)
        for share in (None, 0.5, 1.0)
    ]
    for one in tasks:
        found = [id(row) for row in data.train(one)], [id(row) for row in data.validation(one)]
        assert rows.setdefault(one.rows_key, found) == found
    assert len(rows) == 30  # the seed matters only where it draws the share


def test_rows_changed_after_the_start_are_refused(tmp_path: Path) -> None:
    bert = Source(origin=Origin.LOCAL, name=str(tiny_bert(tmp_path / "bert")))
    plan, tokenizer = DataPlan(source=bert, train=40, validation=5, test=5), load_tokenizer(bert)
    splits = TinyClassification().splits(plan)
    started = {name: digest(rows) for name, rows in splits.by_name().items()}
    assert TaskData(TinyClassification(), plan, tokenizer, digests=started).split("test", 8)
    assert TaskData(TinyClassification(), plan, tokenizer, splits, {"train": "0"}).split("test", 8)
    with pytest.raises(DataError, match="has changed since the sweep started, in the rows of train, test"):
        TaskData(TinyClassification(), plan, tokenizer, digests=started | {"train": "0", "test": "1"})
