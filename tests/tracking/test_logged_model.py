"""A logged model, loaded with MLflow only: texts by column name, one prediction per row, missing texts refused."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from orchestrator.tracking.environment import load_mlflow
from orchestrator.tracking.location import connect
from orchestrator.tracking.runs.synchroniser import Synchroniser
from tests.conftest import copied
from tests.tracking.records import description
from tests.tracking.trained import LABELS, TEXTS, TrainedSweep, trained_sweep

IDS = ["a great film", "terrible", "fine", "awful"]
"""Texts too: a model reading them as input gives other answers."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedSweep:
    sweep = trained_sweep(tmp_path_factory.mktemp("trained"))
    return dataclasses.replace(sweep, adapters=dataclasses.replace(sweep.adapters, text_column="Ticket text"))


@pytest.fixture(scope="module")
def folder(trained: TrainedSweep, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the logged model."""
    location = copied(empty_store, tmp_path_factory.mktemp("logged"))
    Synchroniser(trained.store.ledger, trained.store.id, description(keep_adapters=1), location, trained.adapters).run()
    client = connect(location)
    (logged,) = client.search_logged_models([trained.store.experiment_id])
    return Path(str(logged.artifact_location).removeprefix("file://"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load_mlflow().pyfunc.load_model(str(folder))


@pytest.fixture
def expected(trained: TrainedSweep) -> list[str]:
    return [LABELS[max(range(3), key=row.__getitem__)] for row in trained.logits[2]]


@pytest.mark.parametrize(
    "given",
    [
        pd.DataFrame({"Ticket text": TEXTS}),
        pd.DataFrame({"Ticket text": pd.Series(TEXTS, dtype="string")}),
        pd.DataFrame({"Ticket ID": IDS, "Ticket text": TEXTS}),
        pd.DataFrame({"text": IDS, "Ticket text": TEXTS}),
        {"Ticket text": list(TEXTS)},
        {"Ticket text": np.array(TEXTS)},
        {"Ticket ID": IDS, "Ticket text": list(TEXTS)},
        [{"Ticket ID": 1, "Ticket text": text} for text in TEXTS],
    ],
    ids=lambda given: f"{type(given).__name__}",
)
def test_texts_are_read_from_their_column(model: Any, expected: list[str], given: Any) -> None:
    answers = model.predict(given)
    assert answers["label"].tolist() == expected
    assert list(answers.columns) == ["label", "score", "probabilities"]


def test_probabilities_are_given_by_label(model: Any, trained: TrainedSweep) -> None:
    answers = model.predict(pd.DataFrame({"Ticket text": TEXTS}))
    for row, logits in zip(answers.itertuples(), trained.logits[2], strict=True):
        assert tuple(row.probabilities) == LABELS
        powers = np.exp(logits)
        assert list(row.probabilities.values()) == pytest.approx(list(powers / powers.sum()), abs=1e-5)
        assert row.score == row.probabilities[row.label] == max(row.probabilities.values())


def test_calibrated_probabilities_use_temperature(model: Any, folder: Path, tmp_path: Path) -> None:
    frame = pd.DataFrame({"Ticket text": TEXTS})
    with pytest.raises(Exception, match="calibrated: this adapter has no temperature"):
        model.predict(frame, params={"calibrated": True})
    copy = shutil.copytree(folder, tmp_path / "model")
    card = copy / "artifacts" / "adapter" / "loratory.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "temperature": 2.5}))
    loaded = load_mlflow().pyfunc.load_model(str(copy))
    plain, calibrated = loaded.predict(frame), loaded.predict(frame, params={"calibrated": True})
    for own, scaled in zip(plain["probabilities"], calibrated["probabilities"], strict=True):
        powers = np.array(list(own.values())) ** (1 / 2.5)
        assert list(scaled.values()) == pytest.approx(list(powers / powers.sum()))
    assert calibrated["label"].tolist() == plain["label"].tolist()
    assert calibrated["score"].tolist() == [max(each.values()) for each in calibrated["probabilities"]]


def test_predictions_keep_the_index_of_the_frame(model: Any, expected: list[str]) -> None:
    frame = pd.DataFrame({"id": range(4), "Ticket text": TEXTS}, index=[7, 3, 9, 1])
    assert frame.join(model.predict(frame))["label"].tolist() == expected


def test_one_text_and_no_text_at_all(model: Any, expected: list[str]) -> None:
    assert model.predict({"Ticket text": TEXTS[0]})["label"].tolist() == expected[:1]
    assert model.predict(pd.DataFrame({"Ticket text": pd.Series([], dtype=str)}))["label"].tolist() == []


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, "", "  "])
def test_missing_text_is_refused_by_row(model: Any, missing: object) -> None:
    texts = ["fine", "awful", missing, "good"]
    for given in ({"Ticket text": texts}, pd.DataFrame({"id": range(4), "Ticket text": texts})):
        with pytest.raises(Exception, match="row 2 has no text"):
            model.predict(given)
    with pytest.raises(Exception, match="row 30 has no text"):
        model.predict(pd.DataFrame({"Ticket text": texts}, index=[10, 20, 30, 40]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pd.DataFrame({"Ticket ID": IDS}), r"Model is missing inputs \['Ticket text'\].*extra inputs: \['Ticket ID'\]"),
        (list(TEXTS), r"Model is missing inputs \['Ticket text'\]"),
        (pd.DataFrame({"Ticket text": ["fine", 37]}), "row 1 holds int '37'; a text is needed"),
        (pd.DataFrame({"Ticket text": [1, 2]}), "Incompatible input types for column Ticket text"),
        (pd.DataFrame({"Ticket text": ["fine", "caf\udce9"]}, dtype=object), "row 1 is not Unicode text"),
    ],
    ids=["no text column", "list", "number", "numbers", "broken text"],
)
def test_input_without_texts_is_refused(model: Any, given: Any, message: str) -> None:
    with pytest.raises(Exception, match=message):
        model.predict(given)


def test_signature_and_example_name_the_columns(model: Any) -> None:
    schema, answers = model.metadata.get_input_schema(), model.metadata.get_output_schema()
    assert schema.input_names() == ["Ticket text"]
    assert [kind.name for kind in schema.input_types()] == ["string"]
    assert answers.input_names() == ["label", "score", "probabilities"]
    assert model.input_example.columns.tolist() == ["Ticket text"]


def test_the_model_imports_nothing_of_this_project() -> None:
    source = Path("orchestrator/tracking/logged_models/adapter_model.py")
    text = (Path(__file__).parents[2] / source).read_text(encoding="utf-8")
    assert "import orchestrator" not in text
    assert "from orchestrator" not in text
