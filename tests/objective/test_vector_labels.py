"""Several labels per text, regression, and text pairs: reading, losses and metrics."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from objectives import classification, multi_label, regression
from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.evaluation.vector_metrics import multi_label_metrics, regression_metrics
from orchestrator.objective.loading import with_classes
from orchestrator.objective.protocol import Objective, Splits
from orchestrator.objective.vector_labels import VectorLabels
from tests.fakes.tiny_models import tiny_bert

AB = {"A": "1", "B": "0"}
WORDS = ("the film", "the plot", "the music", "the acting", "a fine film")


def splits_of(
    task: VectorLabels, folder: Path, given: list[Any], columns: Mapping[str, str] | None = None, **plan: Any
) -> Splits:
    """Split 40 rows with these labels in turn; a mapping has several columns."""
    rows = []
    for index in range(40):
        label = given[index % len(given)]
        named = label if isinstance(label, dict) else {"label": label}
        rows.append({"text": f"row {index} {WORDS[index % 5]}", **named})
    (folder / "rows.json").write_text(json.dumps(rows))
    source = Source(origin=Origin.LOCAL, name=str(folder / "rows.json"))
    return task.splits(DataPlan(source=source, columns=columns or {}, validation=8, test=8, **plan))


@pytest.mark.parametrize(
    ("labels", "columns", "mapping", "classes", "order"),
    [
        ([["b"], ["a", "b"], []], {}, {}, ("a", "b"), "by name"),
        (["b", "a; b", "a|b"], {}, {}, ("a", "b"), "by name"),
        (["Sports;tech", "sports", "Sports"], {}, {}, ("Sports", "tech"), "by name"),
        ([[1.0, 2.0], [1.0], []], {}, {}, ("1", "2"), "by number"),
        ([["x"], ["y", "z"]], {}, {"y": "b", "X": "a", "z": None}, ("b", "a"), "the order of data.labels"),
        ([[1.0], [2]], {}, {"2": "b", "1": "a"}, ("b", "a"), "the order of data.labels"),
        (
            [{"A": "1", "B": "0"}, {"A": "no", "B": "Yes"}],
            {"label/b": "B", "label/a": "A"},
            {},
            ("b", "a"),
            "the order of data.columns",
        ),
    ],
)
def test_several_labels_are_found(
    tmp_path: Path,
    labels: list[Any],
    columns: dict[str, str],
    mapping: dict[str, str | None],
    classes: tuple[str, ...],
    order: str,
) -> None:
    splits = splits_of(multi_label.OBJECTIVE, tmp_path, labels, columns, labels=mapping)
    assert (splits.summary.classes, splits.summary.class_order) == (classes, order)
    assert {value for vector in splits.train["label"] for value in vector} == {0.0, 1.0}
    total = sum(sum(counts.values()) for counts in splits.summary.label_counts.values())
    assert total == sum(sum(map(sum, rows["label"])) for rows in splits.by_name().values())


def test_absent_keys_of_mapping_are_named(tmp_path: Path) -> None:
    mapping = {"x": "b", "Y": None, "1.0": "a", "zz": None}
    splits = splits_of(multi_label.OBJECTIVE, tmp_path, ["x", "y;z", "1"], labels=mapping)
    assert "no row has the value zz (did you mean z?). The data has 1, x, y, z." in splits.summary.warnings[0]


def test_own_class_names_are_renamed(tmp_path: Path) -> None:
    kinds = datasets.Sequence(datasets.ClassLabel(names=["pos", "neg", "odd"]))
    features = datasets.Features(text=datasets.Value("string"), label=kinds)
    texts = [f"row {index} {WORDS[index % 5]}" for index in range(40)]
    table = datasets.Dataset.from_dict({"text": texts, "label": [[0], [1, 2]] * 20}, features)
    table.to_parquet(tmp_path / "rows.parquet")
    source = Source(origin=Origin.LOCAL, name=str(tmp_path / "rows.parquet"))
    plan = DataPlan(source=source, validation=8, test=8, labels={"pos": "good", "odd": None})
    splits = multi_label.OBJECTIVE.splits(plan)
    assert splits.summary.classes == ("good", "neg")
    assert {tuple(vector) for vector in splits.train["label"]} == {(1.0, 0.0), (0.0, 1.0)}


def test_numbers_have_names_and_warnings(tmp_path: Path) -> None:
    one = splits_of(regression.OBJECTIVE, tmp_path, [100, 250.5, None])
    assert (one.summary.classes, one.summary.dropped) == (("label",), {"no label": 13})
    assert "label has the mean" in one.summary.warnings[0]
    columns = {"label/calm": "C", "label/joy": "J"}
    two = splits_of(regression.OBJECTIVE, tmp_path, [{"C": 0.5, "J": 1}, {"C": -2, "J": 3}], columns)
    assert two.summary.classes == ("calm", "joy")
    assert {tuple(vector) for vector in two.train["label"]} == {(0.5, 1.0), (-2.0, 3.0)}


@pytest.mark.parametrize(
    ("task", "labels", "columns", "message"),
    [
        (multi_label.OBJECTIVE, [1, 2], {}, r"has '1' \(row 1\); a list of class names is needed.*classification"),
        (
            multi_label.OBJECTIVE,
            [AB, {"A": "maybe", "B": "1"}],
            {"label/a": "A", "label/b": "B"},
            r"has 'maybe' \(row 2\); 1 or 0",
        ),
        (multi_label.OBJECTIVE, [{"A": "1"}, {"A": "0"}], {"label/a": "A"}, r"only label column.*classification"),
        (regression.OBJECTIVE, ["1.5", "high"], {}, r"has 'high' \(row 2\); a finite number is needed"),
        (regression.OBJECTIVE, [True, False], {}, r"has 'True' \(row 1\); a finite number"),
        (classification.OBJECTIVE, [0.5, 1.5], {}, r"objective: regression"),
        (classification.OBJECTIVE, [["a"], ["b"]], {}, r"objective: multi_label"),
    ],
)
def test_wrong_labels_are_located(
    tmp_path: Path, task: Any, labels: list[Any], columns: dict[str, str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        splits_of(task, tmp_path, labels, columns)


def test_labels_of_numbers_are_refused(tmp_path: Path) -> None:
    two = {"label/a": "A", "label/b": "B"}
    for task, columns, held in (
        (regression.OBJECTIVE, {"label": "A"}, "regression reads numbers"),
        (multi_label.OBJECTIVE, two, "columns label/NAME hold 1 or 0"),
    ):
        with pytest.raises(DataError, match=rf"data.labels: .*{held}. Remove data.labels"):
            splits_of(task, tmp_path, [AB], columns, labels={"1": "one"})


def test_shift_set_has_all_targets(tmp_path: Path) -> None:
    shift = {"tweets": Source(origin=Origin.PACKAGED, name="vader-tweets")}
    with pytest.raises(DataError, match=r"data.shift.tweets: .*one column, 2 targets are needed \(a, b\)"):
        splits_of(
            regression.OBJECTIVE, tmp_path, [AB, {"A": "0", "B": "2"}], {"label/a": "A", "label/b": "B"}, shift=shift
        )


CASES: list[tuple[Objective, tuple[str, ...], list[list[float]]]] = [
    (multi_label.OBJECTIVE, ("a", "b", "c"), [[0, 1, 1], [0, 0, 0], [1, 0, 0]]),
    (regression.OBJECTIVE, ("price",), [[0.5], [-2.0], [3.25]]),
    (regression.OBJECTIVE, ("calm", "joy"), [[0.5, 1], [-2, 0], [3.25, 1]]),
]


@pytest.mark.parametrize(("task", "names", "labels"), CASES)
def test_losses_equal_transformers(
    tmp_path: Path, task: Objective, names: tuple[str, ...], labels: list[list[float]]
) -> None:
    folder = tiny_bert(tmp_path / "bert")
    bound, tokenizer = with_classes(task, names), AutoTokenizer.from_pretrained(folder)
    texts = ["the film was good", "the plot was awful and sad", "fine"]
    examples = [
        {"input_ids": tokenizer(text)["input_ids"], "labels": row} for text, row in zip(texts, labels, strict=True)
    ]
    batch = bound.collate(examples, tokenizer)
    assert batch["labels"].dtype == torch.float32
    problem = "regression" if task is regression.OBJECTIVE else "multi_label_classification"
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=len(names), problem_type=problem, ignore_mismatched_sizes=True
    ).eval()
    with torch.no_grad():
        plain = model(**batch)
    loss_B, units_B = bound.losses(plain.logits, batch)
    assert float(loss_B.sum() / units_B.sum()) == pytest.approx(float(plain.loss), rel=1e-6)
    pairs = bound.predictions(plain.logits, batch)
    assert bound.measure(pairs).keys() == bound.metrics.keys() - {"loss"}


def test_vector_metrics_by_hand() -> None:
    pairs = [([1.0, -1.0, -1.0], [1.0, 0.0, 0.0]), ([1.0, 2.0, -1.0], [0.0, 1.0, 0.0])]
    assert multi_label_metrics(pairs) == {
        "micro_f1": pytest.approx(0.8),
        "macro_f1": pytest.approx((2 / 3 + 1) / 2),  # the third class is neither true nor predicted
        "exact_match": 0.5,
        "auroc": 0.75,
    }
    numbers = [([1.0], [1.0]), ([2.0], [3.0]), ([4.0], [2.0])]
    measured = regression_metrics(numbers)
    assert measured == {"mse": pytest.approx(5 / 3), "r2": pytest.approx(-1.5), "spearman": pytest.approx(0.5)}
    constant = regression_metrics([([1.0], [1.0]), ([2.0], [1.0])])
    assert [name for name, value in constant.items() if math.isnan(value)] == ["r2", "spearman"]


def test_one_column_is_no_binary_task() -> None:
    one = multi_label_metrics([([1.0], [1.0]), ([1.0], [0.0]), ([-1.0], [0.0]), ([-1.0], [0.0])])
    assert one["micro_f1"] == one["macro_f1"] == pytest.approx(2 / 3)
    assert one["exact_match"] == 0.75
    seen = [([1.0, -1.0, -1.0], [1.0, 0.0, 0.0]), ([1.0, -1.0, -1.0], [0.0] * 3), ([-1.0] * 3, [0.0] * 3)]
    assert multi_label_metrics(seen)["macro_f1"] == pytest.approx(2 / 3)  # classes 2 and 3 are never seen


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_diverged_logits_give_nan(wrong: float) -> None:
    for task, names, pairs in (
        (classification.OBJECTIVE, ("a", "b"), [([wrong, wrong], 0), ([0.5, 0.1], 1)]),
        (multi_label.OBJECTIVE, ("a", "b"), [([wrong, wrong], [1.0, 0.0]), ([0.5, 0.1], [0.0, 1.0])]),
        (regression.OBJECTIVE, ("a",), [([wrong], [1.0]), ([0.5], [2.0])]),
    ):
        measured = with_classes(task, names).measure(pairs)
        assert measured.keys() == task.metrics.keys() - {"loss"}
        undefined = {name for name, value in measured.items() if math.isnan(value)}
        assert undefined == {"auroc", "brier", "ece_15_l1", "mse", "r2", "spearman"} & measured.keys()


def test_pairs_are_one_row_each(tmp_path: Path) -> None:
    lines = ["premise,hypothesis,label"]
    for index in range(24):
        lines += [f"the film number {index},it was {word},{word}" for word in ("good", "bad")]
    (tmp_path / "pairs.csv").write_text("\n".join([*lines, "alone,,good"]) + "\n")
    source = Source(origin=Origin.LOCAL, name=str(tmp_path / "pairs.csv"))
    plan = DataPlan(source=source, columns={"text": "premise", "text_pair": "hypothesis"}, validation=8, test=8)
    splits = classification.OBJECTIVE.splits(plan)
    assert splits.summary.dropped == {"blank text": 1}  # no copies: a premise stands with two hypotheses
    assert sum(map(len, splits.by_name().values())) == 48
    tokenizer = load_tokenizer(Source(origin=Origin.PACKAGED, name="minilm"))
    task = with_classes(classification.OBJECTIVE, splits.summary.classes)
    example = task.encode(splits.test, tokenizer, 12)[0]
    row = splits.test[0]
    expected = tokenizer(row["text"], row["text_pair"], truncation=True, max_length=12)
    assert (example["input_ids"], example["token_type_ids"]) == (expected["input_ids"], expected["token_type_ids"])
    assert max(example["token_type_ids"]) == 1
    with pytest.raises(DataError, match="copies with different labels 48"):
        classification.OBJECTIVE.splits(replace(plan, columns={"text": "premise"}))
