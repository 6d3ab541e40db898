"""Every task gets the same answers from ``predict``, from ``serve`` and from the model that MLflow loads."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import peft
import pytest
import torch
import transformers
from starlette.testclient import TestClient

from orchestrator.serving.predictor import Prediction, Predictor, entities_text
from orchestrator.serving.server.app import create_app
from orchestrator.serving.server.limits import Limits
from orchestrator.serving.server.models import load_models
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.logged_models.adapter_model import AUTO_CLASSES
from orchestrator.tracking.logged_models.models import log_adapter
from orchestrator.tracking.logged_models.staging import stage_adapter
from tests.conftest import copied
from tests.fakes.tiny_chat import tiny_chat_model
from tests.fakes.tiny_models import tiny_bert, tiny_llama, tiny_t5
from tests.tracking.cards import made_card

TYPES = {
    "sequence_classification": "SEQ_CLS",
    "token_classification": "TOKEN_CLS",
    "question_answering": "QUESTION_ANS",
    "causal_lm": "CAUSAL_LM",
    "seq2seq_lm": "SEQ_2_SEQ_LM",
}
BY_TOKEN = {"token_classification", "question_answering"}
TEXTS = ["the film was good", "a very sad plot and nice music", "fine", "is the party a market or a game?"]
CONTEXTS = ["it was a great film", "music " * 60, "the plot is terrible, the acting is poor", "the minister is happy"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    head: str
    write: Callable[[Path], Path] = tiny_bert
    labels: tuple[str, ...] = ()
    options: Mapping[str, Any]


TASKS = {
    "classification": Task(head="sequence_classification", labels=("bad", "so-so", "good"), options={}),
    "pairs": Task(
        head="sequence_classification", labels=("no", "yes"), options={"text_column": "one", "pair_column": "two"}
    ),
    "multi_label": Task(
        head="sequence_classification", labels=("a", "b", "c"), options={"problem": "multi_label_classification"}
    ),
    "regression": Task(head="sequence_classification", labels=("joy", "anger"), options={"problem": "regression"}),
    "entities": Task(head="token_classification", labels=("O", "B-NAME", "I-NAME", "B-TIME"), options={}),
    "extractive_qa": Task(
        head="question_answering",
        labels=("start", "end"),
        options={"text_column": "asked", "pair_column": "page", "no_answer_threshold": 0.5},
    ),
    "generation": Task(head="causal_lm", write=tiny_llama, options={"prompt": "summarise {text} headline "}),
    "generation_seq2seq": Task(head="seq2seq_lm", write=tiny_t5, options={"prompt": "summarise {text}"}),
    "chat": Task(head="causal_lm", write=tiny_chat_model, options={"chat": True}),
}


@pytest.fixture(scope="module")
def location(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Location:
    return copied(empty_store, tmp_path_factory.mktemp("ways"))


@pytest.fixture(scope="module", params=TASKS)
def ways(
    request: pytest.FixtureRequest, location: Location, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[tuple[Predictor, TestClient, Any]]":
    """Return the three ways to a random adapter of a task."""
    task, folder = TASKS[request.param], tmp_path_factory.mktemp(request.param)
    base = str(task.write(folder / "base"))
    random_adapter(base, task, folder / "adapter")
    card = made_card(
        Path(base),
        head=task.head,
        labels=task.labels,
        max_length=48,
        objective=request.param,
        sweep=f"{request.param}#1",
        max_new_tokens=None if task.labels else 6,
    )
    card = replace(card, **task.options)
    staged = stage_adapter(folder / "adapter", card, folder / "staged")
    client = connect(location)
    experiment = client.create_experiment(request.param, artifact_location=(folder / "logged").as_uri())
    run = client.create_run(experiment)
    model = log_adapter(client, folder / "adapter", card, run.info.run_id, experiment)
    mlflow.set_tracking_uri(location.tracking_uri)
    loaded = mlflow.pyfunc.load_model(f"models:/{model}")
    app = create_app(load_models([str(staged)], location), Limits())
    with TestClient(app, base_url="http://127.0.0.1") as served:
        yield Predictor.load(str(staged), location), served, loaded


def random_adapter(base: str, task: Task, folder: Path) -> None:
    sizes = {"num_labels": len(task.labels)} if task.labels else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        auto = getattr(transformers, AUTO_CLASSES[task.head])
        model = auto.from_pretrained(base, ignore_mismatched_sizes=True, **sizes)
        config = peft.LoraConfig(
            task_type=TYPES[task.head],
            r=4,
            target_modules="all-linear",
            exclude_modules=["classifier", "qa_outputs"] if task.head in BY_TOKEN else None,
            init_lora_weights=False,
        )
        adapted = peft.get_peft_model(model, config)
        with torch.no_grad():
            for name, weight in adapted.named_parameters():
                if weight.requires_grad and ("classifier" in name or "qa_outputs" in name):
                    weight.normal_(0, 1.0)
    adapted.save_pretrained(str(folder))


def test_three_ways_give_equal_answers(ways: "tuple[Predictor, TestClient, Any]") -> None:
    predictor, served, loaded = ways
    card = predictor.card
    pairs = None if card.pair_column is None else [*CONTEXTS, "a"]
    found = predictor.predict([*TEXTS, " "], pairs=pairs)
    assert found[-1].answer is None
    assert any(one.answer for one in found)
    body = {"texts": [*TEXTS, " "], **({} if pairs is None else {"pairs": pairs})}
    answer = served.post("/predict", json=body)
    assert answer.status_code == 200, answer.text
    rows = answer.json()["predictions"]
    columns = {card.text_column: TEXTS, **({} if card.pair_column is None else {card.pair_column: CONTEXTS})}
    records = loaded.predict(pd.DataFrame(columns)).to_dict("records")
    assert rows[-1]["answer"] is None
    for prediction, row in zip(found, rows, strict=True):
        check_served(prediction, row)
    for prediction, record in zip(found[:-1], records, strict=True):
        check_loaded(prediction, record)


def check_served(prediction: Prediction, row: Mapping[str, Any]) -> None:
    assert (row["answer"], row["cut"]) == (prediction.answer, prediction.cut)
    assert row["score"] == (None if prediction.score is None else pytest.approx(prediction.score, abs=1e-5))
    assert row["probabilities"] == pytest.approx(dict(prediction.probabilities), abs=1e-5)
    assert row["values"] == pytest.approx(dict(prediction.values), abs=1e-5)
    check_records(row["entities"], prediction.entities or ())
    check_records(row["answers"], prediction.answers)


def check_loaded(prediction: Prediction, record: Mapping[str, Any]) -> None:
    if "text" in record:
        assert (record["text"], record["cut"]) == (prediction.answer, prediction.cut)
    elif "values" in record:
        assert record["values"] == pytest.approx(dict(prediction.values), abs=1e-5)
    elif "entities" in record:
        check_records(record["entities"], prediction.entities or ())
        assert prediction.answer == entities_text(record["entities"])
    elif "answers" in record:
        assert record["answer"] == prediction.answer
        assert record["score"] == pytest.approx(prediction.score, abs=1e-5)
        check_records(record["answers"], prediction.answers)
    else:
        assert record["probabilities"] == pytest.approx(dict(prediction.probabilities), abs=1e-5)
        if "labels" in record:
            assert (", ".join(record["labels"]) or "(no label)") == prediction.answer
        else:
            assert (record["label"], record["score"]) == (
                prediction.answer,
                pytest.approx(prediction.score, abs=1e-5),
            )


def check_records(given: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> None:
    assert [{**one, "score": None} for one in given] == [{**one, "score": None} for one in wanted]
    assert [one["score"] for one in given] == pytest.approx([one["score"] for one in wanted], abs=1e-5)


def test_requests_of_another_task_are_refused(ways: "tuple[Predictor, TestClient, Any]") -> None:
    predictor, served, _ = ways
    card = predictor.card
    name = served.get("/models").json()[0]
    assert (name["pair_column"], name["problem"]) == (card.pair_column, card.problem)

    def refused(**body: Any) -> str:
        answer = served.post("/predict", json=body)
        assert answer.status_code == 422, answer.text
        return str(answer.json()["error"])

    if card.pair_column is None:
        assert refused(texts=["a"], pairs=["b"]) == "no_pairs"
    else:
        assert refused(texts=["a"]) == "pairs_missing"
        assert refused(texts=["a", "b"], pairs=["b"]) == "wrong_number_of_pairs"
        assert refused(texts=["a"], pairs=["b" * 20_001]) == "text_too_long"
    extra = {} if card.pair_column is None else {"pairs": ["the film was good"]}
    if card.head != "question_answering":
        assert refused(texts=["a"], answers=2, **extra) == "not_extractive"
        return
    assert refused(texts=["a"], answers=21, **extra) == "invalid_request"
    few = served.post("/predict", json={"texts": ["how?"], "answers": 2, **extra}).json()["predictions"][0]["answers"]
    [all_five] = predictor.predict(["how?"], pairs=["the film was good"])
    check_records(few, all_five.answers[:2])
    assert len(all_five.answers) == 5


def test_openapi_states_second_texts_and_answers() -> None:
    app = create_app(load_models([], Location(tracking_uri="", registry_uri="", artifacts=None)), Limits())
    schemas = json.loads(json.dumps(app.openapi()))["components"]["schemas"]
    assert {"texts", "pairs", "answers"} <= schemas["PredictRequest"]["properties"].keys()
    assert schemas["FoundAnswer"]["properties"].keys() == {"answer", "start", "end", "score"}
