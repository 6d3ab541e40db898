"""The stacked parameters of all slots, their views, and updates of single slots and of all slots."""

import weakref

import pytest
import torch

from orchestrator.core.trials.settings import TrialSettings
from orchestrator.training.packed.masks.streams import DropoutStream
from orchestrator.training.packed.slots.parameters import RANK_STEP, SlotParameters, SlotScales
from orchestrator.training.packed.slots.updates import (
    SlotUpdate,
    apply_updates,
    apply_updates_together,
    gradient_norms,
)

SHAPES = {("one", "A"): [8], ("two", "A"): [24], ("one", "B"): [16], ("two", "B"): [8], ("head", "weight"): [3, 8]}
SETTINGS = {
    0: TrialSettings(learning_rate=0.1, weight_decay=0.1, lora_plus_ratio=4.0, max_length=8),
    2: TrialSettings(learning_rate=0.02, beta1=0.8, beta2=0.95, epsilon=1e-4, head_learning_rate=0.3, max_length=8),
}
RANKS = {0: 4, 2: 16}


def parameters_of(slots: int, rank: int) -> SlotParameters:
    parameters = SlotParameters("cpu")
    for (layer, part), shape in SHAPES.items():
        parameters.add_layer(layer, part, torch.Size(shape))
    parameters.add_layer("head", "bias", torch.Size([3]))
    parameters.resize(slots, rank)
    return parameters


def filled(parameters: SlotParameters) -> SlotParameters:
    """Fill values and gradients with random numbers, unused ranks included."""
    draw = torch.Generator().manual_seed(0)
    for stack in parameters.stacks.values():
        for held_PRW in (stack.values, stack.gradients):
            held_PRW.copy_(torch.randn(held_PRW.shape, generator=draw))
    return parameters


def test_values_survive_resize_and_new_layers() -> None:
    parameters = filled(parameters_of(2, RANK_STEP))
    a = parameters.stacks["A"]
    shape = torch.Size([4, 24])
    before = {
        name: parameters.layer_view(getattr(a, name), 1, "two", "A", shape).clone() for name in ("values", "gradients")
    }
    parameters.resize(5, 3 * RANK_STEP)
    late = parameters.add_layer("late", "A", torch.Size([32]))
    parameters.allocate()
    assert late.shape == (5, 3 * RANK_STEP, 32)
    for name, value in before.items():
        assert torch.equal(parameters.layer_view(getattr(parameters.stacks["A"], name), 1, "two", "A", shape), value)
    assert not parameters.stacks["A"].values[2:].any()


def test_layers_and_slots_share_memory() -> None:
    parameters = SlotParameters("cpu")
    a_PRI, b_PRO = parameters.add_layer("one", "A", torch.Size([8])), parameters.add_layer("one", "B", torch.Size([16]))
    weight_POI = parameters.add_layer("head", "weight", torch.Size([3, 8]))
    parameters.resize(3, RANK_STEP)
    a_PRI.data[1, :2] = 1.0
    weight_POI.data[1] = 2.0
    assert b_PRO.grad is not None
    b_PRO.grad[2] = 3.0
    assert parameters.slot_stacks(1, 2)["A"].values.eq(1.0).all()
    assert parameters.slot_stacks(1, 2)["weight"].values.eq(2.0).all()
    assert parameters.slot_stacks(2, RANK_STEP)["B"].gradients.eq(3.0).all()
    assert "bias" not in parameters.slot_stacks(1, 2)
    parameters.clear(1)
    parameters.clear(2)
    for parameter in (a_PRI, b_PRO, weight_POI):
        assert parameter.grad is not None
        assert not parameter.any()
        assert not parameter.grad.any()


def test_joint_updates_equal_single_updates() -> None:
    alone, together = filled(parameters_of(4, 16)), filled(parameters_of(4, 16))
    for number in range(1, 4):
        updates = [
            SlotUpdate(slot=slot, rank=RANKS[slot], settings=settings, number=number, schedule_factor=1.0 / number)
            for slot, settings in SETTINGS.items()
        ]
        for parameters in (alone, together):  # new gradients, of the same numbers
            draw = torch.Generator().manual_seed(number)
            for stack in parameters.stacks.values():
                stack.gradients.copy_(torch.randn(stack.gradients.shape, generator=draw))
        apply_updates(alone, updates, [0.5, 2.0])
        apply_updates_together(together, updates, [0.5, 2.0], None)
    for part, stack in together.stacks.items():
        others = alone.stacks[part]
        torch.testing.assert_close(stack.values, others.values, rtol=1e-5, atol=1e-5)
        assert torch.equal(stack.gradients[[1, 3]], others.gradients[[1, 3]])
        for slot, rank in RANKS.items():
            assert not stack.gradients[slot, :rank].any()
            torch.testing.assert_close(stack.means[slot, :rank], others.means[slot, :rank])
            torch.testing.assert_close(stack.squares[slot, :rank], others.squares[slot, :rank])
        assert not stack.means[[1, 3]].any()


def test_update_scales_gradients_of_b() -> None:
    scales = {0: SlotScales({"one": 2.0, "two": 0.5}, keep_scale=1.25), 2: SlotScales({"one": 3.0}, keep_scale=1.0)}
    late, early = filled(parameters_of(4, 16)), filled(parameters_of(4, 16))
    for parameters in (late, early):
        for slot, each in scales.items():
            parameters.set_scales(slot, each)
    early.stacks["B"].gradients.mul_(early.scales_P1W())
    updates = [
        SlotUpdate(slot=slot, rank=RANKS[slot], settings=settings, number=1, schedule_factor=1.0)
        for slot, settings in SETTINGS.items()
    ]
    expected_U = gradient_norms(early, updates)
    late.device = "cpu:0"  # any name but the CPU's own: there B is scaled late
    torch.testing.assert_close(gradient_norms(late, updates), expected_U)
    apply_updates_together(late, updates, [1.0, 1.0], late.scales_P1W())
    apply_updates_together(early, updates, [1.0, 1.0], None)
    for slot, rank in RANKS.items():
        torch.testing.assert_close(late.stacks["B"].values[slot, :rank], early.stacks["B"].values[slot, :rank])


def test_prepared_matrices_are_scaled_and_selected() -> None:
    parameters = filled(parameters_of(3, RANK_STEP))
    parameters.set_scales(1, SlotScales({"one": 2.0}, keep_scale=1.25))
    parameters.prepare_matrices(torch.tensor([1, 2]), torch.float32, training=True)
    b_PRO = parameters.stacks["B"].values[:, :, parameters.columns("B", "one")]
    torch.testing.assert_close(parameters.prepared_matrices("one")[1], torch.stack([b_PRO[1] * 2.5, b_PRO[2] * 0.0]))
    parameters.prepare_matrices(None, torch.bfloat16, training=False)
    assert parameters.prepared_matrices("two")[0].shape == (3, RANK_STEP, 24)
    assert parameters.prepared_matrices("two")[0].dtype is torch.bfloat16
    assert parameters.prepared_matrices("one")[1][1].float() == pytest.approx((b_PRO[1] * 2.0).numpy(), rel=1e-2)


def test_resize_to_zero_frees_values_and_scales() -> None:
    parameters = filled(parameters_of(4, RANK_STEP))
    for slot in range(4):
        parameters.set_scales(slot, SlotScales({"one": 2.0}, keep_scale=1.0))
    parameters.prepare_matrices(None, torch.float32, training=True)
    values = weakref.ref(parameters.stacks["A"].values)
    parameters.resize(0, RANK_STEP)
    assert values() is None
    parameters.resize(2, RANK_STEP)
    assert not parameters.scales_P1W().any()


def test_stream_ignores_state_of_another_device_kind(caplog: pytest.LogCaptureFixture) -> None:
    host, device = DropoutStream(1, 0.1, "cpu"), DropoutStream(1, 0.1, "cpu:0")
    for one, other in ((host, device), (device, host)):
        before = one.state()
        one.restore(other.state())
        assert torch.equal(one.state(), before)
    assert caplog.text.count("was written on another kind of device") == 2
