"""The loss scale of a trial in float16."""

from orchestrator.training.process.loss_scale import FIRST, SMALLEST, LossScale


def test_scale_follows_the_rule_of_torch() -> None:
    scale = LossScale()
    for _ in range(1999):
        scale.step_made()
    assert scale.skip()
    assert (scale.factor, scale.skipped) == (FIRST / 2, 1)
    for _ in range(2000):
        scale.step_made()
    assert scale.factor == FIRST


def test_scale_ends_at_the_smallest() -> None:
    scale = LossScale()
    while scale.skip():
        pass
    assert scale.factor == SMALLEST / 2


def test_scale_continues_from_its_state() -> None:
    one, other = LossScale(), LossScale()
    one.skip()
    for _ in range(1500):
        one.step_made()
    other.load(one.state())
    for scale in (one, other):
        for _ in range(500):
            scale.step_made()
    assert one.state() == other.state() == {"factor": FIRST, "made": 0, "skipped": 1}
