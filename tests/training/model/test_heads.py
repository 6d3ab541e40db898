"""Heads are found in the model, trained, and saved with the adapter, in both engines."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PerceiverConfig,
    PerceiverForSequenceClassification,
)

from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import UserError
from orchestrator.core.methods.catalogue import METHODS
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.objective.protocol import Head
from orchestrator.training.context import EngineContext
from orchestrator.training.mixed import MixedEngine
from orchestrator.training.model.adapters import MERGED_TO_MEASURE, adapt, save_adapter
from orchestrator.training.model.base_model import Base, load_base
from orchestrator.training.model.heads import modules_to_save
from orchestrator.training.solo.engine import SoloEngine
from tests.fakes.tiny_models import (
    bert_without_pooler,
    tiny_bart_classifier,
    tiny_distilbert,
    tiny_llama,
    tiny_modernbert,
    tiny_roberta,
    tiny_t5_classifier,
    without_dropout,
)
from tests.fakes.tiny_objective import TinyCausal, TinyClassification
from tests.plain_peft import PlainPeft
from tests.training.packed.packs import task
from tests.training.plans import reports, tiny_plan

OBJECTIVE = TinyClassification()
HEADS: dict[str, tuple[Callable[[Path], Path], set[str], str]] = {
    "bart": (tiny_bart_classifier, {"classification_head.dense", "classification_head.out_proj"}, "q_proj,v_proj"),
    "t5": (tiny_t5_classifier, {"classification_head.dense", "classification_head.out_proj"}, "q,v"),
    "distilbert": (tiny_distilbert, {"pre_classifier", "classifier"}, "q_lin,v_lin"),
    "modernbert": (tiny_modernbert, {"head.dense", "head.norm", "classifier"}, "Wqkv"),
    "roberta": (tiny_roberta, {"classifier.dense", "classifier.out_proj"}, "query"),
    "bert-without-pooler": (bert_without_pooler, {"bert.pooler.dense", "classifier"}, "query"),
}


def source(folder: Path) -> Source:
    return Source(origin=Origin.LOCAL, name=str(folder))


def in_full(folder: Path) -> set[str]:
    """Return the modules with full weights in an adapter's folder."""
    names = load_file(folder / "adapter_model.safetensors")
    adapters = (*(method.prefix for method in METHODS.values()), "vera_")
    whole = {name for name in names if not any(prefix in name for prefix in adapters)}
    return {name.removeprefix("base_model.model.").rpartition(".")[0] for name in whole}


@pytest.mark.parametrize("name", sorted(HEADS))
@pytest.mark.parametrize("method", MERGED_TO_MEASURE)
def test_every_method_trains_and_saves_the_head(name: str, method: str, tmp_path: Path) -> None:
    write, head, few = HEADS[name]
    folder = write(tmp_path / "model")
    for targets in ("all-linear", few) if method == "lora" else ("all-linear",):
        torch.manual_seed(0)
        settings = TrialSettings(method=method, rank=4, target_modules=targets)
        adapted = adapt(load_base(source(folder), OBJECTIVE, "cpu"), settings, OBJECTIVE.head)
        with torch.no_grad():
            for parameter in adapted.model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.1 * torch.randn_like(parameter))
        save_adapter(adapted, tmp_path / targets)
        assert in_full(tmp_path / targets) == head
        base = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
        plain = PeftModel.from_pretrained(base, str(tmp_path / targets)).eval()
        ids = AutoTokenizer.from_pretrained(folder)("the film was good", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            expected, found = adapted.model.eval()(input_ids=ids).logits, plain(input_ids=ids).logits
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["bart", "distilbert", "modernbert", "t5"])
def test_both_engines_train_the_head_alike(name: str, tmp_path: Path, plain_peft: PlainPeft) -> None:
    write, head, targets = HEADS[name]
    folder = without_dropout(write(tmp_path / "model"))
    plan = tiny_plan(folder, tmp_path / "solo")
    trials = [task(0, epochs=1.0, learning_rate=1e-2), task(1, epochs=1.0, target_modules=targets, batch_size=4)]

    solo = reports(SoloEngine(EngineContext(plan, OBJECTIVE)), trials)
    packed = reports(MixedEngine(EngineContext(tiny_plan(folder, tmp_path / "packed"), OBJECTIVE)), trials)
    rows = OBJECTIVE.encode(OBJECTIVE.splits(plan.data).validation, AutoTokenizer.from_pretrained(folder), 32)
    before = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2).state_dict()
    for (one,), (other,), trial in zip(solo, packed, trials, strict=True):
        assert other == pytest.approx(one, rel=1e-3, abs=1e-5)
        for engine, report in (("solo", one), ("packed", other)):
            adapter = tmp_path / engine / f"trials/000{trial.number}/checkpoint-40/adapter"
            assert in_full(adapter) == head
            saved = load_file(adapter / "adapter_model.safetensors")
            assert all(
                not torch.equal(saved[f"base_model.model.{module}.weight"], before[f"{module}.weight"])
                for module in head
            )
            plain = plain_peft.measure(adapter, folder, rows, OBJECTIVE.head.value)
            assert plain["loss"] == pytest.approx(report["val/loss"], abs=1e-5)


def test_language_model_head_stays_frozen(tmp_path: Path) -> None:
    base = load_base(source(tiny_llama(tmp_path)), TinyCausal(), "cpu")
    assert modules_to_save(base, Head.CAUSAL_LM) == []


def test_classifier_without_a_head_is_refused() -> None:
    """The head of Perceiver is inside its backbone."""
    config = PerceiverConfig(num_latents=4, d_latents=16, d_model=16, num_blocks=1, num_self_attends_per_block=1)
    with torch.device("meta"):
        model = PerceiverForSequenceClassification(config)
    with pytest.raises(UserError, match=r"^model: .*; PerceiverForSequenceClassification has none that"):
        modules_to_save(Base(model=model, fresh_modules=(), revision=None), Head.SEQUENCE_CLASSIFICATION)
    missing = Base(model=model, fresh_modules=("perceiver.decoder",), revision=None)
    assert modules_to_save(missing, Head.SEQUENCE_CLASSIFICATION) == ["perceiver.decoder"]
