"""peft is the oracle: a pack computes for each trial the same as peft for the trial alone."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from orchestrator.core.methods.quantisation import Quantisation
from orchestrator.core.trials.trial import TrialTask
from orchestrator.evaluation.measure import forward
from orchestrator.objective.protocol import Objective
from orchestrator.training.packed.execution.slot_trial import SlotTrial
from orchestrator.training.packed.layout.blocks import batch_layout
from tests import needs
from tests.fakes.tiny_models import (
    bert_without_pooler,
    tiny_bert,
    tiny_gpt2,
    tiny_llama,
    tiny_modernbert,
    tiny_roberta,
    tiny_t5,
    without_dropout,
)
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq, TinyTokens
from tests.training.packed.packs import POINTS, ROWS, World, peft_gradients, task

MODELS: dict[str, tuple[Callable[[Path], Path], type[Objective], str]] = {
    "bert": (tiny_bert, TinyClassification, "query,value"),
    "bert-without-pooler": (bert_without_pooler, TinyClassification, "query"),
    "roberta": (tiny_roberta, TinyClassification, "dense"),
    "bert-tokens": (tiny_bert, TinyTokens, "query,value"),
    "gpt2": (tiny_gpt2, TinyCausal, "c_attn"),
    "modernbert": (tiny_modernbert, TinyClassification, "Wqkv"),
    "llama": (tiny_llama, TinyCausal, "q_proj,down_proj"),
    "t5": (tiny_t5, TinySeq2Seq, "k,wo"),
    "llama in nf4": (partial(tiny_llama, width=64), TinyCausal, "q_proj,down_proj"),
}


@pytest.fixture(
    params=[pytest.param(name, marks=needs.bitsandbytes if name.endswith("nf4") else ()) for name in sorted(MODELS)]
)
def world(request: pytest.FixtureRequest, tmp_path: Path, device: str) -> World:
    return opened(request.param, tmp_path, device)


def opened(name: str, folder: Path, device: str, *, grouped: bool | None = None) -> World:
    """Return a pack over one of the models, saved into a folder."""
    build, objective, _ = MODELS[name]
    quantisation = Quantisation.NF4 if name.endswith("nf4") else None
    model = without_dropout(build(folder / "model"))
    return World(model, objective(), folder / "sweep", quantisation=quantisation, device=device, grouped=grouped)


@pytest.fixture
def tasks(request: pytest.FixtureRequest, world: World) -> list[TrialTask]:
    """Trials with different values of every setting free inside a pack."""
    targets = MODELS[request.node.callspec.params["world"]][2]
    last = "pissa" if world.plan.quantisation is None else "gaussian"  # nothing can be taken out of 4 bits
    longer = {"epochs": 2 * POINTS[-1] / ROWS, "warmup_ratio": 0.2}
    return [
        task(0, rank=4, learning_rate=1e-3, batch_size=8),
        task(1, rank=16, learning_rate=3e-3, batch_size=3, target_modules=targets, schedule="cosine"),
        task(2, None, rank=2, rslora=True, alpha=8.0, batch_size=16, weight_decay=0.1, lora_plus_ratio=4.0, **longer),
        task(3, rank=7, batch_size=4, label_smoothing=0.1, max_grad_norm=0.05, head_learning_rate=3e-3, max_length=8),
        task(4, rank=8, init=last, batch_size=5, beta1=0.8, beta2=0.99, epsilon=1e-6, schedule="constant"),
        *(
            [task(5, rank=5, dora=True, weight_decay=0.1, learning_rate=3e-4)]
            if world.plan.quantisation is None
            else []
        ),
    ]


def test_first_gradients_equal_pefts(world: World, tasks: list[TrialTask]) -> None:
    tasks = [trial for trial in tasks if trial.number != 4]  # PiSSA's B is not zero; drawing it anew would not be PiSSA
    slot_trials = [world.slot_trial(trial, b_std=0.02) for trial in tasks]
    world.pack.model.train()
    world.stepper.backward(slot_trials)
    for slot_trial, trial in zip(slot_trials, tasks, strict=True):
        adapted = world.peft(trial, b_std=0.02)
        rows = slot_trial.next_batch()
        loss = world.peft_loss(adapted, rows, trial.settings)
        batch = world.batch(rows)
        units = world.objective.losses(forward(adapted.model, batch), batch)[1].sum()
        (loss * units).backward()
        expected, found = peft_gradients(adapted), world.gradients(slot_trial, trial)
        assert expected.keys() == found.keys()
        for name, gradient in expected.items():
            stored = found[name].t() if "lora_B" in name else found[name]
            assert gradient.norm() > 0, name
            error = ((stored - gradient).norm() / gradient.norm()).item()
            assert error <= 1e-5, (name, error)


def test_losses_over_fifty_updates_equal_pefts(world: World, tasks: list[TrialTask]) -> None:
    slot_trials = [world.slot_trial(trial) for trial in tasks]
    found: list[list[float]] = [[] for _ in tasks]
    for _ in range(50):
        assert not world.stepper.step(slot_trials)
        for slot_trial, losses in zip(slot_trials, found, strict=True):
            losses.append(slot_trial.loss)
    for losses, trial in zip(found, tasks, strict=True):
        assert losses == pytest.approx(world.losses_of_peft(trial, 50), rel=1e-3)


def test_olora_equals_peft(tmp_path: Path, device: str) -> None:
    world = opened("bert", tmp_path, device)
    trial = task(0, init="olora", rank=5, learning_rate=3e-4)
    slot_trials = [world.slot_trial(trial), world.slot_trial(task(1, rank=16))]
    found = []
    for _ in range(10):
        world.stepper.step(slot_trials)
        found.append(slot_trials[0].loss)
    assert found == pytest.approx(world.losses_of_peft(trial, 10), rel=1e-4)


def test_exported_adapter_reproduces_logits(world: World, tasks: list[TrialTask]) -> None:
    slot_trials = [world.slot_trial(trial) for trial in tasks]
    for _ in range(3):
        world.stepper.step(slot_trials)
    rows = world.data.split("validation", 32)
    batch = world.batch(rows)
    world.pack.model.eval()
    for slot_trial in slot_trials:
        slot_trial.commit([200], {})
        plain = PeftModel.from_pretrained(world.base().model, str(slot_trial.folder.checkpoint(200) / "adapter")).eval()
        layout = batch_layout(batch["attention_mask"], {slot_trial.slot: len(rows)}, world.pack.slots, torch.float32)
        with torch.inference_mode():
            expected, [logits] = forward(plain, batch), world.pack.logits(batch, layout).by_slot()
        mask = batch.get("decoder_attention_mask", batch["attention_mask"])
        real = slice(None) if logits.dim() == 2 else mask.bool()
        torch.testing.assert_close(logits[real], expected[real], rtol=0, atol=1e-5)


@pytest.mark.parametrize("max_grad_norm", [1000.0, 0.05])
def test_accumulated_batches_equal_one_batch(world: World, max_grad_norm: float) -> None:
    """A large epsilon makes the update proportional to the gradient; AdamW otherwise uses little more than its sign."""

    def slot_trial(batch_size: int, accumulation: int) -> SlotTrial:
        shape = {"batch_size": batch_size, "accumulation": accumulation}
        return world.slot_trial(task(0, None, **shape, epsilon=1.0, learning_rate=0.5, max_grad_norm=max_grad_norm))

    whole, cut, single = slot_trial(12, 1), slot_trial(3, 4), slot_trial(1, 12)
    for _ in range(5):
        world.stepper.step([whole])
        for _ in range(4):
            world.stepper.step([cut])
        for _ in range(12):
            world.stepper.step([single])
        assert cut.loss == pytest.approx(whole.loss, rel=1e-5)
        assert single.loss == pytest.approx(whole.loss, rel=1e-5)
