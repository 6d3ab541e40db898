"""The command ``serve`` as a process: answers, limits, metrics, end."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from orchestrator.serving.predictor import Predictor
from tests.serving.server.conftest import LABELS, START_S, Server, Start

TEXTS = (
    "a great film",
    "the plot was awful and sad",
    "fine",
    "terrible acting, nice music, and a long end that nobody in the whole audience had expected at all",
)


@pytest.fixture(scope="module")
def server(start: Start, folders: dict[str, Path]) -> Server:
    limits = ("--max-rows", "8", "--max-chars", "500", "--max-body", "5000", "--rate", "100000", "--batch-rows", "4")
    return start(*map(str, folders.values()), *limits, "--max-new-tokens", "16", "--batch-wait", "20")


def test_mixed_load_gets_answers_of_predict(server: Server, predictors: dict[str, Predictor]) -> None:
    names = [*LABELS] * 12
    texts = [[TEXTS[(number + part) % 4] for part in range(1 + number % 3)] for number in range(len(names))]
    expected = {(name, text): predictors[name].predict([text])[0] for name in LABELS for text in TEXTS}
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda name, rows: server.predict(model=name, texts=rows), names, texts))
    for name, rows, answer in zip(names, texts, answers, strict=True):
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == name
        for text, row in zip(rows, answer.json()["predictions"], strict=True):
            wanted = expected[name, text]
            assert row["answer"] == wanted.answer
            assert row["probabilities"] == pytest.approx(dict(wanted.probabilities), abs=1e-5)
            assert row["score"] == row["probabilities"][row["answer"]]
    assert server.metric("loratory_rows_total") >= sum(map(len, texts))
    assert server.metric("loratory_batch_rows_count") < server.metric("loratory_batch_rows_sum")  # some together
    assert server.metric("loratory_waiting_rows") == 0


def test_calibrated_answers_use_temperature(server: Server, folders: dict[str, Path], predictors: Any) -> None:
    found = server.predict(model="mood", texts=[*TEXTS, " "], calibrated=True).json()["predictions"]
    wanted = predictors["mood"].calibrated(predictors["mood"].predict(TEXTS))
    for row, prediction in zip(found[:-1], wanted, strict=True):
        assert row["probabilities"] == pytest.approx(dict(prediction.probabilities), abs=1e-5)
    empty: dict[str, Any] = {"probabilities": {}, "values": {}, "entities": [], "answers": []}
    assert found[-1] == {"answer": None, "score": None, "cut": None, **empty}


def test_entities_have_their_characters(server: Server, predictors: dict[str, Predictor]) -> None:
    answers = server.predict(model="finder", texts=[*TEXTS]).json()["predictions"]
    wanted = predictors["finder"].predict(TEXTS)
    assert any(row["entities"] for row in answers)
    for text, row, prediction in zip(TEXTS, answers, wanted, strict=True):
        assert row["answer"] == prediction.answer
        assert [{**one, "score": None} for one in row["entities"]] == [
            {**one, "score": None} for one in prediction.entities or ()
        ]
        assert all(text[one["start"] : one["end"]] == one["text"] for one in row["entities"])


def test_generated_text_is_bounded(server: Server, predictors: dict[str, Predictor]) -> None:
    for tokens in (None, 3):
        body = {} if tokens is None else {"max_new_tokens": tokens}
        answers = server.predict(model="writer", texts=["the match", "a film"], **body).json()["predictions"]
        wanted = predictors["writer"].answers(["the match", "a film"], max_new_tokens=tokens or 16)
        assert [row["answer"] for row in answers] == [each.answer for each in wanted]
        assert [row["cut"] for row in answers] == [each.cut for each in wanted]
        assert answers[0]["score"] is None


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        ({"model": "nobody", "texts": ["a"]}, 404, "unknown_model", "served: mood, tone, topic, finder, writer"),
        ({"texts": ["a"]}, 422, "model_missing", "served models: mood"),
        ({"model": "mood", "texts": []}, 422, "invalid_request", "texts: List should have at least 1 item"),
        ({"model": "mood", "texts": "a"}, 422, "invalid_request", "texts: "),
        ({"model": "mood", "texts": ["a", None]}, 422, "invalid_request", "texts.1: "),
        ({"model": "mood", "texts": ["\ud800"]}, 422, "not_unicode", "texts[0]: not Unicode"),
        ({"model": "mood", "texts": ["a"] * 9}, 422, "too_many_rows", "at most 8 texts in a request, got 9"),
        ({"model": "mood", "texts": ["a", "b" * 501]}, 422, "text_too_long", "texts[1]: at most 500 characters"),
        ({"model": "mood", "texts": ["b" * 900] * 6}, 413, "body_too_large", "at most 5,000 bytes"),
        ({"model": "tone", "texts": ["a"], "calibrated": True}, 422, "not_calibrated", "tone has no temperature"),
        ({"model": "mood", "texts": ["a"], "max_new_tokens": 3}, 422, "not_generative", "mood is a classifier"),
        ({"model": "writer", "texts": ["a"], "max_new_tokens": 17}, 422, "too_many_tokens", "at most 16, got 17"),
    ],
    ids=lambda value: value if isinstance(value, str) and "_" in value else "",
)
def test_wrong_requests_get_reasons(server: Server, body: dict[str, Any], status: int, code: str, message: str) -> None:
    answer = server.predict(**body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"] == code
    assert message in answer.json()["message"]


def test_other_requests_are_refused(server: Server) -> None:
    def post(**given: Any) -> tuple[int, str]:
        answer = requests.post(f"{server.url}/predict", timeout=START_S, **given)
        return answer.status_code, answer.json()["error"]

    assert post(data='{"model": "mood", "texts": ["a"]}') == (422, "invalid_request")  # a browser form sends no JSON
    assert post(data="{", headers={"Content-Type": "application/json"}) == (422, "invalid_request")
    assert post(data=(b"x" * 1000 for _ in range(9))) == (413, "body_too_large")  # chunked: the size is not stated
    answers = [
        requests.get(f"{server.url}/models", headers={"Host": "evil.example"}, timeout=START_S),
        requests.get(f"{server.url}/predict", timeout=START_S),
        requests.get(f"{server.url}/nothing", timeout=START_S),
    ]
    assert [(each.status_code, each.json()["error"]) for each in answers] == [
        (421, "wrong_host"),
        (405, "method_not_allowed"),
        (404, "not_found"),
    ]
    assert server.metric('loratory_requests_total{route="other",status="404"}') >= 1


def test_server_describes_itself(server: Server) -> None:
    models = requests.get(f"{server.url}/models", timeout=START_S).json()
    assert [each["name"] for each in models] == ["mood", "tone", "topic", "finder", "writer"]
    assert [each["temperature"] for each in models] == [2.5, None, None, None, None]
    paths = requests.get(f"{server.url}/openapi.json", timeout=START_S).json()["paths"]
    assert {*paths} == {"/predict", "/models", "/health", "/ready", "/metrics"}
    for path in ("health", "ready"):
        assert requests.get(f"{server.url}/{path}", timeout=START_S).status_code == 200


def test_request_in_flight_survives_stop(
    start: Start, folders: dict[str, Path], predictors: dict[str, Predictor]
) -> None:
    server = start(f"renamed={folders['mood']}", "--batch-rows", "1", "--grace", str(START_S))
    texts = [f"{TEXTS[3]} {number}" for number in range(30)]
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.predict, texts=texts)
        deadline = time.monotonic() + START_S
        while server.metric("loratory_waiting_rows") == 0:
            assert not answer.done()
            assert time.monotonic() < deadline
        server.process.send_signal(signal.SIGTERM)
        found = answer.result(timeout=START_S)
    assert found.status_code == 200
    assert found.json()["model"] == "renamed"
    wanted = predictors["mood"].predict(texts)
    assert [row["answer"] for row in found.json()["predictions"]] == [each.answer for each in wanted]
    assert server.process.wait(timeout=START_S) == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{server.url}/health", timeout=5)


def test_requests_cut_off_end_with_code_1(start: Start, folders: dict[str, Path]) -> None:
    server = start(f"renamed={folders['mood']}", "--batch-rows", "1", "--grace", str(START_S))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.predict, texts=[f"{TEXTS[3]} {number}" for number in range(200)])
        deadline = time.monotonic() + START_S
        while server.metric("loratory_waiting_rows") == 0:
            assert not answer.done()
            assert time.monotonic() < deadline
        while server.process.poll() is None and not answer.done():  # the second one ends the server at once
            server.process.send_signal(signal.SIGINT)
            time.sleep(0.1)
        error = answer.exception(timeout=START_S)
        assert answer.result().status_code == 500 if error is None else isinstance(error, requests.ConnectionError)
    assert server.process.wait(timeout=START_S) == 1
