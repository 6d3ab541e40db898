"""A logged model, loaded with MLflow only: texts by column name, one prediction per row, missing texts refused."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from orchestrator.tracking.environment import load_mlflow
from orchestrator.tracking.location import connect
from orchestrator.tracking.synchroniser import Synchroniser
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
def model(trained: TrainedSweep, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    location = copied(empty_store, tmp_path_factory.mktemp("logged"))
    Synchroniser(trained.store.ledger, trained.store.id, description(keep_adapters=1), location, trained.adapters).run()
    client = connect(location)
    (logged,) = client.search_logged_models([trained.store.experiment_id])
    return load_mlflow().pyfunc.load_model(logged.artifact_location)


@pytest.fixture
def expected(trained: TrainedSweep) -> list[str]:
    return [LABELS[max(range(3), key=row.__getitem__)] for row in trained.logits[2]]


@pytest.mark.parametrize(
    "given",
    [
        list(TEXTS),
        tuple(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS).reshape(-1, 1),
        pd.Series(TEXTS),
        pd.Series(TEXTS, name="id", dtype="string"),
        {"text": list(TEXTS)},
        {"text": np.array(TEXTS)},
        {"Ticket text": pd.Series(TEXTS)},
        {"id": IDS, "text": list(TEXTS)},
        [{"id": 1, "text": text} for text in TEXTS],
        [(text,) for text in TEXTS],
        iter(TEXTS),
        pd.DataFrame({"text": TEXTS}),
        pd.DataFrame({"id": IDS, "text": TEXTS}),
        pd.DataFrame({"text": IDS, "Ticket text": TEXTS}),
        pd.DataFrame({"review": TEXTS}),
    ],
    ids=lambda given: f"{type(given).__name__}",
)
def test_each_input_form_gives_one_row_each(model: Any, expected: list[str], given: Any) -> None:
    answers = model.predict(given)
    assert answers["label"].tolist() == expected
    assert list(answers.columns) == ["label", "score"]


def test_predictions_keep_the_index_of_the_frame(model: Any, expected: list[str]) -> None:
    frame = pd.DataFrame({"id": range(4), "text": TEXTS}, index=[7, 3, 9, 1])
    assert frame.join(model.predict(frame))["label"].tolist() == expected


def test_one_text_and_no_text_at_all(model: Any, expected: list[str]) -> None:
    assert model.predict(TEXTS[0])["label"].tolist() == expected[:1]
    assert model.predict({"text": TEXTS[0]})["label"].tolist() == expected[:1]
    assert model.predict([])["label"].tolist() == []
    assert model.predict(pd.DataFrame({"text": []}))["label"].tolist() == []


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT, "", "  "])
def test_missing_text_is_refused_by_row(model: Any, missing: object) -> None:
    texts = ["fine", "awful", missing, "good"]
    for given in (texts, {"text": texts}, pd.DataFrame({"id": range(4), "text": texts}), pd.Series(texts)):
        with pytest.raises(Exception, match="row 2 has no text"):
            model.predict(given)
    with pytest.raises(Exception, match="row 30 has no text"):
        model.predict(pd.DataFrame({"text": texts}, index=[10, 20, 30, 40]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["fine", 37], "row 1 holds int '37'; a text is needed"),
        ({"text": [["a", "b"]]}, "row 0 holds list"),
        (pd.DataFrame({"id": [1], "body": ["a"]}), "one column named 'Ticket text'; the columns are: id, body"),
        (pd.DataFrame(), "the columns are: none"),
        (pd.DataFrame([["a", "b"]], columns=["text", "text"]), "in one column named .*: text, text"),
        ({"text": ["a", "b"], "id": 1}, "as many values; 'text' has 2, 'id' has 1"),
        (["fine", "caf\udce9"], "row 1 is not Unicode text"),
        (None, "texts, a frame or a dict of columns is needed, got NoneType"),
        (37, "is needed, got int"),
        (b"fine", "is needed, got bytes"),
    ],
)
def test_input_without_texts_is_refused(model: Any, given: Any, message: str) -> None:
    with pytest.raises(Exception, match=message):
        model.predict(given)


def test_the_signature_names_the_text_column(model: Any) -> None:
    schema = model.metadata.get_input_schema()
    assert schema.input_names() == ["Ticket text"]
    assert [kind.name for kind in schema.input_types()] == ["string"]


def test_the_model_imports_nothing_of_this_project() -> None:
    source = Path("orchestrator/tracking/adapter_model.py")
    text = (Path(__file__).parents[2] / source).read_text(encoding="utf-8")
    assert "import orchestrator" not in text
    assert "from orchestrator" not in text


def test_mlflows_http_server_gives_one_row_each(model: Any, expected: list[str], monkeypatch: Any) -> None:
    from fastapi.testclient import TestClient
    from mlflow.pyfunc.scoring_server import init

    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")  # init sets it, and monkeypatch restores it
    client = TestClient(init(model))
    texts = list(TEXTS)
    for inputs in (texts, {"id": IDS, "text": texts}, [{"id": 1, "text": text} for text in texts]):
        answer = client.post("/invocations", json={"inputs": inputs})
        assert [row["label"] for row in answer.json()["predictions"]] == expected
    lines = "".join(f'{number},"{text}"\n' for number, text in enumerate(texts))
    answer = client.post("/invocations", content=f"id,text\n{lines}", headers={"content-type": "text/csv"})
    assert [row["label"] for row in answer.json()["predictions"]] == expected
    refused = client.post("/invocations", json={"inputs": ["fine", None]})
    assert (refused.status_code, "row 1 has no text" in refused.text) == (400, True)
