"""Predictions from the registry and from folders."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import UserError
from orchestrator.core.methods.quantisation import Quantisation, loading_arguments
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.objective.protocol import Head
from orchestrator.promotion.export.peft_folder import export_adapter
from orchestrator.promotion.gates.judge import PromotionRequest
from orchestrator.promotion.promote import promote
from orchestrator.serving.predictor import Predictor
from orchestrator.tracking.location import Location
from orchestrator.tracking.logged_models.adapter_model import with_temperature
from orchestrator.tracking.logged_models.adapters import AdapterCard
from orchestrator.tracking.logged_models.staging import stage_adapter
from orchestrator.training.model.adapters import adapt, save_adapter
from orchestrator.training.model.base_model import load_base
from tests import needs
from tests.conftest import copied
from tests.fakes.tiny_models import tiny_bert
from tests.fakes.tiny_objective import TinyClassification
from tests.promotion.conftest import Tracked, track
from tests.tracking.records import ACCURACY, sweep, trial
from tests.tracking.trained import LABELS, TEXTS, TrainedSweep, writer_adapters


@pytest.fixture(scope="module")
def registered(trained: TrainedSweep, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    """A registry with two versions. Tests that track the sweep elsewhere leave it as it is."""
    tracked = track(trained, copied(empty_store, tmp_path_factory.mktemp("registered")))
    for number, alias in ((0, "champion"), (2, "challenger")):
        request = PromotionRequest(name="films", metric=ACCURACY, alias=alias, forced="a test")
        promote(tracked.trained.store.record, tracked.candidates().choose(number), tracked.location, request)
    return tracked


def probabilities(logits: list[float]) -> list[float]:
    powers = [math.exp(value) for value in logits]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize(
    ("written", "number", "reference"),
    [
        ("films", 0, "films/1"),
        ("films@challenger", 2, "films/2"),
        ("films/1", 0, "films/1"),
        ("models:/films/2", 2, "films/2"),
    ],
)
def test_registered_model_predicts_as_in_training(
    registered: Tracked, written: str, number: int, reference: str
) -> None:
    predictor = Predictor.load(written, registered.location)
    assert predictor.reference == reference
    for batch_size in (1, 3):
        answers = predictor.predict(TEXTS, batch_size)
        assert [answer.text for answer in answers] == list(TEXTS)
        for answer, logits in zip(answers, registered.trained.logits[number], strict=True):
            expected = probabilities(logits)
            assert list(answer.probabilities) == list(LABELS)
            assert list(answer.probabilities.values()) == pytest.approx(expected, abs=1e-5)
            assert answer.answer == LABELS[max(range(3), key=logits.__getitem__)]
            assert answer.score == pytest.approx(max(expected), abs=1e-5)
    assert predictor.predict([]) == []


def test_blank_texts_get_no_answer(registered: Tracked) -> None:
    predictor = Predictor.load("films", registered.location)
    plain = predictor.predict(TEXTS[:2])
    found = predictor.predict(["", TEXTS[0], "  ", TEXTS[1]])
    assert [item.answer for item in found] == [None, plain[0].answer, None, plain[1].answer]
    assert [item.text for item in found] == ["", TEXTS[0], "  ", TEXTS[1]]
    assert (found[0].score, found[0].probabilities) == (None, {})
    counts: list[int] = []
    assert predictor.predict([*TEXTS, ""], 3, counts.append)[0] == plain[0]
    assert counts == [3, 4]


def test_exported_folder_predicts_with_moved_base(tracked: Tracked, tmp_path: Path) -> None:
    folder = export_adapter(tracked.candidates().choose(), tmp_path / "films")
    moved = tmp_path / "moved"
    moved.symlink_to(tracked.trained.adapters.base_path)
    asked: list[Source] = []

    def resolve(source: Source) -> str:
        asked.append(source)
        return str(moved)

    predictor = Predictor.load(str(folder), tracked.location, resolve=resolve)
    assert asked == [tracked.trained.adapters.base]
    assert predictor.predict(TEXTS[:1])[0].answer in LABELS


def test_calibrated_probabilities_use_temperature(tracked: Tracked, tmp_path: Path) -> None:
    folder = export_adapter(tracked.candidates().choose(), tmp_path / "films")
    with pytest.raises(UserError, match=r"--calibrated: .*films has no temperature"):
        Predictor.load(str(folder), tracked.location, calibrated=True)
    card = json.loads((folder / "loratory.json").read_text())
    (folder / "loratory.json").write_text(json.dumps({**card, "temperature": 2.5}))
    plain = Predictor.load(str(folder), tracked.location).predict(TEXTS)
    calibrated = Predictor.load(str(folder), tracked.location, calibrated=True).predict(TEXTS)
    for own, scaled in zip(plain, calibrated, strict=True):
        logits = [math.log(value) for value in own.probabilities.values()]
        expected = probabilities([value / 2.5 for value in logits])
        assert list(scaled.probabilities.values()) == pytest.approx(expected)
        assert scaled.answer == own.answer


def test_temperature_of_certain_prediction() -> None:
    assert with_temperature([1.0, 0.0], 2.0) == [1.0, 0.0]
    assert with_temperature([0.5, 0.5], 0.02) == [0.5, 0.5]


@pytest.mark.parametrize("head", ["causal_lm", "seq2seq_lm"])
def test_language_model_generates_text(head: str, tmp_path: Path, local_store: Location) -> None:
    adapters = writer_adapters(tmp_path, head)
    record = trial(0, (0.5,))
    adapter = adapters.folder(record)
    assert adapter is not None
    folder = stage_adapter(adapter, adapters.card(sweep(), record), tmp_path / "staged")
    predictor = Predictor.load(str(folder), local_store)
    texts = ["the match", "a very long article " * 20]
    together = [answer.answer for answer in predictor.predict(texts, batch_size=2)]
    alone = [answer.answer for answer in predictor.predict(texts, batch_size=1)]
    assert together == alone  # padding changes nothing
    assert any(together)
    assert predictor.predict(texts)[0].score is None


@needs.bitsandbytes
@pytest.mark.parametrize("quantisation", [Quantisation.NF4, Quantisation.INT8])
def test_quantised_base_is_loaded_by_readme_too(
    quantisation: Quantisation, tmp_path: Path, local_store: Location
) -> None:
    base = Source(origin=Origin.LOCAL, name=str(tiny_bert(tmp_path / "base", width=64)))
    torch.manual_seed(0)
    loaded = load_base(base, TinyClassification(), "cpu", quantisation=quantisation)
    adapted = adapt(loaded, TrialSettings(rank=4, init="gaussian"), Head.SEQUENCE_CLASSIFICATION)
    for name, weight in adapted.model.named_parameters():
        if "lora_B" in name or "classifier" in name:
            torch.nn.init.normal_(weight, 0, 0.5)
    save_adapter(adapted, tmp_path / "adapter")
    with torch.inference_mode():
        encoded = load_tokenizer(base)(list(TEXTS), padding=True, return_tensors="pt")
        expected = adapted.model.eval()(**encoded).logits.softmax(dim=-1)[:, 1].tolist()
    card = AdapterCard(
        base=base,
        base_path=base.name,
        head="sequence_classification",
        labels=TinyClassification.labels,
        max_length=64,
        objective="tiny",
        sweep="tiny#1",
        sweep_key="0" * 16,
        trial=0,
        samples=8,
        measured_at=0.0,
        quantisation=loading_arguments(quantisation),
    )
    folder = stage_adapter(tmp_path / "adapter", card, tmp_path / "staged")
    found = [answer.probabilities["good"] for answer in Predictor.load(str(folder), local_store).predict(TEXTS)]
    assert found == pytest.approx(expected, abs=1e-5)
    readme = (folder / "README.md").read_text()
    assert f"frozen in {quantisation.words}" in readme
    scope: dict[str, Any] = {}
    exec(readme.partition("```python\n")[2].partition("```")[0].replace("THIS FOLDER", str(folder)), scope)  # noqa: S102  (the README's own example)
    with torch.inference_mode():
        logits = scope["model"](**scope["tokenizer"](list(TEXTS), padding=True, return_tensors="pt")).logits
    # Some CPUs have products of their own for this in bitsandbytes, which round to bfloat16.
    assert logits.softmax(dim=-1)[:, 1].tolist() == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("nothing", "no model nothing is registered; registered: films"),
        ("films@nobody", r"films has no version @nobody; there are: films/1 @champion, films/2 @challenger"),
        ("films/7", r"films has no version /7; there are: films/1"),
        ("films/x", r"a model is NAME, NAME@alias or NAME/version, got 'films/x'"),
        ("", "a model is NAME, NAME@alias or NAME/version, got ''"),
    ],
)
def test_missing_model_is_named(registered: Tracked, written: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Predictor.load(written, registered.location)


def test_a_folder_that_holds_no_adapter_is_named(tmp_path: Path, local_store: Location) -> None:
    with pytest.raises(UserError, match=r"is not an exported adapter: adapter_config.json, loratory.json is missing"):
        Predictor.load(str(tmp_path), local_store)
